"""A node adopts a model only if its files open to the points on chain."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rescind.contracts import Publication
from rescind.core import (
    ArtifactStore,
    OpeningMismatch,
    StoreCorrupt,
    artifact_id,
    encode,
    encode_openings,
    qualify,
)
from rescind.daemon import Journal
from rescind.node.adopting import (
    adopt,
    adopted,
    adopted_tensors,
    fetch_reference,
    try_to_adopt,
)
from rescind.node.facts import AdoptedModel
from rescind.node.unavailable import Unavailable
from rescind.wire import ModelFiles, NotPublished
from tests.support.consortium import hybrid_parameters
from tests.support.hybrid import REFERENCE, ROUTED
from tests.support.recorded_model import B, Scene, nudged, scene
from tests.support.stored_client import StoredClient
from tests.support.stored_files import damage

AGGREGATOR = "0xff"
ORGANIZATION = "0xab"
MODEL = 7


def session_of(folder: Path, files: Scene) -> Any:
    """A node whose aggregator has published the scene's files."""
    published = ArtifactStore(folder / "aggregator")
    adapter = published.put(encode(files.tensors))
    opening = published.put(encode_openings(files.openings.values()))
    record = files.record
    consortium = SimpleNamespace(
        content=lambda model, part=0: list(record.entries),
        contents=lambda model: list(record.entries),
        points=lambda hashes: record.points,
        commitments=lambda model: record.commitments,
        aggregator=lambda: AGGREGATOR,
        publications=lambda model: [Publication(MODEL, AGGREGATOR, adapter, opening)],
    )
    client = StoredClient(published)
    client.files = ModelFiles(MODEL, adapter, opening)
    return SimpleNamespace(
        me=ORGANIZATION,
        config=SimpleNamespace(node=SimpleNamespace(state_dir=folder)),
        consortium=consortium,
        client=client,
        parameters=files.parameters,
        journal=Journal(folder / "node.db"),
        store=ArtifactStore(folder / "node", mends=True),
        unavailable=Unavailable(clock=lambda: 0.0),
    )


def unpublished(model: int) -> ModelFiles:
    raise NotPublished(f"model {model} is not built yet")


@pytest.mark.parametrize("federated", [False, True])
def test_a_model_that_opens_is_adopted(tmp_path: Path, federated: bool) -> None:
    files = scene(federated=federated)
    session = session_of(tmp_path, files)
    adopt(session, MODEL)
    fact = AdoptedModel.load(session.journal, MODEL)
    assert fact is not None
    assert fact.left_out == ()
    assert adopted_tensors(session, MODEL).keys() == files.tensors.keys()


def test_a_block_that_does_not_open_is_not_used(tmp_path: Path) -> None:
    files = scene()
    files.tensors = nudged(files.tensors, B.lower())
    session = session_of(tmp_path, files)
    tensors = adopted_tensors(session, MODEL)
    assert qualify(B.lower(), "layer.lora_A") in files.tensors
    assert not [name for name in tensors if name.startswith(B.lower())]
    assert AdoptedModel.ids(session.journal) == {0, MODEL}


def test_a_shared_model_that_does_not_open_is_not_adopted(tmp_path: Path) -> None:
    files = scene(federated=True)
    files.tensors = nudged(files.tensors, "shared")
    session = session_of(tmp_path, files)
    with pytest.raises(OpeningMismatch, match="model 7 is refused"):
        adopt(session, MODEL)
    try_to_adopt(session, MODEL)
    assert session.unavailable.now() == {MODEL}
    assert AdoptedModel.ids(session.journal) == {0}


@pytest.mark.parametrize("federated", [False, True])
@pytest.mark.parametrize("which", ["adapter", "opening"])
def test_a_damaged_file_of_the_nodes_own_is_fetched_again(
    tmp_path: Path, federated: bool, which: str
) -> None:
    session = session_of(tmp_path, scene(federated=federated))
    files = session.client.files
    artifact = files.adapter_id if which == "adapter" else files.opening_id
    session.client.download_into(session.store, artifact, 2**20)
    damage(tmp_path / "node", artifact)
    # The model is not called bad: the look after this one fetches the file.
    with pytest.raises(StoreCorrupt, match="fetched or built again"):
        adopt(session, MODEL)
    adopt(session, MODEL)
    assert adopted_tensors(session, MODEL)
    # The same once it is adopted.
    damage(tmp_path / "node", files.adapter_id)
    with pytest.raises(StoreCorrupt):
        adopted_tensors(session, MODEL)
    assert adopted_tensors(session, MODEL)


def test_files_that_only_the_chain_names_are_adopted(tmp_path: Path) -> None:
    session = session_of(tmp_path, scene())
    session.client.model = unpublished
    adopt(session, MODEL)
    assert MODEL in AdoptedModel.ids(session.journal)


def test_files_that_only_a_stranger_names_are_not_adopted(tmp_path: Path) -> None:
    session = session_of(tmp_path, scene())
    session.client.model = unpublished
    session.consortium.aggregator = lambda: "0xee"
    with pytest.raises(NotPublished):
        adopt(session, MODEL)


def test_missing_files_are_asked_for_again_after_waits_that_grow_to_a_limit() -> None:
    seconds = [0.0]
    unavailable = Unavailable(lambda: seconds[0])
    waits = []
    for _ in range(6):
        unavailable.add(MODEL)
        began = seconds[0]
        while MODEL in unavailable.now():
            seconds[0] += 0.25
        waits.append(seconds[0] - began)
    assert waits == [0.25, 0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_model_that_took_the_number_of_another_is_adopted_again(tmp_path: Path) -> None:
    session = session_of(tmp_path, scene())
    adopt(session, MODEL)
    assert adopted(session, MODEL)
    session.consortium.commitments = lambda model: ("cd" * 32,)
    assert adopted(session, MODEL) is None


def test_the_reference_of_an_agreed_router_is_fetched_once_and_may_be_missing(
    tmp_path: Path,
) -> None:
    session = session_of(tmp_path, scene())
    session.parameters = hybrid_parameters(statistics=ROUTED.model_dump(mode="json"))
    wanted = artifact_id(REFERENCE)
    fetch_reference(session)  # not published yet: the model is adopted all the same
    assert not session.store.has(wanted)
    session.client.store.put(REFERENCE)
    fetch_reference(session)
    assert session.store.has(wanted)
    session.client = None
    fetch_reference(session)
