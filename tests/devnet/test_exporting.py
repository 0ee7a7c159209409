"""Which blocks of a run are exported, where to, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rescind.contracts import Deployment
from rescind.core.errors import ConfigError
from rescind.devnet.exporting import RunExporter
from rescind.devnet.layout import RunFacts, RunFolder
from rescind.devnet.serving import ServedModel
from rescind.training.heads import solve
from tests.support.exported import CONFIGS, Sample, make_sample
from tests.support.hybrid import ROWS, hybrid, statistics_of, summed_statistics

OWNERS = tuple(ROWS)
AURORA, ODD, LATE = ("0x" + digit * 40 for digit in "abc")
ADDRESS = "0x" + "11" * 20


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("base") / "its-base", CONFIGS["llama"])


@pytest.fixture
def exporter(sample: Sample, tmp_path: Path) -> RunExporter:
    run = RunFolder(tmp_path / "run")
    facts = RunFacts(
        seed=0,
        coupling="isolated",
        model=str(sample.folder),
        rounds=1,
        chain_id=31337,
        chain_port=1,
        aggregator_port=1,
        organizations={"aurora": AURORA.upper().replace("X", "x"), "../odd": ODD},
    )
    run.save(facts)
    names = (
        "members rounds models withdrawals replays governance rewards anchors"  # the contracts
    ).split()
    Deployment(chain_id=31337, block=1, **dict.fromkeys(names, ADDRESS)).save(run.contracts)
    adapter = tmp_path / "adapter"
    adapter.write_bytes(b"the published adapter")
    totals = {
        f"{owner}/{name}": np.full(shape, number, dtype=np.int64)
        for number, owner in enumerate((AURORA, ODD, LATE))
        for name, shape in sample.source.parameters.delta_shapes().items()
    }
    served = ServedModel(5, "cd" * 32, (), [adapter])
    source = replace(sample.source, contracts=run.contracts.read_text())
    return RunExporter(run, facts, served, source, totals)


def mark(folder: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads((folder / "rescind.json").read_text())
    return document


def test_a_block_is_chosen_by_name_or_address(exporter: RunExporter) -> None:
    assert exporter.owner("aurora") == AURORA
    assert exporter.owner(AURORA.upper().replace("X", "x")) == AURORA
    assert exporter.owner(LATE) == LATE
    with pytest.raises(
        ConfigError, match=rf"no such block. Choose one of \.\./odd, aurora, {LATE}"
    ):
        exporter.owner("borealis")
    with pytest.raises(ConfigError, match=r"one of .*aurora, .*; or all with --all"):
        exporter.owner(None)


def test_one_adapter_for_all_has_no_block_to_choose(exporter: RunExporter) -> None:
    shared = replace(exporter, totals={"shared/x.lora_B": np.zeros(1, dtype=np.int64)})
    assert shared.owner(None) == "shared"
    with pytest.raises(ConfigError, match="Leave out --organization"):
        shared.owner("aurora")


def test_every_block_goes_into_a_folder_of_its_own(exporter: RunExporter, tmp_path: Path) -> None:
    written = exporter.write(
        {"peft": tmp_path / "all"}, list(exporter.names), each_in_own_folder=True
    )
    assert [each.folder.name for each in written] == [ODD, "aurora", LATE]
    assert {path.name for path in (tmp_path / "all").iterdir()} == {"aurora", ODD, LATE}
    facts = mark(tmp_path / "all" / "aurora")
    assert (facts["model"], facts["owner"], facts["organization"]) == (5, AURORA, "aurora")
    assert facts["in_use_when_exported"] is False
    assert json.loads((tmp_path / "all" / "aurora" / "contracts.json").read_text())["block"] == 1


def test_nothing_is_written_unless_every_folder_can_be(
    exporter: RunExporter, tmp_path: Path
) -> None:
    (tmp_path / "all" / LATE).mkdir(parents=True)
    (tmp_path / "all" / LATE / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not an export"):
        exporter.write({"peft": tmp_path / "all"}, list(exporter.names), each_in_own_folder=True)
    assert not (tmp_path / "all" / "aurora").exists()


def test_a_model_that_was_erased_meanwhile_is_not_exported(
    exporter: RunExporter, tmp_path: Path
) -> None:
    exporter.served.files[0].unlink()
    with pytest.raises(ConfigError, match="was erased"):
        exporter.write({"peft": tmp_path / "out"}, [AURORA], each_in_own_folder=False)
    assert not (tmp_path / "out").exists()


def with_statistics(exporter: RunExporter, owners: tuple[str, ...] = OWNERS) -> RunExporter:
    source = replace(exporter.source, parameters=hybrid(exporter.source.parameters))
    return replace(exporter, source=source, totals={**exporter.totals, **summed_statistics(owners)})


def test_the_heads_of_a_model_are_written_together(exporter: RunExporter, tmp_path: Path) -> None:
    [head] = with_statistics(exporter).write_heads(tmp_path / "heads")
    assert (head.task, head.model, head.file.name) == ("desk", 5, "desk.safetensors")
    assert head.head == solve(statistics_of(OWNERS)).id
    facts = mark(tmp_path / "heads")
    assert (facts["kind"], facts["owner"], facts["model"]) == ("heads", "statistics", 5)


def test_a_model_without_statistics_has_no_heads_to_write(
    exporter: RunExporter, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"Model 5 has no head: .* not agreed on statistics"):
        exporter.write_heads(tmp_path / "heads")
    agreed = with_statistics(exporter)
    with pytest.raises(ConfigError, match="no organization has contributed"):
        replace(agreed, totals=exporter.totals).write_heads(tmp_path / "heads")
    exporter.served.files[0].unlink()
    with pytest.raises(ConfigError, match="was erased"):
        agreed.write_heads(tmp_path / "heads")
    assert not (tmp_path / "heads").exists()


def test_the_card_of_a_block_says_that_heads_are_not_in_it(
    exporter: RunExporter, tmp_path: Path
) -> None:
    with_statistics(exporter).write({"peft": tmp_path / "out"}, [AURORA], each_in_own_folder=False)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "**The heads are not in this export**" in card
    assert "- desk: Which desk answers this message? {text}" in card
