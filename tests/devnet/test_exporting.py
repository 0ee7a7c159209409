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
from tests.support.exported import CONFIGS, Sample, make_sample

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
