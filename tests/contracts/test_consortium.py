import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rescind.audit import membership
from rescind.contracts import (
    Account,
    Chain,
    ChainUnavailable,
    Consortium,
    ContractRefused,
    ContractsMissing,
    KeystoreError,
    MemberStatus,
    ModelKind,
    RoundState,
    WithdrawalState,
    WrongChain,
)
from rescind.contracts.compiler import ARTIFACTS, compile_contracts, sources_sha256
from rescind.core import adapter_totals, artifact_id, encode
from rescind.devnet.chain import free_port
from tests.support.chain import Anvil, start_anvil
from tests.support.consortium import ChainConsortium, make_consortium, micro_parameters


@pytest.fixture(scope="module")
def deployed(running_anvil: Anvil) -> Iterator[ChainConsortium]:
    with running_anvil.rewound():
        yield make_consortium(running_anvil)


@pytest.fixture
def consortium(deployed: ChainConsortium, anvil: Anvil) -> ChainConsortium:
    """A consortium of three, wound back after the test."""
    assert anvil is deployed.anvil
    return deployed


def test_the_artifacts_record_the_sources_that_are_there() -> None:
    digest = sources_sha256()
    for file in ARTIFACTS.glob("*.json"):
        stored = json.loads(file.read_text())
        assert stored["sources_sha256"] == digest, f"run: make contracts ({file.stem} changed)"


@pytest.mark.slow
def test_the_compiled_contracts_match_their_sources() -> None:
    for name, built in compile_contracts().items():
        stored = json.loads((ARTIFACTS / f"{name}.json").read_text())
        assert json.loads(json.dumps(built)) == stored, f"run: make contracts ({name} changed)"


def test_every_contract_is_below_the_code_size_limit() -> None:
    for file in ARTIFACTS.glob("*.json"):
        assert len(json.loads(file.read_text())["deployed_bytecode"]) // 2 < 24_576


@pytest.mark.parametrize("federated", [False, True], ids=["blocks", "shared"])
def test_rounds_and_a_removal_are_on_chain(anvil: Anvil, federated: bool) -> None:
    consortium = make_consortium(
        anvil, parameters=micro_parameters(federated=federated), exit_seconds=0
    )
    rng = np.random.default_rng(0)
    first, second = (
        consortium.play_round(rng),
        consortium.play_round(rng, only=consortium.organizations[:2]),
    )
    public = consortium.of()
    leaver = consortium.organizations[0].address
    assert public.round(first).state is RoundState.FINAL
    assert [t.weight for t in public.content(1)] == (
        [3334, 3333, 3333] if federated else [10_000] * 3
    )
    assert len(public.content(public.latest_model_id())) == 5
    consortium.of(consortium.organizations[0]).request_withdrawal()
    assert public.member(leaver).status is MemberStatus.WITHDRAWING
    consortium.remove(1)
    latest = public.model(public.latest_model_id())
    assert latest.kind is ModelKind.REMOVAL
    assert public.withdrawals()[0].state is WithdrawalState.CLOSED
    assert public.is_clean(latest.id, leaver)
    assert not public.is_clean(latest.parent, leaver)
    assert public.models_containing(leaver) == [1, 2]
    content = public.content(latest.id)
    assert [(t.round_id, t.weight) for t in content] == (
        [(1, 5000), (1, 5000), (2, 10_000)] if federated else [(1, 10_000)] * 2 + [(2, 10_000)]
    )
    assert artifact_id(encode(adapter_totals(content, consortium.load))) == latest.adapter_id
    assert consortium.digest_of(latest.adapter_id).root == latest.digest_root
    consortium.play_round(rng)
    assert public.is_clean(public.latest_model_id(), leaver)
    before = anvil.chain.web3.eth.get_balance(leaver)  # type: ignore[arg-type]
    consortium.of(consortium.organizations[0]).claim_reward()
    consortium.of(consortium.organizations[0]).reclaim_bond()
    assert anvil.chain.web3.eth.get_balance(leaver) > before  # type: ignore[arg-type]
    names = [event.name for event in public.events()]
    assert names.count("ContributionAccepted") == 7
    assert names[-1] == "BondReclaimed"
    assert second == 2


def test_a_large_sum_is_proven_in_several_transactions(consortium: ChainConsortium) -> None:
    consortium.play_round(np.random.default_rng(0), prove=False)
    public = consortium.of()
    assert public.round(1).state is RoundState.AGGREGATED
    consortium.prove(per_transaction=1)
    assert public.round(1).state is RoundState.FINAL
    assert [e.name for e in public.events()].count("SumCarried") == 2


def test_a_member_is_admitted_and_expelled_by_vote(consortium: ChainConsortium) -> None:
    newcomer, public = consortium.anvil.funded(), consortium.of()
    with pytest.raises(ContractRefused, match="NotGovernance"):
        consortium.of(consortium.founder).admit(newcomer.address, "late", "ee" * 32)
    first, second, third = (consortium.of(account) for account in consortium.organizations)
    proposal = first.propose_admission(newcomer.address, "late", "ee" * 32)
    with pytest.raises(ContractRefused, match="NotEnoughVotes"):
        first.execute(proposal)
    second.vote(proposal)
    assert public.proposals()[0].call.startswith("Members.admit(organization 0x")
    first.execute(proposal)
    assert public.member(newcomer.address).status is MemberStatus.ADMITTED
    consortium.of(newcomer).join()
    expulsion = third.propose_expulsion(newcomer.address)
    first.vote(expulsion)
    second.vote(expulsion)
    third.execute(expulsion)
    assert public.withdrawals()[0].expelled
    assert public.member(newcomer.address).status is MemberStatus.WITHDRAWING
    consortium.of(consortium.aggregator).close_withdrawal(1)
    assert public.member(newcomer.address).status is MemberStatus.WITHDRAWN


def test_a_refusal_names_the_contracts_error(consortium: ChainConsortium) -> None:
    with pytest.raises(ContractRefused, match=r"NotAggregator\(caller 0x") as refused:
        consortium.of(consortium.organizations[0]).open_round()
    assert refused.value.reason == "NotAggregator"
    with pytest.raises(ContractRefused, match="WrongStatus"):
        consortium.of(consortium.organizations[0]).join()


def test_a_wrong_or_absent_chain_is_reported(consortium: ChainConsortium) -> None:
    with pytest.raises(WrongChain, match="is chain 31337"):
        Chain(consortium.anvil.url, 5).check()
    with pytest.raises(ChainUnavailable, match="no Ethereum node answers"):
        Chain(f"http://127.0.0.1:{free_port()}", 31337).check()
    elsewhere = consortium.deployment.model_copy(update={"rounds": consortium.aggregator.address})
    with pytest.raises(ContractsMissing, match="Rounds is not at"):
        Consortium(consortium.anvil.chain, elsewhere).check()
    consortium.of().check()


def test_the_chain_state_survives_a_restart(tmp_path: Path) -> None:
    with start_anvil(tmp_path / "state.json") as anvil:
        consortium = make_consortium(anvil)
        consortium.play_round(np.random.default_rng(0))
        before = list(consortium.of().events())
    with start_anvil(tmp_path / "state.json") as again:
        public = Consortium(again.chain, consortium.deployment)
        public.check()
        after = list(public.events())
        assert after == before
        assert public.gas_of(after[-1].tx_hash) > 0


def test_a_keystore_opens_only_with_its_password(tmp_path: Path) -> None:
    path = tmp_path / "keystore.json"
    account = Account.create(path, "right")
    assert Account.load(path, "right").address == account.address
    with pytest.raises(KeystoreError, match="wrong password"):
        Account.load(path, "wrong")
    with pytest.raises(KeystoreError, match="never overwritten"):
        Account.create(path, "other")


def test_the_stated_privacy_budget_never_decreases(consortium: ChainConsortium) -> None:
    organization = consortium.organizations[0]
    client = consortium.of(organization)
    assert client.privacy_spent(organization.address) is None

    client.state_privacy(1.2345678, 1e-5)
    stated = client.privacy_spent(organization.address)
    assert stated is not None
    assert stated.epsilon == pytest.approx(1.234568)
    assert stated.epsilon >= 1.2345678
    assert stated.delta == pytest.approx(1e-5)
    with pytest.raises(ContractRefused, match="BudgetShrunk"):
        client.state_privacy(1.0, 1e-5)
    client.state_privacy(math.inf, 1e-5)
    again = client.privacy_spent(organization.address)
    assert again is not None
    assert math.isinf(again.epsilon)
    row = membership(client).members[0]
    assert (row.epsilon, row.delta) == ("unbounded", pytest.approx(1e-5))
