"""The networks that a user would take instead, timed beside ours in one run (docs/peers.md)."""
