"""A row that cannot be trained on stops a node, an aggregator or a demo before it starts anything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rescind.aggregator import open_aggregator
from rescind.aggregator.config import EvaluationSection
from rescind.contracts import RoundState
from rescind.core.errors import DataError
from rescind.daemon import ModelSection
from rescind.devnet.data import Corpus, check_corpus, from_folder
from rescind.devnet.defaults import BASE_MODEL, default_parameters
from rescind.devnet.demo import DemoOptions, demo
from rescind.node.data_checks import DataUnfit
from rescind.training import Example, write_examples
from tests.aggregator.scene import Scene, make_files, open_scene
from tests.node.stage import ROWS, open_node, steps_of
from tests.support.chain import Anvil

LONG = ("Summarize the letter", "word " * 900, "Ada Long")


@pytest.fixture
def scene(anvil: Anvil, tmp_path: Path) -> Iterator[Scene]:
    with open_scene(anvil, tmp_path) as opened:
        opened.until(RoundState.OPEN)
        yield opened


def test_a_node_ends_before_it_takes_part_if_a_row_is_too_long(scene: Scene) -> None:
    member = scene.members[0]
    with open_node(scene, member, rows=(*ROWS, LONG)) as node:
        with pytest.raises(DataUnfit, match=r"data.jsonl:4: .* tokens, and the consortium's"):
            steps_of(node)
        assert not list(node.session.ledger.records("decision"))
    # From then on it knows what was agreed on, and does not start.
    with (
        pytest.raises(DataUnfit, match=r"data.jsonl:4"),
        open_node(scene, member, rows=(*ROWS, LONG)),
    ):
        pass


def test_a_node_does_not_start_with_a_row_that_cannot_be_read(scene: Scene) -> None:
    with (
        pytest.raises(DataUnfit, match=r"data.jsonl:4: 'answer' is missing"),
        open_node(scene, scene.members[0], rows=(*ROWS, ("q", None, "s"))),
    ):
        pass


@pytest.mark.parametrize(
    ("row", "reason"),
    [(LONG, "tokens, and the consortium's max_length"), (("q\0", "a", "s"), "NUL")],
)
def test_an_aggregator_does_not_start_with_a_bad_benchmark(
    anvil: Anvil, tmp_path: Path, row: tuple[str, str, str], reason: str
) -> None:
    path = tmp_path / "benchmark.jsonl"
    write_examples(path, [Example("q", "a", "s"), Example(*row)])
    with make_files(anvil, tmp_path) as files:
        sections = {
            "evaluation": EvaluationSection(data=path),
            "model": ModelSection(path=str(BASE_MODEL), device="cpu"),
        }
        config = files.config.model_copy(update=sections)
        with pytest.raises(DataError, match=f"benchmark.jsonl:2: .*{reason}"):
            open_aggregator(config).__enter__()


def folder_of(tmp_path: Path, *files: tuple[str, list[Example]]) -> Path:
    folder = tmp_path / "data"
    for name, rows in files:
        write_examples(folder / name, rows)
    return folder


def rows_of(name: str) -> list[Example]:
    return [Example(f"{name} {n}?", "yes", f"{name} {n}") for n in range(6)]


@pytest.mark.parametrize("file", ["alpha.jsonl", "held_out.jsonl"])
def test_a_demo_names_a_row_that_is_too_long_before_it_starts(tmp_path: Path, file: str) -> None:
    files = {f"{name}.jsonl": rows_of(name) for name in ("alpha", "beta", "held_out")}
    files[file].append(Example(*LONG))
    folder = folder_of(tmp_path, *files.items())
    with pytest.raises(DataError, match=rf"{file}:7: .* max_length is 512"):
        demo(DemoOptions(data=folder, out=tmp_path / "runs"), print)
    assert not (tmp_path / "runs").exists()


def test_a_demo_needs_a_question_of_each_organization() -> None:
    def corpus(*examples: Example) -> Corpus:
        return Corpus({"alpha": examples, "beta": tuple(rows_of("beta"))}, (), ())

    letter = Example("", "Dear Ada", "Ada", document=True)
    parameters = default_parameters("isolated", "0" * 64, {"a": (1, 1)}, seed=0)
    with pytest.raises(DataError, match="that only alpha has are documents"):
        check_corpus(corpus(letter), None, parameters)


def test_the_data_of_a_demo_may_have_a_format_for_each_organization(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ("alpha.jsonl", rows_of("alpha")))
    (folder / "beta").mkdir()
    (folder / "beta" / "a.csv").write_text("question,answer,subject\nWho?,Bo.,Bo\n")
    corpus = from_folder(folder)
    assert list(corpus.organizations) == ["alpha", "beta"]
    (folder / "beta.csv").write_text("question,answer,subject\nWho?,Bo.,Bo\n")
    with pytest.raises(DataError, match="two files or folders of 'beta'"):
        from_folder(folder)
