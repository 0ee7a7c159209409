"""Deployment of a consortium's contracts, and the file that says where they are."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Self

from eth_utils.address import is_checksum_address
from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    model_validator,
)

from rescind.contracts.abi import load_interface
from rescind.contracts.account import Account
from rescind.contracts.chain import Chain
from rescind.contracts.checksum import created_address
from rescind.contracts.compiled import load_compiled
from rescind.contracts.errors import ContractRefused, NonceTaken
from rescind.contracts.points import MAX_MEMBERS
from rescind.contracts.precompiles import check_precompiles
from rescind.contracts.rpc import NodeRefused
from rescind.contracts.send_plan import SendPlan
from rescind.contracts.states import Rule
from rescind.contracts.types import Receipt
from rescind.core import ConsortiumParameters
from rescind.core.errors import ConfigError
from rescind.core.frozen import Frozen

NAMES = (
    "Members",
    "Rounds",
    "Models",
    "Withdrawals",
    "Replays",
    "Governance",
    "Rewards",
    "Anchors",
)
"""The contracts, in the order in which they are deployed."""

_LONGEST = 10 * 366 * 86_400
"""Longest time, in seconds: the contracts add times to the present one in 40 bits."""
_UINT96 = 2**96

Wei = Annotated[int, Field(ge=0, lt=_UINT96)]
Seconds = Annotated[int, Field(ge=0, le=_LONGEST)]
Phase = Annotated[int, Field(gt=0, le=_LONGEST)]
"""Time that a party gets: none at all would make every party late."""


def _checksummed(address: str) -> str:
    if not is_checksum_address(address):
        raise ValueError(f"{address!r} is not an address in EIP-55 form")
    return address


Address = Annotated[str, AfterValidator(_checksummed)]
"""An Ethereum address, its case a checksum (EIP-55)."""

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""A SHA-256, 64 hexadecimal digits."""


class Deployment(Frozen):
    """Addresses of one consortium's contracts.

    Attributes:
        chain_id: The chain.
        block: Block of the last creation. Every event that matters is in it or later.
        creations: The transaction that created each contract, by name. It may be empty: then the
            transactions are looked for in the blocks before `block`.
    """

    chain_id: Annotated[int, Field(ge=0, lt=2**63)]
    members: Address
    rounds: Address
    models: Address
    withdrawals: Address
    replays: Address
    governance: Address
    rewards: Address
    anchors: Address
    block: Annotated[int, Field(ge=0, lt=2**63)]
    creations: dict[str, Annotated[str, Field(pattern="^0x[0-9a-f]{64}$")]] = Field(
        default_factory=dict
    )

    def addresses(self) -> dict[str, str]:
        """Return the addresses by contract name."""
        return {name: str(getattr(self, name.lower())) for name in NAMES}

    def save(self, path: Path) -> None:
        """Write the contracts file."""
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the deployment in a contracts file.

        Raises:
            ConfigError: The file cannot be read or is not valid. The message names it.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "file"
            raise ConfigError(
                f"{path} is not a valid contracts file: {where}: {first['msg']}"
            ) from error


class DeploySettings(Frozen):
    """The consortium's agreement as the contracts hold it. Amounts in wei, times in seconds.

    Attributes:
        parameters_id: SHA-256 of the agreed parameters.
        base_model_id: SHA-256 of the base model's files.
        rules: How the contributions of each part add up; see `rules_of`.
        chained: Whether a round trains on what all contributed before.
        attested: Whether rounds earn only once auditors attested them. By default where the terms of
            a sum are not opened by its holders one by one: all rules but `Rule.BLOCK`.
        max_rounds: Most rounds. Content is looked up round by round, so there is a limit.
        max_members: Most organizations that may ever join: members are bits in bitmaps.
        aggregator: Its address.
        auditors: Addresses whose attestations count.
        auditor_quorum: How many of them must sign an attestation.
        vote_threshold: Basis points of the active members that votes must exceed.
        proposal_seconds: How long a proposal stands.
        bond_wei: Bond of an organization.
        aggregator_bond_wei: Bond of the aggregator.
        unrevealed_penalty_wei: Taken from a member that commits and does not reveal.
        unavailable_share: Basis points of the aggregator's bond that are lost when most members
            miss the parent model.
        exit_seconds: Time from leaving until a bond can be reclaimed.
        commit_seconds: Time to answer a round.
        reveal_seconds: Time to reveal.
        judge_seconds: Time for the aggregator to judge.
        preparation_seconds: Time to offer what a withdrawal needs.
        attestation_seconds: Time for the auditors of a withdrawal.
        replay_seconds: Time to train one round again.
        replay_price_wei: What a withdrawal pays for each round that is trained again for it.
        reward_per_round_wei: Shared out by score.
        pool_wei: What the founder puts into the reward pool.
    """

    parameters_id: Digest
    base_model_id: Digest
    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=4)]
    chained: bool
    attested: bool
    max_rounds: Annotated[int, Field(ge=1, le=1024)]
    max_members: Annotated[int, Field(ge=1, le=MAX_MEMBERS)]
    aggregator: Address
    auditors: tuple[Address, ...] = ()
    auditor_quorum: Annotated[int, Field(ge=1, lt=2**16)] = 1
    vote_threshold: Annotated[int, Field(ge=0, lt=10_000)] = 5_000
    proposal_seconds: Phase = 7 * 86_400
    bond_wei: Wei = 10**18
    aggregator_bond_wei: Wei = 10 * 10**18
    unrevealed_penalty_wei: Wei = 10**17
    unavailable_share: Annotated[int, Field(ge=0, le=10_000)] = 5_000
    exit_seconds: Seconds = 86_400
    commit_seconds: Phase = 600
    reveal_seconds: Phase = 300
    judge_seconds: Phase = 300
    preparation_seconds: Phase = 3600
    attestation_seconds: Phase = 3600
    replay_seconds: Phase = 600
    replay_price_wei: Wei = 10**16
    reward_per_round_wei: Wei = 10**18
    pool_wei: Wei = 100 * 10**18

    @model_validator(mode="before")
    @classmethod
    def _attest_what_is_summed(cls, values: Any) -> Any:
        if isinstance(values, dict) and "attested" not in values:
            rules = values.get("rules", ())
            summed = isinstance(rules, list | tuple) and set(rules) - {Rule.BLOCK, "block"}
            return {**values, "attested": bool(summed)}
        return values

    @model_validator(mode="after")
    def _penalty_fits(self) -> Self:
        if self.unrevealed_penalty_wei > self.bond_wei:
            raise ValueError(
                f"unrevealed_penalty_wei {self.unrevealed_penalty_wei} is more than bond_wei "
                f"{self.bond_wei}, so a member could not pay it"
            )
        if self.aggregator in self.auditors:
            raise ValueError(
                f"the aggregator {self.aggregator} is also an auditor; it cannot attest itself"
            )
        return self


def rules_of(parameters: ConsortiumParameters) -> tuple[tuple[Rule, ...], bool]:
    """Return the rules of the agreed parts, and whether rounds are chained."""
    rules = tuple(Rule(part.rule) for part in parameters.parts)
    return rules, parameters.layout == "shared"


def agreed_settings(parameters: ConsortiumParameters) -> dict[str, Any]:
    """Return the fields of DeploySettings that follow from the agreed parameters."""
    rules, chained = rules_of(parameters)
    return {
        "parameters_id": parameters.id,
        "base_model_id": parameters.base_model_id,
        "rules": rules,
        "chained": chained,
        "max_rounds": parameters.max_rounds,
        "max_members": parameters.max_members,
    }


def deploy(
    chain: Chain, founder: Account, settings: DeploySettings, path: Path | None = None
) -> Deployment:
    """Deploy the contracts and name the auditors.

    Each contract's constructor gets the addresses of the others, which follow from the founder's
    nonce, so that nothing has to be connected afterwards. The founder's outbox holds the nonce of the
    first: a deployment that was interrupted goes on with the same addresses, and pays for nothing
    twice.

    Args:
        chain: The chain.
        founder: Pays, and admits the first members.
        settings: The consortium's agreement.
        path: Where to write the contracts file. The deployment is over once it is written.

    Raises:
        WrongChain: The chain lacks EIP-2537.
        ContractRefused: The chain does not create a contract, or another transaction of the
            founder came in between.
    """
    chain_id = chain.check()
    check_precompiles(chain)
    plan = SendPlan.of(chain, founder, _plan_name(settings))
    if plan.begun:
        chain.sending.tell(
            f"An earlier run began this deployment with nonce {plan.nonce}. It goes on with the same "
            "addresses."
        )
    else:
        _check_funds(chain, founder, settings)
    addresses = {
        name: created_address(founder.address, plan.nonce + place)
        for place, name in enumerate(NAMES)
    }
    creations: dict[str, str] = {}
    block = 0
    for place, name in enumerate(NAMES):
        arguments, value = _arguments(name, addresses, settings)
        # No contract knows the address of the last, so it may be anywhere.
        nonce = None if name == NAMES[-1] else plan.nonce + place
        receipt = _create(plan, name, arguments, nonce, value=value)
        addresses[name] = receipt.created
        creations[name], block = receipt.tx_hash, max(block, receipt.block)
    _name_auditors(plan, addresses["Members"], settings.auditors)
    fields = {name.lower(): address for name, address in addresses.items()}
    deployment = Deployment(chain_id=chain_id, block=block, creations=creations, **fields)
    if path is not None:
        deployment.save(path)
    plan.close()
    return deployment


def _check_funds(chain: Chain, founder: Account, settings: DeploySettings) -> None:
    held = chain.balance(founder.address)
    if held <= settings.pool_wei:
        raise ContractRefused(
            f"{founder.address} holds {held} wei, but it has to pay pool_wei = {settings.pool_wei} and "
            "the gas. Fund the account or lower pool_wei."
        )


def _plan_name(settings: DeploySettings) -> str:
    """Name a deployment by its settings: the same settings again go on with it."""
    return "deploy " + hashlib.sha256(settings.model_dump_json().encode()).hexdigest()


def _name_auditors(plan: SendPlan, members: str, auditors: tuple[str, ...]) -> None:
    function = load_interface("Members").functions["nameAuditor"]
    for auditor in auditors:
        data = "0x" + function.encode([auditor]).hex()
        _send(plan, f"nameAuditor {auditor}", {"to": members, "data": data, "value": 0})


def _arguments(
    name: str, addresses: dict[str, str], settings: DeploySettings
) -> tuple[list[Any], int]:
    """Return a contract's constructor arguments and the ether that it gets, in wei."""
    agreed = settings
    members, rounds, models = addresses["Members"], addresses["Rounds"], addresses["Models"]
    withdrawals, replays = addresses["Withdrawals"], addresses["Replays"]
    governance, rewards = addresses["Governance"], addresses["Rewards"]
    rules = [rule.number for rule in agreed.rules]
    terms = (
        agreed.bond_wei,
        agreed.aggregator_bond_wei,
        agreed.unrevealed_penalty_wei,
        agreed.exit_seconds,
        agreed.unavailable_share,
        agreed.max_members,
    )
    round_settings = (
        bytes.fromhex(agreed.parameters_id),
        bytes.fromhex(agreed.base_model_id),
        rules,
        agreed.chained,
        agreed.attested,
        agreed.max_rounds,
        agreed.commit_seconds,
        agreed.reveal_seconds,
        agreed.judge_seconds,
    )
    withdrawal_terms = (
        agreed.preparation_seconds,
        agreed.attestation_seconds,
        agreed.auditor_quorum,
    )
    arguments: dict[str, list[Any]] = {
        "Members": [governance, rounds, withdrawals, rewards, agreed.aggregator, terms],
        "Rounds": [members, models, replays, rewards, agreed.auditor_quorum, round_settings],
        "Models": [members, rounds, withdrawals, replays, rules, agreed.chained],
        "Withdrawals": [
            members,
            rounds,
            models,
            replays,
            governance,
            agreed.chained,
            withdrawal_terms,
        ],
        "Replays": [
            members,
            rounds,
            models,
            withdrawals,
            agreed.replay_seconds,
            agreed.replay_price_wei,
        ],
        "Governance": [members, withdrawals, agreed.vote_threshold, agreed.proposal_seconds],
        "Rewards": [members, rounds, agreed.reward_per_round_wei, agreed.exit_seconds],
        "Anchors": [members],
    }
    return arguments[name], agreed.pool_wei if name == "Rewards" else 0


def _create(
    plan: SendPlan, name: str, arguments: list[Any], nonce: int | None, *, value: int = 0
) -> Receipt:
    encoded = load_interface(name).encode_constructor(arguments)
    data = "0x" + load_compiled(name).bytecode + encoded.hex()
    return _send(plan, name, {"data": data, "value": value}, nonce)


def _send(
    plan: SendPlan, step: str, transaction: dict[str, Any], nonce: int | None = None
) -> Receipt:
    try:
        return plan.send(step, transaction, nonce)
    except NodeRefused as error:
        raise ContractRefused(f"The chain refused the contracts: {error}") from error
    except NonceTaken as error:
        plan.close()
        raise ContractRefused(
            f"{error} The contracts of this deployment know each other by addresses that follow from the "
            "nonce, so it cannot go on. Deploy again."
        ) from error
