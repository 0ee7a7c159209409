"""The typed client on a real chain."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
    RejectReason,
    RoundState,
    Rule,
    WithdrawalMethod,
    WithdrawalState,
    WrongChain,
    fingerprint_message,
)
from rescind.contracts.compiler import ARTIFACTS, compile_contracts, sources_sha256
from rescind.core import commit_words, digest, point_hash
from rescind.devnet.chain import free_port
from tests.support.chain import Anvil, start_anvil
from tests.support.consortium import (
    PROOF,
    SALT,
    ChainConsortium,
    make_consortium,
    micro_parameters,
)


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
    digest_ = sources_sha256()
    for file in ARTIFACTS.glob("*.json"):
        stored = json.loads(file.read_text())
        assert stored["sources_sha256"] == digest_, f"run: make contracts ({file.stem} changed)"


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
    first = consortium.play_round(rng)
    second = consortium.play_round(rng, only=consortium.organizations[:2])
    public = consortium.of()
    leaver = consortium.organizations[0].address
    assert public.round(first).state is RoundState.FINAL
    assert public.round(second).parent_model == 1
    assert [entry.weight for entry in public.content(1)] == [3_333 if federated else 10_000] * 3
    assert len(public.content(public.latest_model_id())) == 5

    consortium.of(consortium.organizations[0]).request_withdrawal()
    assert public.member(leaver).status is MemberStatus.WITHDRAWING
    assert public.is_stale(2)
    consortium.remove(1)

    latest = public.model(public.latest_model_id())
    assert latest.kind is ModelKind.REMOVAL
    assert public.withdrawal(1).state is WithdrawalState.CLOSED
    assert public.is_clean(latest.id, leaver)
    assert not public.is_clean(latest.source, leaver)
    assert public.models_containing(leaver) == [1, 2]
    content = public.content(latest.id)
    assert [(entry.round_id, entry.weight) for entry in content] == (
        [(1, 5_000), (1, 5_000), (2, 10_000)] if federated else [(1, 10_000)] * 2 + [(2, 10_000)]
    )
    consortium.play_round(rng)
    assert public.is_clean(public.latest_model_id(), leaver)
    before = anvil.chain.balance(leaver)
    client = consortium.of(consortium.organizations[0])
    assert client.claimable_rounds(leaver) == [1, 2]
    client.claim_rewards([1, 2])
    assert client.claimable_rounds(leaver) == []
    client.reclaim_bond()
    assert anvil.chain.balance(leaver) > before
    names = [event.name for event in public.events()]
    assert names.count("UpdateRevealed") == 7
    assert names[-1] == "BondReclaimed"


def test_a_model_opens_to_the_sum_of_its_contributions(consortium: ChainConsortium) -> None:
    consortium.play_round(np.random.default_rng(0))
    public = consortium.of()
    content = public.content(1)
    opening = consortium.opening_of(content)
    (point,) = public.commitment_points(1)
    assert opening.commitment == point == commit_words(opening.words)
    assert public.model(1).commitments == (point_hash(point),)
    assert opening.digest == digest(consortium.sum_of(content))


def test_a_large_sum_is_folded_in_several_transactions(consortium: ChainConsortium) -> None:
    consortium.play_round(np.random.default_rng(0), fold=False)
    public = consortium.of()
    assert public.round(1).state is RoundState.JUDGED
    assert consortium.fold(points=1) > 3
    assert public.round(1).state is RoundState.FINAL
    assert [event.name for event in public.events()].count("Summed") == 3


def test_a_judgement_names_scores_and_reasons(consortium: ChainConsortium) -> None:
    rng = np.random.default_rng(0)
    aggregator = consortium.of(consortium.aggregator)
    names = [account.address for account in consortium.organizations]
    aggregator.open_round()
    assert aggregator.judgement(1) is None
    deltas = [
        consortium.register(consortium.random_delta(a, rng)) for a in consortium.organizations
    ]
    for account, parts in zip(consortium.organizations, deltas, strict=True):
        consortium.of(account).commit(1, parts, SALT)
    aggregator.close_commits(1)
    for account, parts in zip(consortium.organizations, deltas, strict=True):
        consortium.of(account).reveal(1, parts, SALT)
    aggregator.close_reveals(1)
    scores = {names[2]: 9_000, names[0]: 300}
    aggregator.judge(1, scores, {names[1]: RejectReason.OUT_OF_BOUNDS})
    judgement = aggregator.judgement(1)
    assert judgement is not None
    assert judgement.scores == scores
    assert [(r.organization, r.reason) for r in judgement.rejections] == [
        (names[1], RejectReason.OUT_OF_BOUNDS)
    ]
    consortium.fold()
    assert aggregator.score(1, names[0]) == (300, 9_300)
    assert aggregator.answers(1).accepted == (names[0], names[2])
    revealed = aggregator.contributions(1)
    assert [each.parts for each in revealed] == deltas
    assert aggregator.point_of(1, 2) == deltas[2].point_hashes[0]
    assert aggregator.artifact_of(deltas[2].point_hashes[0]) == deltas[2].artifact_ids[0]


def test_a_round_earns_once_auditors_attested_it(anvil: Anvil) -> None:
    consortium = make_consortium(anvil, attested=True)
    consortium.play_round(np.random.default_rng(0))
    client = consortium.of(consortium.organizations[0])
    aggregator = consortium.of(consortium.aggregator)
    assert client.claimable_rounds(consortium.organizations[0].address) == []
    with pytest.raises(ContractRefused, match="NotAttested"):
        client.claim_rewards([1])
    with pytest.raises(ContractRefused, match="NotAttested"):
        aggregator.release(1)
    consortium.attest_round(1)
    assert client.attested_up_to() == 1
    aggregator.release(1)
    client.claim_rewards([1])


def test_everything_is_read_as_of_one_block(consortium: ChainConsortium) -> None:
    rng, public = np.random.default_rng(0), consortium.of()
    consortium.play_round(rng)
    block = public.chain.final_block_number()
    consortium.play_round(rng)
    then = public.at(block)
    assert (then.latest_model_id(), public.latest_model_id()) == (1, 2)
    assert then.current_round_id() == 1
    assert then.contributions(2) == []
    assert max(event.block for event in then.events()) <= block
    assert then.commitment_points(1) == public.commitment_points(1)


@pytest.fixture
def asked(consortium: ChainConsortium, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of all requests to the node."""
    methods: list[str] = []
    transport = consortium.anvil.chain.rpc.transport
    send = transport.send

    def count(method: str, parameters: Any) -> Any:
        methods.append(method)
        return send(method, parameters)

    monkeypatch.setattr(transport, "send", count)
    return methods


def test_a_view_of_a_block_asks_each_question_once(
    consortium: ChainConsortium, asked: list[str]
) -> None:
    public = consortium.of()
    view = public.at(public.chain.final_block_number())
    asked.clear()
    first = (view.members(), list(view.events()), view.aggregators())
    requests = len(asked)
    assert (view.members(), list(view.events()), view.aggregators()) == first
    assert len(asked) == requests
    public.current_round_id()
    public.current_round_id()
    assert len(asked) == requests + 2, "without a block the newest state is asked for"


def test_a_second_look_at_the_same_block_asks_nothing_again(
    consortium: ChainConsortium, asked: list[str]
) -> None:
    public = consortium.of()

    def look() -> tuple[int, int]:
        asked.clear()
        with public.chain.at_one_block():
            return public.current_round_id(), len(public.contributions(1))

    assert look() == (0, 0)
    assert (look(), len(asked)) == ((0, 0), 1)
    consortium.play_round(np.random.default_rng(0))
    seen, requests = look(), len(asked)
    assert (seen[0], requests > 1) == (1, True)
    public.current_round_id()
    assert len(asked) == requests + 1, "outside of one block the newest state is asked for"


def test_a_member_is_admitted_and_expelled_by_vote(consortium: ChainConsortium) -> None:
    newcomer, public = consortium.anvil.funded(), consortium.of()
    with pytest.raises(ContractRefused, match="NotGovernance"):
        consortium.of(consortium.founder).admit(newcomer.address, "late")
    first, second, third = (consortium.of(account) for account in consortium.organizations)
    proposal = first.propose_admission(newcomer.address, "late")
    with pytest.raises(ContractRefused, match="NotEnoughVotes"):
        first.execute(proposal)
    second.vote(proposal)
    assert second.has_voted(proposal, consortium.organizations[1].address)
    assert public.proposals()[0].call.startswith("Members.admit(organization 0x")
    first.execute(proposal)
    assert [member.name for member in public.admitted()] == ["late"]
    consortium.of(newcomer).join("ab" * 32, PROOF)
    assert public.member(newcomer.address).number == 3
    expulsion = third.propose_expulsion(newcomer.address)
    first.vote(expulsion)
    second.vote(expulsion)
    third.execute(expulsion)
    assert public.withdrawal(1).expelled
    assert public.member(newcomer.address).status is MemberStatus.WITHDRAWING
    consortium.of(consortium.aggregator).close_withdrawal(1)
    assert public.member(newcomer.address).status is MemberStatus.WITHDRAWN


def test_an_admission_can_be_taken_back(consortium: ChainConsortium) -> None:
    newcomer, public = consortium.anvil.funded(), consortium.of()
    first, second, _ = (consortium.of(account) for account in consortium.organizations)
    for proposal in (
        first.propose_admission(newcomer.address, "late"),
        first.propose_revocation(newcomer.address),
    ):
        second.vote(proposal)
        first.execute(proposal)
    assert public.admitted() == []
    with pytest.raises(ContractRefused, match="WrongStatus"):
        consortium.of(newcomer).join("ab" * 32, PROOF)


def test_the_aggregator_can_resign_and_be_replaced(consortium: ChainConsortium) -> None:
    old, new = consortium.of(consortium.aggregator), consortium.anvil.funded()
    old.resign_aggregator()
    assert old.aggregator() == ""
    assert not old.aggregator_ready()
    with pytest.raises(ContractRefused, match="NotAggregator"):
        old.open_round()
    first, second, _ = (consortium.of(account) for account in consortium.organizations)
    proposal = first.propose_aggregator(new.address)
    second.vote(proposal)
    first.execute(proposal)
    client = consortium.of(new)
    with pytest.raises(ContractRefused, match="AggregatorBondMissing"):
        client.open_round()
    client.post_aggregator_bond(client.member_terms().aggregator_bond)
    client.open_round()
    with pytest.raises(ContractRefused, match="TooEarly"):
        old.reclaim_aggregator_bond()
    consortium.anvil.pass_time(90_000)
    old.reclaim_aggregator_bond()
    assert old.aggregator_bond(consortium.aggregator.address) == 0


def test_a_certificate_can_be_claimed_by_many_and_proven_by_one(
    consortium: ChainConsortium,
) -> None:
    first, second = consortium.organizations[:2]
    fingerprint = "ab" * 32
    consortium.of(first).set_fingerprint(fingerprint, b"right")
    consortium.of(second).set_fingerprint(fingerprint, b"wrong")
    claims = consortium.of().fingerprint_claims(fingerprint)
    assert {(claim.owner, claim.proof) for claim in claims} == {
        (first.address, b"right"),
        (second.address, b"wrong"),
    }
    consortium.of(second).set_fingerprint("cd" * 32, b"other")
    assert [claim.owner for claim in consortium.of().fingerprint_claims(fingerprint)] == [
        first.address
    ]
    message = fingerprint_message(consortium.deployment, first.address)
    assert message.startswith(b"rescind.fingerprint/1")
    assert len(message) == 21 + 32 + 20 + 20


def test_publishers_state_which_files_are_a_model(consortium: ChainConsortium) -> None:
    consortium.play_round(np.random.default_rng(0))
    consortium.of(consortium.aggregator).publish(1, "aa" * 32, "bb" * 32)
    consortium.of(consortium.organizations[0]).publish(1, "cc" * 32, "dd" * 32)
    first, second = consortium.of().publications(1)
    assert (first.publisher, first.adapter_id) == (consortium.aggregator.address, "aa" * 32)
    assert second.opening_id == "dd" * 32


def test_the_hash_that_auditors_sign_is_the_contracts(consortium: ChainConsortium) -> None:
    consortium.play_round(np.random.default_rng(0))
    public = consortium.of()
    contract = public._read("Withdrawals", "attestationHash", 7, 1, b"\xee" * 32)
    assert public.withdrawal_attestation_hash(7, 1, "ee" * 32) == bytes(contract)


def test_no_one_joins_on_a_chain_that_cannot_add_points(
    consortium: ChainConsortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rescind.contracts.precompiles._G1MSM", consortium.aggregator.address)
    with pytest.raises(WrongChain, match="EIP-2537"):
        consortium.of(consortium.organizations[0]).join("ab" * 32, PROOF)


def test_a_refusal_names_the_contracts_error(consortium: ChainConsortium) -> None:
    with pytest.raises(ContractRefused, match=r"NotAggregator\(caller 0x") as refused:
        consortium.of(consortium.organizations[0]).open_round()
    assert refused.value.reason == "NotAggregator"
    with pytest.raises(ContractRefused, match="WrongStatus"):
        consortium.of(consortium.organizations[0]).join("ab" * 32, PROOF)


def test_a_wrong_or_absent_chain_is_reported(consortium: ChainConsortium) -> None:
    with pytest.raises(WrongChain, match="is chain 31337"):
        Chain(consortium.anvil.url, 5).check()
    with pytest.raises(ChainUnavailable, match="no Ethereum node answers"):
        Chain(f"http://127.0.0.1:{free_port()}", 31337).check()
    other = consortium.deployment.model_copy(update={"chain_id": 5})
    with pytest.raises(WrongChain, match="the contracts file is for chain 5"):
        Consortium(consortium.anvil.chain, other).check()
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


def test_a_person_is_forgotten_by_a_replay_of_its_organization(anvil: Anvil) -> None:
    consortium = make_consortium(anvil, parameters=micro_parameters(federated=True))
    rng = np.random.default_rng(0)
    for _ in range(2):
        consortium.play_round(rng)
    organization = consortium.organizations[0]
    client = consortium.of(organization)
    client.request_subject_withdrawal("5b" * 32, WithdrawalMethod.REPLAY)
    client.offer(1, 1, consortium.register(consortium.random_delta(organization, rng)))
    before = client.member_terms(), client.replay_price()
    client.ready(1)
    assert client.withdrawal(1).state is WithdrawalState.REPLAYING
    assert client.queued_withdrawals() == [1]
    consortium.fold()
    client.start_replay()
    replay = client.current_replay()
    assert replay is not None
    assert (replay.from_round, replay.to_round, client.replay_of(1)) == (2, 2, replay.id)
    for account in consortium.organizations:
        parts = consortium.register(consortium.random_delta(account, rng))
        consortium.of(account).offer_replayed(2, parts)
    client.advance_replay()
    consortium.fold()
    client.finish_replay(1)
    consortium.attest_withdrawal(1)
    client.close_withdrawal(1)
    assert client.withdrawal(1).evidence == "ee" * 32
    assert before[1] == 10**16
    assert client.settings().rules == (Rule.SHARE,)
    # Three members share the price; the wei that does not divide comes back.
    assert client.replay_refund(organization.address) == before[1] % 3
    client.refund_replay()
    with pytest.raises(ContractRefused, match="NothingToClaim"):
        client.refund_replay()
