"""Organizations that train nothing: statistics alone, on machines without torch."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import tomli_w

from rescind.core import STATISTICS, ArtifactStore, block, blocks_of, encode, is_hiding
from rescind.core.statistics_parameters import StatisticsParameters
from rescind.core.statistics_tensors import named_statistics
from rescind.devnet import RunFolder
from rescind.node.facts import RoundFacts, open_journal
from tests.support.daemons import consortium, finals, wait_for
from tests.support.desk import DESK, ROWS, sums_of
from tests.support.withdrawals import accepted, adapter, ask, closed, settled

pytestmark = pytest.mark.slow
AGREED = StatisticsParameters(tasks={"desk": DESK})
_WITHOUT_TORCH = (
    "import sys; sys.modules.update(dict.fromkeys(('torch', 'transformers', 'peft'))); "
    "from rescind.cli.main import main; main()"
)


@contextmanager
def node_without_torch(config: Path, log: Path) -> Iterator[None]:
    """Run a node's daemon in a process that cannot import torch."""
    with log.open("ab") as file:
        node = subprocess.Popen(
            [sys.executable, "-c", _WITHOUT_TORCH, "node", "run", "--config", config],
            stdout=file, stderr=file, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        try:
            yield
            assert node.poll() is None, log.read_text()[-2000:]
        finally:
            node.terminate()
            node.wait(30)


def train_nothing(run: RunFolder, name: str) -> None:
    """Take an organization's data away: it has rows of statistics alone."""
    path = run.organization(name) / "node.toml"
    content = tomllib.loads(path.read_text())
    (path.parent / content["node"].pop("data")).unlink()
    content["agent"] = {"policy": "always"}
    path.write_text(tomli_w.dumps(content))


def test_a_consortium_of_sums_alone_needs_no_training(tmp_path: Path) -> None:
    rows = {name: {"desk": own} for name, own in ROWS.items()}
    options = {"coupling": "hybrid", "statistics": AGREED, "rows": rows}
    with consortium(tmp_path, 2, **options) as opened, ExitStack() as nodes:  # type: ignore[arg-type]
        run, record, daemons = opened
        daemons["aggregator"].start()
        for name in ROWS:
            train_nothing(run, name)
            log = daemons[name].log
            nodes.enter_context(node_without_torch(run.organization(name) / "node.toml", log))
        wait_for("two rounds", lambda: finals(record) == 2)
        wait_for("settled", lambda: all(settled(run, name, 2) for name in ROWS))
        store = ArtifactStore(run.store)

        def served() -> bytes:
            tensors = block(store.load(adapter(record)), STATISTICS)
            return encode(named_statistics(AGREED, tensors)["desk"].tensors())

        assert served() == encode(sums_of(ROWS["aurora"] + ROWS["borealis"]).tensors())
        tensors = store.load(adapter(record))
        for name in blocks_of(tensors):
            own = block(tensors, name).items()
            assert not any(value.any() for bare, value in own if not is_hiding(bare))
        action = RoundFacts.load(open_journal(run.node_state("aurora")), 2).action
        assert (action.effort, action.statistics) == (0.0, 1.0)
        # Neither part of the second round was sent again, but for its noise.
        moved = [each["moved"] for each in daemons["aurora"].events("sent")]
        assert max(moved[2:]) < 70_000 < min(moved[:2])

        person = ask(run, "aurora", "--method", "replacement", "--subject", "Ann Lee")
        wait_for("the person's withdrawal", lambda: closed(record, person))
        left = [row for row in ROWS["aurora"] if row.subject != "Ann Lee"]
        assert served() == encode(sums_of(left + ROWS["borealis"]).tensors())
        assert accepted(run, record, person)["heads"] == "passed"
        removal = ask(run, "borealis", "--method", "removal")
        wait_for("the removal", lambda: closed(record, removal))
        assert served() == encode(sums_of(left).tensors())
        assert accepted(run, record, removal)["heads"] == "passed"
