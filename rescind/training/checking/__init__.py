"""Checks of training data, before anything is trained on it."""
