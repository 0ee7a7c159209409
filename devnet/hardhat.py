"""The command that starts Hardhat's chain, from the npm package hardhat."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from rescind.contracts.compiler import node_modules
from rescind.core.errors import ChainError

ENVIRONMENT = {
    # The configuration lies in the run's folder, and the package elsewhere.
    "HARDHAT_EXPERIMENTAL_ALLOW_NON_LOCAL_INSTALLATION": "true",
    "HARDHAT_DISABLE_TELEMETRY_PROMPT": "true",
}
"""Variables that Hardhat's process needs."""


def hardhat_command(folder: Path, port: int, chain_id: int, hardfork: str) -> list[str]:
    """Write Hardhat's configuration into a folder, and return the command that starts its chain.

    Raises:
        ChainError: Node.js or the package is not installed.
    """
    program, script = shutil.which("node"), node_modules() / "hardhat/internal/cli/bootstrap.js"
    if program is None or not script.is_file():
        raise ChainError(f"hardhat is not in {node_modules()}. Run make setup-dev or npm ci.")
    network = {
        "chainId": chain_id,
        "hardfork": hardfork,
        "allowUnlimitedContractSize": False,
        "loggingEnabled": False,
    }
    config = {"networks": {"hardhat": network}, "solidity": "0.8.30"}
    file = folder / "hardhat.config.js"
    file.write_text(f"module.exports = {json.dumps(config, indent=2)};\n", encoding="ascii")
    command = [program, str(script), "--config", str(file), "node"]
    return [*command, "--hostname", "127.0.0.1", "--port", str(port)]
