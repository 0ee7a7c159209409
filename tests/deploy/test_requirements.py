"""Tests of the installed packages: by version in constraints.txt, by hash in requirements/, nothing by chance."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "requirements"
EXTRAS = {
    "setup": ["train", "data", "serve"],
    "image": ["train", "data", "serve", "postgres"],
    "dev": ["train", "agents", "ray", "contracts", "postgres", "data", "serve", "dev"],
}
WITHOUT_HASH = {"torch"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_LINE = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)")


def constrained() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Return version and number of hashes of each package in a lock file."""
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    found = {}
    for block in re.split(r"^(?=[^\s#])", text, flags=re.M)[1:]:
        line = _LINE.match(block)
        assert line, f"{name}.txt: {block.splitlines()[0]!r} is not NAME==VERSION"
        hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}\b", block)
        found[canonicalize_name(line[1])] = (line[2], len(hashes))
    return found


@pytest.mark.parametrize("name", [*EXTRAS, "build"])
def test_each_package_has_the_version_of_constraints_and_a_hash(name: str) -> None:
    versions = constrained()
    for package, (version, hashes) in locked(name).items():
        assert version == versions.get(package), f"{package}: run scripts/lock_requirements.py"
        assert hashes, package


@pytest.mark.parametrize("name", EXTRAS)
def test_each_dependency_of_the_package_is_locked(name: str) -> None:
    project = PROJECT["project"]
    optional = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *(each for extra in EXTRAS[name] for each in optional[extra]),
    ]
    found = locked(name)
    for text in wanted:
        requirement = Requirement(text)
        package = canonicalize_name(requirement.name)
        if package not in WITHOUT_HASH:
            assert package in found, f"{package}: run scripts/lock_requirements.py"
            assert requirement.specifier.contains(found[package][0]), text


def test_torch_is_pinned_by_version_and_all_else_by_hash() -> None:
    assert set(constrained()) - set(locked("dev")) - set(locked("build")) == WITHOUT_HASH


def test_what_builds_the_package_is_pinned() -> None:
    (required,) = PROJECT["build-system"]["requires"]
    assert required == f"setuptools=={locked('build')['setuptools'][0]}"


@pytest.mark.parametrize("file", ["Makefile", "Dockerfile"])
def test_nothing_but_torch_and_the_package_itself_is_installed_without_hashes(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [
        command
        for line in text.splitlines()
        for command in re.split(r"&&|;", line)
        if re.search(r"pip install|PIP_HASHED\)", command) and not command.startswith("#")
    ]
    assert len(commands) >= 3
    for command in commands:
        hashed = "--require-hashes --no-deps" in command or "$(PIP_HASHED)" in command
        torch = "grep '^torch==' constraints.txt" in command and "-c constraints.txt" in command
        own = "--no-deps --no-build-isolation" in command
        assert hashed or torch or own, command


@pytest.mark.parametrize("file", ["setup.txt", "image.txt", "dev.txt", "build.txt"])
def test_no_list_of_packages_names_a_registry(file: str) -> None:
    text = (FOLDER / file).read_text(encoding="utf-8")
    assert not re.search(r"://|index|find-links", text.replace("indexes. constraints.txt", ""))


def test_the_packages_of_npm_are_pinned_by_hash_and_no_configuration_names_a_registry() -> None:
    for name in (".npmrc", "pip.conf", ".pip/pip.conf", "uv.toml"):
        assert not (ROOT / name).exists(), name
    text = (ROOT / "package-lock.json").read_text(encoding="utf-8")
    packages = {name: facts for name, facts in json.loads(text)["packages"].items() if name}
    assert packages
    assert all(facts["integrity"].startswith("sha512-") for facts in packages.values())
    assert not any("resolved" in facts for facts in packages.values())


@pytest.mark.parametrize("file", ["Makefile", "Dockerfile"])
def test_no_package_of_npm_runs_a_script_when_it_is_installed(file: str) -> None:
    """The needed packages work without their scripts: the chain's programs are files in them."""
    text = (ROOT / file).read_text(encoding="utf-8")
    commands = [
        line
        for line in text.splitlines()
        if re.search("npm (ci|install) -", line) and not line.startswith("#")
    ]
    assert commands
    assert all("--ignore-scripts" in command for command in commands)
