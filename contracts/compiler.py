"""Compile contracts/src with py-solc-x and the npm package solc.

`python -m rescind.contracts.compiler` writes contracts/artifacts. They are committed, so only a
change of the contracts needs a compiler.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from rescind.core.errors import ChainError

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "src"
ARTIFACTS = HERE / "artifacts"
"""One JSON file for each contract: ABI, creation code, runtime code."""
NAMES = (
    "Anchors",
    "Governance",
    "Members",
    "Models",
    "Replays",
    "Rewards",
    "Rounds",
    "Withdrawals",
)
"""The contracts that are deployed."""
SETTINGS: dict[str, Any] = {
    "evmVersion": "prague",
    "optimizer": {"enabled": True, "runs": 200},
    "viaIR": True,
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
    "remappings": ["@openzeppelin/=@openzeppelin/"],
    "outputSelection": {
        "*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode"]},
    },
}


def node_modules() -> Path:
    """Return the folder of the npm packages: RESCIND_NODE_MODULES, or the one beside the project.

    Raises:
        ChainError: There is no such folder.
    """
    chosen = Path(os.environ.get("RESCIND_NODE_MODULES", HERE.parent / "node_modules"))
    if not chosen.is_dir():
        raise ChainError(f"the npm packages are not in {chosen}. Run make setup or npm ci.")
    return chosen


def foundry(name: str) -> Path:
    """Return the path of a program of Foundry, from the npm package @foundry-rs/NAME.

    The package's own launcher is not used: as a parent it loses exit statuses, and leaves the
    program running when it is killed.

    Args:
        name: The program, such as "anvil".

    Raises:
        ChainError: The package is not installed for this platform.
    """
    programs = sorted(node_modules().glob(f"@foundry-rs/{name}-*/bin/{name}"))
    if not programs:
        raise ChainError(f"{name} is not in {node_modules()}. Run make setup or npm ci.")
    return programs[0]


def _sources() -> dict[str, dict[str, str]]:
    libraries = node_modules()
    pending = [
        (f"src/{file.relative_to(SOURCES)}", file) for file in sorted(SOURCES.rglob("*.sol"))
    ]
    sources: dict[str, dict[str, str]] = {}
    while pending:
        name, path = pending.pop()
        text = path.read_text(encoding="utf-8")
        sources[name] = {"content": text}
        for line in text.splitlines():
            if not line.startswith("import ") or (
                '"@openzeppelin' not in line and "../" not in line and '"./' not in line
            ):
                continue
            target = line.split('"')[1]
            # Names in the compiler's input, not paths of this machine.
            inner = os.path.normpath(
                target if target.startswith("@") else os.path.join(os.path.dirname(name), target)  # noqa: PTH118, PTH120
            )
            if inner.startswith("@") and inner not in sources:
                pending.append((inner, libraries / inner))
    return sources


def sources_sha256() -> str:
    """Return the SHA-256 of the sources as they are now, which every artifact records."""
    return _sha256(_sources())


def _sha256(sources: dict[str, dict[str, str]]) -> str:
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()


def compile_contracts() -> dict[str, dict[str, Any]]:
    """Return the compiled contracts by name, as the artifacts hold them.

    Raises:
        ChainError: The compiler refuses the sources. The message quotes it.
    """
    import solcx

    sources = _sources()
    request = {"language": "Solidity", "sources": sources, "settings": SETTINGS}
    try:
        output = solcx.compile_standard(request, solc_binary=HERE / "solc", allow_empty=True)
    except solcx.exceptions.SolcError as error:
        raise ChainError(f"the contracts do not compile: {error}") from error
    digest = _sha256(sources)
    compiled = {}
    for name in NAMES:
        built = output["contracts"][f"src/{name}.sol"][name]
        deployed = built["evm"]["deployedBytecode"]
        spans = sorted(
            (place["start"], place["length"])
            for places in deployed.get("immutableReferences", {}).values()
            for place in places
        )
        compiled[name] = {
            "contract": name,
            "sources_sha256": digest,
            "settings": {
                key: SETTINGS[key] for key in ("evmVersion", "optimizer", "viaIR", "metadata")
            },
            "abi": built["abi"],
            "bytecode": built["evm"]["bytecode"]["object"],
            "deployed_bytecode": deployed["object"],
            "immutable_spans": spans,
        }
    return compiled


def write_artifacts() -> None:
    """Compile the contracts, and write one artifact for each."""
    ARTIFACTS.mkdir(exist_ok=True)
    for name, contract in compile_contracts().items():
        text = json.dumps(contract, indent=1, sort_keys=True)
        (ARTIFACTS / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    write_artifacts()
