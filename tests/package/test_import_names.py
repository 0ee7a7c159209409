"""Nothing of ours is imported under a name outside the package `rescind`."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OLD_NAMES = {
    "adapters",
    "agents",
    "aggregator",
    "audit",
    "contracts",
    "devnet",
    "ledger",
    "node",
    "protocol",
    "training",
    "unlearning",
}
LINKED = ("agents", "aggregator", "contracts", "devnet", "ledger", "node")


@pytest.mark.trains  # it imports every room
@pytest.mark.slow
def test_importing_every_room_loads_no_top_level_name_but_rescind() -> None:
    program = (
        "import sys, pkgutil, importlib, rescind.cli.main\n"
        "for name in ('agents', 'aggregator', 'audit', 'contracts', 'core', 'daemon', 'devnet',"
        " 'forgetting', 'ledger', 'node', 'training', 'unlearning', 'wire', 'withdrawals'):\n"
        "    room = importlib.import_module('rescind.' + name)\n"
        "    for module in pkgutil.iter_modules(room.__path__):\n"
        "        importlib.import_module(f'rescind.{name}.{module.name}')\n"
        f"print(sorted({OLD_NAMES!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_the_six_top_level_folders_are_real_and_linked_into_the_package() -> None:
    for name in LINKED:
        assert (ROOT / name).is_dir()
        assert not (ROOT / name).is_symlink()
        link = ROOT / "rescind" / name
        assert link.is_symlink()
        assert link.readlink() == Path("..") / name
