"""A consortium on one machine: chain, identities, demo data, the shipped base model, the demo.

Most modules load the contracts or a model: import them where they are needed.
"""

from rescind.devnet.layout import RunFolder

__all__ = [
    "RunFolder",
]
