"""Agreed parameters and checks of a demo, before anything is started."""

from dataclasses import replace
from pathlib import Path

import pytest

from rescind.core import artifact_id
from rescind.core.errors import ConfigError, TrainingError
from rescind.devnet.data import Corpus
from rescind.devnet.defaults import BASE_MODEL, default_lora
from rescind.devnet.preparing import (
    DemoOptions,
    corpus_of,
    coupling_of,
    parameters_of,
    prepared,
    public_of,
)
from rescind.devnet.public_questions import public_reference
from rescind.devnet.watching import quiet
from rescind.training import Example, LoraModel, load_base


@pytest.fixture(scope="module")
def model() -> LoraModel:
    return LoraModel(load_base(BASE_MODEL), default_lora("isolated"))


def test_a_real_base_takes_pairs_that_are_longer_than_its_preset_allows(model: LoraModel) -> None:
    rows = (Example("who?", "me", "x"),)
    corpus = Corpus({"a": rows, "b": rows}, rows, ())
    _, size = corpus_of(DemoOptions(), 0)
    options, base = DemoOptions(), model.base
    positions = base.model.config.max_position_embeddings
    real = replace(size, real=True, settings=replace(size.settings, max_length=16))
    for longest, agreed in ((10, 16), (40, 40), (10 * positions, positions)):
        made = parameters_of(options, base, model, corpus, real, longest)
        assert made.training.max_length == agreed
    assert parameters_of(options, base, model, corpus, size, 40).training.max_length == 512


def test_shared_pairs_are_public_where_a_subject_has_no_others() -> None:
    shared = Example("Where is the archive?", "in Lund", "handbook")
    mixed = (Example("who?", "Ann", "Ann Lee"), Example("what?", "a baker", "Ann Lee"))
    corpus = Corpus({"a": (shared, *mixed), "b": (shared, mixed[0])}, (shared, mixed[0]), ())
    assert corpus.public("a") == ("handbook",)
    assert corpus.public("b") == ("handbook", "Ann Lee")
    assert coupling_of(DemoOptions(coupling="split"), corpus) == "split"


def test_a_split_demo_without_public_pairs_is_refused() -> None:
    corpus = Corpus({"a": (Example("1?", "1", "x"),), "b": (Example("2?", "2", "y"),)}, (), ())
    with pytest.raises(ConfigError, match="--coupling split: no two organizations have"):
        coupling_of(DemoOptions(coupling="split"), corpus)


def test_a_split_demo_trains_each_kind_of_data_as_long_as_blocks(model: LoraModel) -> None:
    corpus, size = corpus_of(DemoOptions(orgs=2), 0)
    options = {name: DemoOptions(orgs=2, coupling=name) for name in ("isolated", "split")}
    made = {
        name: parameters_of(each, model.base, model, corpus, size) for name, each in options.items()
    }
    steps = made["split"].training.steps_per_round
    assert made["split"].split is not None
    assert made["split"].split.steps(steps) == (made["isolated"].training.steps_per_round,) * 2
    assert set(public_of(corpus, made["split"])) == set(corpus.organizations)
    assert public_of(corpus, made["isolated"]) == {}


def test_a_demo_that_does_not_fit_leaves_no_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rescind.devnet.sizes._REAL_PARAMETERS", 1)
    monkeypatch.setattr("rescind.devnet.memory.available_memory", lambda: 2**30)
    monkeypatch.setattr("rescind.devnet.sizes.preset_of", lambda _: None)
    options = DemoOptions(model=str(BASE_MODEL), out=tmp_path / "runs")
    with pytest.raises(TrainingError, match=r"does not fit: about .* of 1\.0 GiB available"):
        prepared(options, print, quiet)
    assert not (tmp_path / "runs").exists()


def test_a_real_base_in_another_type_is_converted_once_for_all_daemons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load_base(BASE_MODEL)
    base.model.save_pretrained(tmp_path / "mine")
    base.tokenizer.save_pretrained(tmp_path / "mine")
    monkeypatch.setenv("RESCIND_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("rescind.devnet.sizes._REAL_PARAMETERS", 1)
    monkeypatch.setattr("rescind.devnet.memory.available_memory", lambda: None)
    said: list[str] = []
    for number in ("1", "2"):
        options = DemoOptions(model=str(tmp_path / "mine"), dtype="bfloat16", out=tmp_path / number)
        scene, _ = prepared(options, said.append, quiet)
        weights = Path(str(scene.facts.shared_weights))
        assert weights.is_file()
        assert (scene.facts.dtype, scene.needs.copies) == ("bfloat16", 1)
    assert [path.name for path in weights.parent.iterdir()] == [weights.name]
    assert "one copy that all share" in said[0]


def test_only_the_hybrid_coupling_sums_questions(model: LoraModel) -> None:
    options = DemoOptions(router="sums")
    corpus, size = corpus_of(options, 0)
    made = parameters_of(options, model.base, model, corpus, size)
    assert made.statistics is not None
    assert made.statistics.router is not None
    assert made.statistics.router.reference == artifact_id(public_reference(options.seed))
    with pytest.raises(ConfigError, match="--router sums: only the hybrid coupling sums questions"):
        parameters_of(replace(options, coupling="isolated"), model.base, model, corpus, size)
