"""Shared ranks beside private ranks: their plan, parts and training."""
