"""Statistics that a member of a hybrid consortium contributes."""

import numpy as np

from rescind.contracts import Parts
from rescind.core import artifact_id, commit, decode, digest
from rescind.core.statistics_tensors import contributed_tensors
from tests.support.consortium import hybrid_parameters

PARAMETERS = hybrid_parameters()
Tensors = dict[str, np.ndarray]


def statistics(*texts: str) -> Tensors:
    """Return what a member with a row for each text contributes."""
    agreed = PARAMETERS.statistics
    assert agreed is not None
    rows = agreed.tasks["desk"].collect(texts, ["cards"] * len(texts))
    return contributed_tensors(agreed, {"desk": rows})


def parts_of(data: list[bytes]) -> Parts:
    """Return what is registered of the artifacts of all parts."""
    points = tuple(commit(digest(decode(each))) for each in data)
    return Parts(tuple(artifact_id(each) for each in data), points)
