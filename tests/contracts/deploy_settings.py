"""The settings that tests deploy a consortium with."""

from __future__ import annotations

from web3 import Web3

from rescind.contracts import DeploySettings

AGREED = {
    "parameters_id": "01" * 32,
    "base_model_id": "02" * 32,
    "rules": ("block",),
    "chained": False,
    "max_rounds": 8,
    "max_members": 8,
    "aggregator": Web3.to_checksum_address("0x" + "0a" * 20),
}


def settings(**changed: object) -> DeploySettings:
    """Return the settings with some of them changed."""
    return DeploySettings.model_validate({**AGREED, **changed})
