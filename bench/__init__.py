"""Bundle to numbers that can be repeated, and to a report people read."""
