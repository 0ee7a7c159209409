"""An OpenAI-compatible server of a consortium's model, which asks the chain what it may serve.

Imports no torch: the modules that run a model are imported when one is loaded.
"""

from rescind.serving.errors import ApiError, NotServed
from rescind.serving.standing import Decision, Look, ModelKey, decide, look

__all__ = [
    "ApiError",
    "Decision",
    "Look",
    "ModelKey",
    "NotServed",
    "decide",
    "look",
]
