"""Measuring what a model has forgotten: metrics, attacks and the replay oracle.

Research code: no daemon runs it. `rescind evaluate` uses the metrics.
"""
