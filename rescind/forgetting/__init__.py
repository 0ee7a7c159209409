"""Measuring what a model has forgotten: metrics, attacks and the replay oracle.

Research code: no daemon runs it. `rescind evaluate` uses the metrics. It exports no names: import
`rescind.forgetting.metrics`, `.attacks`, `.history` or `.replay`.
"""

__all__: list[str] = []
