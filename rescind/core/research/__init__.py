"""Algebra that papers and docs/federated.md compare, and that neither daemon runs.

Only tests and benchmarks import it. An idea moves out of here when the product uses it.
"""
