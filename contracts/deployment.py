"""Deploying a consortium's contracts, and the file that says where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from web3 import Web3

from adapters.errors import ConfigError
from contracts.account import Account
from contracts.artefact import load_artefact
from contracts.chain import Chain


def _checksummed(address: str) -> str:
    if not Web3.is_checksum_address(address):
        raise ValueError(f"{address!r} is not an address in EIP-55 form")
    return address


Address = Annotated[str, AfterValidator(_checksummed)]
"""An Ethereum address, its case a checksum (EIP-55)."""


class Deployment(BaseModel):
    """Addresses of one consortium's contracts; `block` is that of the last deployment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chain_id: int
    members: Address
    rounds: Address
    withdrawals: Address
    rewards: Address
    anchors: Address
    block: int

    def addresses(self) -> dict[str, str]:
        """By contract name."""
        return {
            "Members": self.members,
            "Rounds": self.rounds,
            "Withdrawals": self.withdrawals,
            "Rewards": self.rewards,
            "Anchors": self.anchors,
        }

    def save(self, path: Path) -> None:
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises ConfigError naming the file."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(f"{path}: {first['loc']}: {first['msg']}") from error


class DeploySettings(BaseModel):
    """What the contracts hold of the consortium's agreement. Amounts in wei, times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters_id: str
    base_model_id: str
    coupling: Literal["isolated", "federated"]
    layout: Literal["blocks", "shared"]
    aggregator: str
    aggregator_fingerprint: str
    bond_wei: int = 10**18
    commit_seconds: int = 600
    reveal_seconds: int = 300
    finalize_seconds: int = 300
    withdrawal_seconds: int = 3600
    reward_per_round_wei: int = 10**18
    pool_wei: int = 100 * 10**18


def deploy(chain: Chain, governance: Account, settings: DeploySettings) -> Deployment:
    """Deploy and wire the five contracts; `governance` pays and governs."""
    aggregator = settings.aggregator
    members, _ = _create(
        chain,
        governance,
        "Members",
        [aggregator, bytes.fromhex(settings.aggregator_fingerprint), settings.bond_wei],
    )
    rewards, _ = _create(
        chain, governance, "Rewards", [settings.reward_per_round_wei], value=settings.pool_wei
    )
    agreed = (
        bytes.fromhex(settings.parameters_id),
        bytes.fromhex(settings.base_model_id),
        settings.coupling == "federated",
        settings.layout == "shared",
        settings.commit_seconds,
        settings.reveal_seconds,
        settings.finalize_seconds,
    )
    rounds, _ = _create(chain, governance, "Rounds", [members, rewards, aggregator, agreed])
    withdrawals, _ = _create(
        chain, governance, "Withdrawals", [members, rounds, aggregator, settings.withdrawal_seconds]
    )
    anchors, block = _create(chain, governance, "Anchors", [members])
    for name, address, target in (
        ("Members", members, withdrawals),
        ("Rounds", rounds, withdrawals),
        ("Rewards", rewards, rounds),
    ):
        contract = chain.web3.eth.contract(address=address, abi=load_artefact(name).abi)  # type: ignore[call-overload]
        data = contract.encode_abi("wire", [target])
        chain.send(governance, {"to": address, "data": data, "value": 0})
    return Deployment(
        chain_id=chain.check(),
        members=members,
        rounds=rounds,
        withdrawals=withdrawals,
        rewards=rewards,
        anchors=anchors,
        block=block,
    )


def _create(
    chain: Chain, account: Account, name: str, arguments: list[Any], *, value: int = 0
) -> tuple[str, int]:
    artefact = load_artefact(name)
    contract = chain.web3.eth.contract(abi=artefact.abi, bytecode="0x" + artefact.bytecode)
    data = contract.constructor(*arguments).data_in_transaction
    receipt = chain.send(account, {"data": data, "value": value})
    full = chain.ask(lambda: chain.web3.eth.get_transaction_receipt(receipt.tx_hash))  # type: ignore[arg-type]
    return str(full["contractAddress"]), receipt.block
