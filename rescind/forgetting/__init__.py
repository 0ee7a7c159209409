"""Measuring what a model has forgotten: metrics, attacks and the replay oracle."""
