"""Models after a withdrawal, computed beforehand, against the contract's result."""

import numpy as np
import pytest
from eth_account import Account as EthAccount

from rescind.contracts import Account, DeltaId, ModelKind
from rescind.core import adapter_totals
from rescind.withdrawals import (
    Attestation,
    EvidenceDocument,
    SourcePart,
    amended_model,
    concerned_models,
    replay_start,
)
from tests.support.chain import Anvil
from tests.support.consortium import ChainConsortium, make_consortium, micro_parameters

EVIDENCE = "ed" * 32


def finish(consortium: ChainConsortium, number: int) -> int:
    """Carry a withdrawal out as expected; how many models were replaced."""
    boss = consortium.of(consortium.aggregator)
    withdrawal = boss.withdrawals()[number - 1]
    count = 0
    while concerned := concerned_models(boss, withdrawal):
        expected = amended_model(boss, withdrawal, concerned[0])
        assert not expected.missing
        adapter = consortium.register(adapter_totals(expected.terms, consortium.load))
        signed: list[bytes] = []
        if withdrawal.method in (ModelKind.REPLAY, ModelKind.COUNTER_TRAINING):
            attested = boss.attestation_hash(number, concerned[0], adapter, EVIDENCE)
            keys = [auditor.key for auditor in consortium.auditors]
            signed = [bytes(EthAccount.unsafe_sign_hash(attested, k).signature) for k in keys]
        boss.carry_out(number, concerned[0], adapter, EVIDENCE if signed else "", signed)
        consortium.prove()
        assert boss.content(boss.model_count()) == list(expected.terms)
        count += 1
    boss.close_withdrawal(number)
    return count


def offer(consortium: ChainConsortium, who: Account, number: int, *rounds: int) -> None:
    rng = np.random.default_rng([number, *rounds])
    for round_id in rounds:
        consortium.of(who).offer(
            number, round_id, consortium.register(consortium.random_delta(who, rng))
        )


@pytest.mark.parametrize("federated", [False, True], ids=["blocks", "shared"])
def test_amended_models_match_the_contract_for_every_method(anvil: Anvil, federated: bool) -> None:
    rng = np.random.default_rng(0)
    consortium = make_consortium(anvil, 4, micro_parameters(federated=federated))
    first, second, third, last = consortium.organizations
    boss = consortium.of(consortium.aggregator)
    consortium.play_round(rng)
    boss.release(1)
    consortium.play_round(rng, only=[first, second, last])
    consortium.play_round(rng)

    consortium.of(first).request_subject_withdrawal("01" * 32, ModelKind.REPLACEMENT)
    offer(consortium, first, 1, 1, 3)
    consortium.of(first).ready(1)
    assert finish(consortium, 1) == 2

    for number, who in ((2, second), (3, last)):
        consortium.of(who).request_subject_withdrawal(f"{number:064x}", ModelKind.COUNTER_TRAINING)
        offer(consortium, who, number, 0)
        consortium.of(who).ready(number)
    assert finish(consortium, 3) == 2
    assert finish(consortium, 2) == 2, "the one that was offered first is carried out last"

    consortium.of(third).request_withdrawal(ModelKind.REPLAY)
    replay = boss.withdrawals()[3]
    head = boss.latest_model_id()
    before = amended_model(boss, replay, head)
    missing = {(t.round_id, t.organization) for t in before.missing}
    everyone = {(n, who.address) for n in (2, 3) for who in (first, second, last)}
    assert missing == (everyone if federated else set())
    parent = boss.content(boss.round(2).parent_model)
    start = replay_start(before, parent, 2)
    assert start is not None
    assert {t.round_id for t in start} == {1}
    assert third.address not in {t.organization for t in start}
    assert (replay_start(before, parent, 3) is None) == federated
    if federated:
        for who in (first, second, last):
            offer(consortium, who, 4, 2, 3)
    assert finish(consortium, 4) == 2

    consortium.of(second).request_subject_withdrawal("05" * 32, ModelKind.REPLAY)
    offer(consortium, second, 5, 2)
    consortium.of(second).ready(5)
    again = amended_model(boss, boss.withdrawals()[4], boss.latest_model_id())
    wanted = {first, second, last} if federated else {second}
    assert {t.organization for t in again.missing} == {who.address for who in wanted}
    for who in wanted:
        offer(consortium, who, 5, 3)
    assert finish(consortium, 5) == 1

    consortium.of(first).request_withdrawal()
    assert finish(consortium, 6) == 2
    assert {t.organization for t in boss.content(boss.latest_model_id())} == {
        second.address,
        last.address,
    }


def test_an_attestation_signs_what_the_contract_checks(anvil: Anvil) -> None:
    consortium = make_consortium(anvil, 1)
    who, record = consortium.organizations[0], consortium.of()
    consortium.play_round(np.random.default_rng(0))
    consortium.of(who).request_withdrawal(ModelKind.COUNTER_TRAINING)
    document = EvidenceDocument(
        chain_id=record.deployment.chain_id,
        withdrawals=record.deployment.withdrawals,
        withdrawal_id=1,
        method="counter-training",
        organization=who.address,
        subject="",
        coupling="isolated",
        source=SourcePart(model_id=1, adapter_id="0a" * 32, digest_root="0b" * 32),
        adapter_id="0c" * 32,
        digest_root="0d" * 32,
        terms=(),
        offered=(),
        change_norm=0.5,
    )
    attestation = Attestation.sign(document, consortium.auditors[0])
    signature = attestation.check(document, record)
    message = record.attestation_hash(
        1, 1, DeltaId(document.adapter_id, document.digest_root), document.sha256
    )
    signer = EthAccount._recover_hash(message, signature=signature)
    assert signer == consortium.auditors[0].address
    assert EvidenceDocument.parse(document.canonical_bytes()) == document
