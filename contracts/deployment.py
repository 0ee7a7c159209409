"""Deploying a consortium's contracts, and the file that says where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from web3 import Web3
from web3.types import Nonce
from web3.utils import get_create_address

from rescind.contracts.account import Account
from rescind.contracts.chain import Chain
from rescind.contracts.compiled import load_compiled
from rescind.contracts.errors import ContractRefused
from rescind.core.errors import ConfigError

NAMES = (
    "Governance",
    "Members",
    "Rounds",
    "Lineage",
    "Withdrawals",
    "Rewards",
    "Referee",
    "Anchors",
)
"""The contracts, in the order in which they are deployed."""


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
    governance: Address
    members: Address
    rounds: Address
    lineage: Address
    withdrawals: Address
    rewards: Address
    referee: Address
    anchors: Address
    block: int

    def addresses(self) -> dict[str, str]:
        """By contract name."""
        return {name: str(getattr(self, name.lower())) for name in NAMES}

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
            where = ".".join(str(part) for part in first["loc"]) or "file"
            raise ConfigError(
                f"{path} is not a valid contracts file: {where}: {first['msg']}"
            ) from error


class DeploySettings(BaseModel):
    """The consortium's agreement as the contracts hold it. Amounts in wei, times in seconds.

    `vote_threshold`: basis points of the active members that votes must exceed. `slash_share`: basis
    points of a slashed bond that go to whom it harmed. `challenge_seconds` 0: every sum is added up
    on chain; otherwise a sum holds when it has not been proven wrong for so many seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters_id: str
    base_model_id: str
    coupling: Literal["isolated", "federated"]
    layout: Literal["blocks", "shared"]
    max_rounds: Annotated[int, Field(ge=1, lt=2**32)]
    max_members: Annotated[int, Field(ge=1, le=128)]
    aggregator: Address
    aggregator_fingerprint: str
    auditors: tuple[Address, ...] = ()
    auditor_quorum: Annotated[int, Field(ge=1, lt=2**16)] = 1
    vote_threshold: Annotated[int, Field(ge=0, lt=10_000)] = 5_000
    proposal_seconds: int = 7 * 86_400
    bond_wei: int = 10**18
    aggregator_bond_wei: int = 10 * 10**18
    unrevealed_penalty_wei: int = 10**17
    exit_seconds: int = 86_400
    slash_share: Annotated[int, Field(ge=0, le=10_000)] = 5_000
    commit_seconds: int = 600
    reveal_seconds: int = 300
    finalize_seconds: int = 300
    preparation_seconds: int = 3600
    withdrawal_seconds: int = 3600
    challenge_seconds: int = 0
    proof_deposit_wei: int = 10**17
    reward_per_round_wei: int = 10**18
    pool_wei: int = 100 * 10**18

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        """A sum that may be challenged blocks the next one until its window is over."""
        longest = min(self.finalize_seconds, self.withdrawal_seconds // 2)
        if self.challenge_seconds >= longest:
            raise ValueError(
                f"challenge_seconds {self.challenge_seconds} must be less than finalize_seconds "
                f"and half of withdrawal_seconds ({longest}). Otherwise withdrawals cannot be "
                "carried out in time."
            )
        return self


def deploy(chain: Chain, founder: Account, settings: DeploySettings) -> Deployment:
    """Deploy the contracts and name the auditors; `founder` pays, and admits the first members.

    Each contract's constructor is told where the others will be (an address follows from the
    deployer's nonce), so that nothing has to be wired afterwards by anyone. Raises ContractRefused
    when another transaction of the founder came in between.
    """
    nonce = chain.nonce(founder.address)
    where = {
        name: str(
            Web3.to_checksum_address(
                get_create_address(Web3.to_checksum_address(founder.address), Nonce(nonce + place))
            )
        )
        for place, name in enumerate(NAMES)
    }
    block = 0
    for name in NAMES:
        arguments, value = _arguments(name, where, settings)
        found, block = _create(chain, founder, name, arguments, value=value)
        if found != where[name]:
            raise ContractRefused(
                f"{name} was deployed at {found} instead of {where[name]}, because the founder's "
                "key sent another transaction in the meantime. Deploy again."
            )
    members = chain.web3.eth.contract(address=where["Members"], abi=load_compiled("Members").abi)  # type: ignore[call-overload]
    for auditor in settings.auditors:
        data = members.encode_abi("nameAuditor", [auditor])
        chain.send(founder, {"to": where["Members"], "data": data, "value": 0})
    addresses = {name.lower(): address for name, address in where.items()}
    return Deployment(chain_id=chain.check(), block=block, **addresses)


def _arguments(name: str, where: dict[str, str], settings: DeploySettings) -> tuple[list[Any], int]:
    """Return a contract's constructor arguments and the ether that it gets, in wei."""
    it = settings
    members, rounds, lineage = where["Members"], where["Rounds"], where["Lineage"]
    withdrawals, rewards, governance = where["Withdrawals"], where["Rewards"], where["Governance"]
    shared = it.layout == "shared"
    agreed = (
        bytes.fromhex(it.parameters_id),
        bytes.fromhex(it.base_model_id),
        it.coupling == "federated",
        shared,
        it.max_rounds,
        it.commit_seconds,
        it.reveal_seconds,
        it.finalize_seconds,
    )
    terms = (
        it.bond_wei,
        it.aggregator_bond_wei,
        it.unrevealed_penalty_wei,
        it.exit_seconds,
        it.slash_share,
        it.max_members,
    )
    proving = (it.finalize_seconds, it.challenge_seconds, it.proof_deposit_wei)
    carrying = (it.preparation_seconds, it.withdrawal_seconds, it.auditor_quorum)
    fingerprint = bytes.fromhex(it.aggregator_fingerprint)
    made: dict[str, list[Any]] = {
        "Governance": [members, withdrawals, it.vote_threshold, it.proposal_seconds],
        "Members": [
            (governance, rounds, lineage, withdrawals, rewards),
            it.aggregator,
            fingerprint,
            terms,
        ],
        "Rounds": [members, lineage, withdrawals, rewards, agreed],
        "Lineage": [members, rounds, withdrawals, where["Referee"], shared, proving],
        "Withdrawals": [members, lineage, governance, carrying],
        "Rewards": [rounds, it.reward_per_round_wei],
        "Referee": [],
        "Anchors": [members],
    }
    return made[name], it.pool_wei if name == "Rewards" else 0


def _create(
    chain: Chain, account: Account, name: str, arguments: list[Any], *, value: int = 0
) -> tuple[str, int]:
    compiled = load_compiled(name)
    contract = chain.web3.eth.contract(abi=compiled.abi, bytecode="0x" + compiled.bytecode)
    data = contract.constructor(*arguments).data_in_transaction
    receipt = chain.send(account, {"data": data, "value": value})
    full = chain.ask(lambda: chain.web3.eth.get_transaction_receipt(receipt.tx_hash))  # type: ignore[arg-type]
    return str(full["contractAddress"]), receipt.block
