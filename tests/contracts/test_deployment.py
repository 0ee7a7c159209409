"""Deployment: what is refused, and how the creation of contracts is checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from rescind.contracts import (
    Account,
    Consortium,
    ContractsMissing,
    Deployment,
    DeploySettings,
    Rule,
    WrongChain,
    deploy,
    deployment,
    load_compiled,
    rules_of,
)
from rescind.core.errors import ConfigError
from tests.contracts.deploy_settings import AGREED, settings
from tests.support.chain import Anvil
from tests.support.consortium import hybrid_parameters, micro_parameters


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_members", 1025),
        ("max_members", 0),
        ("max_rounds", 1025),
        ("rules", ()),
        ("rules", ("block",) * 5),
        ("rules", ("median",)),
        ("unavailable_share", 10_001),
        ("vote_threshold", 10_000),
        ("commit_seconds", 0),
        ("exit_seconds", 2**40),
        ("bond_wei", 2**96),
        ("unrevealed_penalty_wei", 10**19),
        ("parameters_id", "01"),
        ("auditors", (AGREED["aggregator"],)),
        ("auditor_quorum", 0),
    ],
)
def test_settings_that_the_contracts_cannot_hold_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field.split("_", maxsplit=1)[0].rstrip("s")):
        settings(**{field: value})


def test_rounds_with_shared_sums_are_attested_by_default() -> None:
    assert not settings().attested
    assert settings(rules=("block", "latest")).attested
    assert settings(chained=True, rules=("share",)).attested
    assert not settings(chained=True, rules=("share",), attested=False).attested


def test_couplings_have_their_rules() -> None:
    assert rules_of(micro_parameters()) == ((Rule.BLOCK,), False)
    assert rules_of(micro_parameters(federated=True)) == ((Rule.SHARE,), True)
    assert rules_of(hybrid_parameters()) == ((Rule.BLOCK, Rule.LATEST), False)


def test_a_chain_without_the_precompiles_is_refused(
    anvil: Anvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    founder = anvil.funded()
    monkeypatch.setattr("rescind.contracts.precompiles._G1MSM", AGREED["aggregator"])
    with pytest.raises(WrongChain, match="EIP-2537"):
        deploy(anvil.chain, founder, settings())
    assert anvil.chain.nonce(founder.address) == 0, "nothing was deployed"


@pytest.fixture(scope="module")
def founded(running_anvil: Anvil) -> Iterator[tuple[Account, Deployment]]:
    with running_anvil.rewound():
        founder = running_anvil.funded()
        auditors = (running_anvil.funded().address,)
        yield founder, deploy(running_anvil.chain, founder, settings(auditors=auditors))


def test_the_contracts_are_created_as_published(
    anvil: Anvil, founded: tuple[Account, Deployment]
) -> None:
    _, where = founded
    assert set(where.creations) == set(where.addresses())
    Consortium(anvil.chain, where).check()


def test_creations_are_found_without_their_hashes(
    anvil: Anvil, founded: tuple[Account, Deployment]
) -> None:
    _, where = founded
    Consortium(anvil.chain, where.model_copy(update={"creations": {}})).check()
    wrong = dict.fromkeys(where.creations, "0x" + "12" * 32)
    Consortium(anvil.chain, where.model_copy(update={"creations": wrong})).check()


def test_a_contract_of_another_consortium_is_noticed(
    anvil: Anvil, founded: tuple[Account, Deployment]
) -> None:
    founder, where = founded
    other = deploy(anvil.chain, founder, settings())
    mixed = where.model_copy(
        update={"governance": other.governance, "creations": {}, "block": other.block}
    )
    with pytest.raises(ContractsMissing, match=r"Members.*was created with governance_"):
        Consortium(anvil.chain, mixed).check()


@pytest.mark.parametrize(
    ("contract", "place", "named"),
    [
        ("Members", 0, "governance_"),
        ("Rounds", 1, "models_"),
        ("Models", 2, "withdrawals_"),
        ("Withdrawals", 4, "governance_"),
        ("Replays", 3, "withdrawals_"),
        ("Governance", 0, "members_"),
        ("Rewards", 1, "rounds_"),
        ("Anchors", 0, "members_"),
    ],
)
def test_published_code_with_other_constructor_arguments_is_noticed(
    anvil: Anvil, monkeypatch: pytest.MonkeyPatch, contract: str, place: int, named: str
) -> None:
    """Runtime code is compared without its immutables, among them who may call a contract."""
    founder = anvil.funded()
    honest = deployment._arguments

    def changed(
        name: str, addresses: dict[str, str], agreed: DeploySettings
    ) -> tuple[list[object], int]:
        arguments, ether = honest(name, addresses, agreed)
        if name == contract:
            arguments[place] = founder.address
        return arguments, ether

    monkeypatch.setattr(deployment, "_arguments", changed)
    where = deploy(anvil.chain, founder, settings())
    assert load_compiled(contract).is_code(anvil.chain.code(where.addresses()[contract]))
    with pytest.raises(ContractsMissing, match=rf"{contract} at .* was created with {named}"):
        Consortium(anvil.chain, where).check()


def test_a_constructor_that_does_more_is_noticed(
    anvil: Anvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime code is the published one, but other code wrote into storage first."""
    honest = load_compiled("Governance")

    def poisoned(name: str) -> object:
        compiled = load_compiled(name)
        return replace(compiled, bytecode=_with_prelude(compiled.deployed_bytecode)) if (
            name == "Governance"
        ) else compiled  # fmt: skip

    monkeypatch.setattr(deployment, "load_compiled", poisoned)
    where = deploy(anvil.chain, anvil.funded(), settings())
    assert honest.is_code(anvil.chain.code(where.governance))
    with pytest.raises(ContractsMissing, match=r"Governance.*created by other code"):
        Consortium(anvil.chain, where).check()


def _with_prelude(runtime: str) -> str:
    """Creation code that writes a vote into storage and returns published runtime code."""
    length = len(runtime) // 2
    # PUSH1 1, PUSH1 99, SSTORE; then CODECOPY of the runtime to memory, and RETURN of it.
    prelude = "6001606355"
    size = len(prelude) // 2 + 14
    prelude += f"61{length:04x}60{size:02x}600039" + f"61{length:04x}6000f3"
    assert len(prelude) // 2 == size
    return prelude + runtime


def test_extra_bytes_behind_the_arguments_are_noticed(
    anvil: Anvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = type(anvil.chain).send

    def longer(
        chain: object, account: Account, transaction: dict[str, object], **options: object
    ) -> object:
        anchors = "0x" + load_compiled("Anchors").bytecode
        if str(transaction["data"]).startswith(anchors):
            transaction = {**transaction, "data": f"{transaction['data']}{'00' * 32}"}
        return send(chain, account, transaction, **options)

    monkeypatch.setattr(type(anvil.chain), "send", longer)
    where = deploy(anvil.chain, anvil.funded(), settings())
    with pytest.raises(ContractsMissing, match=r"Anchors.*more than its arguments"):
        Consortium(anvil.chain, where).check()


def test_the_contracts_file_is_read_back(
    tmp_path: Path, founded: tuple[Account, Deployment]
) -> None:
    _, where = founded
    path = tmp_path / "contracts.json"
    where.save(path)
    assert Deployment.load(path) == where
    path.write_text('{"chain_id": 1}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"contracts\.json is not a valid contracts file"):
        Deployment.load(path)
