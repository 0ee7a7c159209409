"""The wheel installs by itself: one import name, and what needs no extra works without extras."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> tuple[Path, set[str], set[str]]:
    """A new virtual environment with the wheel and no extras.

    Returns:
        Its folder, and the names in site-packages before and after the wheel itself went in (its
        dependencies are installed first).
    """
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    tree = folder / "tree"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(tree)], check=True)
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(tree)], check=True)
    wheel = next(folder.glob("rescind-*.whl"))
    venv.create(folder / "env", with_pip=True)
    own = [str(folder / "env/bin/python"), "-m", "pip", "--disable-pip-version-check", "-q"]
    constraints = ["-c", str(ROOT / "constraints.txt")]
    subprocess.run([*own, "install", *constraints, str(wheel)], check=True)
    subprocess.run([*own, "uninstall", "-y", "rescind"], check=True)
    before = _site_packages(folder / "env")
    subprocess.run([*own, "install", "--no-deps", str(wheel)], check=True)
    return folder / "env", before, _site_packages(folder / "env")


def _site_packages(environment: Path) -> set[str]:
    return {path.name for path in next(environment.glob("lib/python*/site-packages")).iterdir()}


def _run(environment: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(environment / "bin" / "rescind"), *words]
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True)


def test_site_packages_gains_rescind_only(environment) -> None:
    _, before, after = environment
    gained = {name for name in after - before if not name.endswith(".dist-info")}
    assert gained == {"rescind"}


def test_help_works_without_extras(environment, tmp_path: Path) -> None:
    done = _run(environment[0], tmp_path, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_verify_refuses_a_missing_certificate_without_extras(environment, tmp_path: Path) -> None:
    done = _run(environment[0], tmp_path, "verify", "missing.json", "--rpc", "http://127.0.0.1:9")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "missing.json" in done.stdout + done.stderr


def test_a_ledger_is_made_without_extras(environment, tmp_path: Path) -> None:
    done = _run(
        environment[0], tmp_path, "ledger", "init", "--ledger", "folder", "--key-file", "key"
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_holds_real_files_of_the_linked_folders(environment) -> None:
    site = next(environment[0].glob("lib/python*/site-packages"))
    for name in ("agents", "aggregator", "contracts", "devnet", "ledger", "node"):
        assert (site / "rescind" / name / "__init__.py").is_file()
        assert not (site / "rescind" / name).is_symlink()
    assert json.loads(
        next((site / "rescind/contracts/artifacts").glob("*.json")).read_text(encoding="utf-8")
    )
