from pathlib import Path

import numpy as np
import pytest

from rescind.core import (
    ArtifactStore,
    Term,
    adapter_totals,
    decode,
    encode,
    served_of,
)
from rescind.core.errors import StoreError
from rescind.devnet import RunFolder
from rescind.devnet.adapters import served_model
from tests.support.consortium import micro_parameters

A = "0x" + "a" * 40


def model_in(run: RunFolder) -> tuple[str, list[Term]]:
    store, terms = ArtifactStore(run.store), []
    for number in (1, 2):
        delta = {
            f"shared/{name}": np.full(shape, 40 * number, dtype=np.int32)
            for name, shape in micro_parameters(federated=True).delta_shapes().items()
        }
        terms.append(Term(number, A, store.put(encode(delta)), 10_000))
    return store.put(encode(adapter_totals(terms, lambda each: decode(store.get(each))))), terms


@pytest.mark.parametrize("server", ["fedavg", "fedadam"])
def test_a_run_serves_what_its_server_optimizer_makes_of_the_rounds(
    tmp_path: Path, server: str
) -> None:
    run, parameters = RunFolder(tmp_path), micro_parameters(federated=True, server={"name": server})
    adapter_id, terms = model_in(run)
    store = ArtifactStore(run.store)
    served = encode(served_model(run, parameters, adapter_id, terms))
    assert served == encode(served_of(parameters, terms, lambda each: decode(store.get(each))))
    assert (served == store.get(adapter_id)) == (server == "fedavg")
    assert served_model(run, parameters, "", []) == {}


def test_a_changed_or_lost_delta_is_not_served(tmp_path: Path) -> None:
    run, parameters = (
        RunFolder(tmp_path),
        micro_parameters(federated=True, server={"name": "fedadam"}),
    )
    adapter_id, terms = model_in(run)
    file = run.store / terms[0].artifact_id[:2] / terms[0].artifact_id
    file.chmod(0o600)
    file.write_bytes(b"other")
    with pytest.raises(StoreError, match="was changed"):
        served_model(run, parameters, adapter_id, terms)
    file.unlink()
    with pytest.raises(StoreError, match="is not there"):
        served_model(run, parameters, adapter_id, terms)
