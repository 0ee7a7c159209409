import json
from pathlib import Path

import pytest

from contracts import (
    Account,
    Chain,
    ChainUnavailable,
    Consortium,
    ContractRefused,
    ContractsMissing,
    Contribution,
    KeystoreError,
    MemberStatus,
    ModelKind,
    Rejection,
    RejectReason,
    RoundState,
    WithdrawalState,
    WrongChain,
)
from contracts.compiler import ARTIFACTS, compile_contracts
from tests.consortium import Anvil, TestConsortium, free_port, make_consortium, start_anvil

SALT = b"\x07" * 32


def artifact(round_id: int, place: int) -> str:
    return f"{round_id:032x}{place + 1:032x}"


def play_round(it: TestConsortium, *, rejected: int = 0) -> int:
    aggregator = it.of(it.aggregator)
    aggregator.open_round()
    round_id = aggregator.current_round_id()
    for place, account in enumerate(it.organizations):
        it.of(account).commit(round_id, artifact(round_id, place), SALT)
    aggregator.close_commits(round_id)
    for place, account in enumerate(it.organizations):
        it.of(account).reveal(round_id, artifact(round_id, place), SALT)
    aggregator.close_reveals(round_id)
    names = [account.address for account in it.organizations]
    kept = len(names) - rejected
    accepted = [
        Contribution(who, artifact(round_id, place), 10_000, 5_000)
        for place, who in enumerate(names[:kept])
    ]
    refused = [Rejection(who, RejectReason.ZERO) for who in names[kept:]]
    aggregator.finalize(round_id, accepted, refused, "aa" * 32, "bb" * 32)
    return round_id


def test_the_committed_artefacts_are_those_of_the_sources() -> None:
    for name, built in compile_contracts().items():
        stored = json.loads((ARTIFACTS / f"{name}.json").read_text())
        assert json.loads(json.dumps(built)) == stored, f"run: make contracts ({name} changed)"


def test_every_contract_fits_on_a_chain() -> None:
    for file in ARTIFACTS.glob("*.json"):
        assert len(json.loads(file.read_text())["deployed_bytecode"]) // 2 < 24_576


def test_a_round_and_a_removal_are_on_record(anvil: Anvil) -> None:
    it = make_consortium(anvil)
    first = play_round(it)
    second = play_round(it, rejected=1)
    public = it.of()
    leaver = it.organizations[0].address
    assert public.round(first).state is RoundState.FINAL
    assert [r.reason for r in public.rejections(second)] == [RejectReason.ZERO]
    assert len(public.content(public.latest_model_id())) == 5
    it.of(it.organizations[0]).request_withdrawal()
    assert public.member(leaver).status is MemberStatus.WITHDRAWING
    it.of(it.aggregator).close_withdrawal(1, "cc" * 32)
    latest = public.model(public.latest_model_id())
    assert (latest.kind, latest.adapter_id) == (ModelKind.REMOVAL, "cc" * 32)
    assert public.withdrawals()[0].state is WithdrawalState.CLOSED
    assert public.is_clean(latest.id, leaver)
    assert not public.is_clean(latest.parent, leaver)
    assert {term.organization for term in public.content(latest.id)}.isdisjoint({leaver})
    before = anvil.chain().web3.eth.get_balance(leaver)  # type: ignore[arg-type]
    it.of(it.organizations[0]).claim()
    it.of(it.organizations[0]).reclaim_bond()
    assert anvil.chain().web3.eth.get_balance(leaver) > before  # type: ignore[arg-type]
    names = [event.name for event in public.events()]
    assert names.count("ContributionAccepted") == 5
    assert names[-1] == "BondReclaimed"


def test_a_refusal_names_the_contracts_reason(anvil: Anvil) -> None:
    it = make_consortium(anvil, 1)
    with pytest.raises(ContractRefused, match=r"NotAggregator\(caller 0x") as refused:
        it.of(it.organizations[0]).open_round()
    assert refused.value.reason == "NotAggregator"
    with pytest.raises(ContractRefused, match="AlreadyAdmitted"):
        it.of(it.governance).admit(it.organizations[0].address, "again", "ff" * 32)


def test_a_chain_that_is_not_the_one_is_said_so(anvil: Anvil) -> None:
    it = make_consortium(anvil, 1)
    with pytest.raises(WrongChain, match="is chain 31337"):
        Chain(anvil.url, 5).check()
    with pytest.raises(ChainUnavailable, match="no Ethereum node answers"):
        Chain(f"http://127.0.0.1:{free_port()}", 31337).check()
    elsewhere = it.deployment.model_copy(update={"rounds": it.aggregator.address})
    with pytest.raises(ContractsMissing, match="Rounds is not at"):
        Consortium(anvil.chain(), elsewhere).check()
    it.of().check()


def test_the_record_outlives_the_chains_process(tmp_path: Path) -> None:
    with start_anvil(tmp_path / "state.json") as anvil:
        it = make_consortium(anvil)
        play_round(it)
        before = list(it.of().events())
    with start_anvil(tmp_path / "state.json") as again:
        public = Consortium(again.chain(), it.deployment)
        public.check()
        after = list(public.events())
        assert after == before
        assert public.gas_of(after[-1].tx_hash) > 0


def test_a_keystore_opens_with_its_password_only(tmp_path: Path) -> None:
    path = tmp_path / "keystore.json"
    made = Account.create(path, "right")
    assert Account.load(path, "right").address == made.address
    with pytest.raises(KeystoreError, match="wrong password"):
        Account.load(path, "wrong")
    with pytest.raises(KeystoreError, match="never overwritten"):
        Account.create(path, "other")
