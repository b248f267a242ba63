"""Model to verified bundle: `api` for callers with models, `run` for those with checkpoints.

Nothing is imported here, so that reading a bundle or timing a runtime costs no torch.
"""
