"""An auditor's attestation of a replay means that something was measured."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rescind.audit import NotAttested, attest
from rescind.contracts import Account
from rescind.wire import BadSignature
from rescind.withdrawals import Attestation
from tests.support.attested import LARGEST, OFFERED_ON, ReplayedConsortium, one_number_changed
from tests.support.chain import Anvil
from tests.support.consortium import Tensors


def trained_again(account: Account, number: int, old: Tensors) -> Tensors:
    rng = np.random.default_rng(1000 + number + int(account.address[-4:], 16))
    return {n: rng.integers(-LARGEST, LARGEST, v.shape, dtype=np.int32) for n, v in old.items()}


@pytest.fixture(scope="module")
def honest(
    tmp_path_factory: pytest.TempPathFactory, running_anvil: Anvil
) -> Iterator[ReplayedConsortium]:
    """A replay that waits for auditors; no test changes it."""
    with running_anvil.rewound():
        yield ReplayedConsortium(running_anvil, tmp_path_factory.mktemp("run"), trained_again)


def test_a_replay_is_attested_once_sampled_rounds_were_repeated_before_an_auditor(
    honest: ReplayedConsortium,
) -> None:
    reader, auditor = honest.consortium.of(), honest.consortium.auditors[0]
    reports = honest.repetitions()
    signed, findings = attest(
        reader, honest.evidence, auditor, artifacts=honest.stores, repetitions=reports
    )
    assert len(signed.check(honest.evidence, reader)) == 65
    measured = {each.check: each for each in signed.measured}
    for report in reports:
        assert measured[f"repetition {report.organization}"].figures["round 2"] == 0
    assert [each.check for each in signed.stated] == ["figures", "change"]
    assert not signed.skipped
    shown = next(each.detail for each in findings if each.name == "distances")
    assert "from its start" in shown
    assert "of the one it replaces" in shown


def test_a_changed_list_of_what_was_measured_is_noticed(honest: ReplayedConsortium) -> None:
    reader, auditor = honest.consortium.of(), honest.consortium.auditors[0]
    signed, _ = attest(
        reader, honest.evidence, auditor, artifacts=honest.stores, accept_skipped=["repetition"]
    )
    assert [each.check.split()[0] for each in signed.skipped] == ["repetition"] * 2
    better = signed.model_copy(update={"measured": signed.skipped, "skipped": ()})
    with pytest.raises(BadSignature, match="the file was changed"):
        better.check(honest.evidence, reader)
    assert isinstance(signed, Attestation)


def test_a_replay_that_no_one_repeated_is_not_attested(honest: ReplayedConsortium) -> None:
    reader, auditor = honest.consortium.of(), honest.consortium.auditors[0]
    with pytest.raises(NotAttested, match=r"nothing was signed: repetition 0x.* has not repeated"):
        attest(reader, honest.evidence, auditor, artifacts=honest.stores)
    with pytest.raises(NotAttested, match="--accept-skipped 'repetition'"):
        attest(
            reader,
            honest.evidence,
            auditor,
            artifacts=honest.stores,
            repetitions=honest.repetitions(alone=True),
        )
    with pytest.raises(NotAttested, match="there is no check 'rounds'"):
        attest(reader, honest.evidence, auditor, artifacts=honest.stores, accept_skipped=["rounds"])


def test_old_deltas_with_one_number_changed_are_not_attested(anvil: Anvil, tmp_path: Path) -> None:
    replayed = ReplayedConsortium(anvil, tmp_path, one_number_changed)
    reader, auditor = replayed.consortium.of(), replayed.consortium.auditors[0]
    with pytest.raises(NotAttested, match=r"e-07 of its length .* It is the old delta"):
        attest(
            reader,
            replayed.evidence,
            auditor,
            artifacts=replayed.stores,
            accept_skipped=["repetition"],
        )


def test_a_delta_that_its_training_does_not_give_is_not_attested(
    honest: ReplayedConsortium,
) -> None:
    consortium = honest.consortium
    liar = consortium.organizations[1]
    reports = honest.repetitions(
        trained={liar.address: consortium.random_delta(liar, np.random.default_rng(77))}
    )
    with pytest.raises(NotAttested, match=r"at most 0\.001 is accepted in float32"):
        attest(
            consortium.of(),
            honest.evidence,
            consortium.auditors[0],
            artifacts=honest.stores,
            repetitions=reports,
        )


def test_a_repetition_on_another_stack_may_differ_a_little(honest: ReplayedConsortium) -> None:
    consortium = honest.consortium
    owner = consortium.organizations[1]
    offered = next(e for e in honest.evidence.offered if e.organization == owner.address)
    near = one_number_changed(owner, 2, consortium.load(offered.artifact_id))
    signed, _ = attest(
        consortium.of(),
        honest.evidence,
        consortium.auditors[0],
        artifacts=honest.stores,
        repetitions=honest.repetitions(trained={owner.address: near}),
    )
    part = next(e for e in signed.measured if e.check == f"repetition {owner.address}")
    distance = part.figures["round 2"]
    assert isinstance(distance, float)
    assert 0 < distance < 1e-6


def test_a_repetition_on_the_same_stack_must_give_the_same_bytes(
    honest: ReplayedConsortium,
) -> None:
    consortium = honest.consortium
    owner, reader = consortium.organizations[1], consortium.of()
    offered = next(e for e in honest.evidence.offered if e.organization == owner.address)
    near = {owner.address: one_number_changed(owner, 2, consortium.load(offered.artifact_id))}

    def attested(**report: object) -> Attestation:
        reports = honest.repetitions(**report)
        auditor = consortium.auditors[0]
        return attest(
            reader, honest.evidence, auditor, artifacts=honest.stores, repetitions=reports
        )[0]

    with pytest.raises(NotAttested, match=r"the same stack .* gives the same bytes"):
        attested(trained=near, stack=OFFERED_ON)
    signed = attested(stack=OFFERED_ON)
    part = next(e for e in signed.measured if e.check == f"repetition {owner.address}")
    assert part.figures["limit"] == 0.0
    # Kernels that are not deterministic give other bytes on the same stack, too.
    loose = OFFERED_ON.model_copy(update={"deterministic": False})
    assert attested(trained=near, stack=loose)


def test_reports_of_strangers_and_of_other_rounds_are_refused(honest: ReplayedConsortium) -> None:
    consortium, evidence = honest.consortium, honest.evidence
    reader, auditor = consortium.of(), consortium.auditors[0]

    def refused(report: object, words: str) -> None:
        with pytest.raises(NotAttested, match=words):
            attest(reader, evidence, auditor, artifacts=honest.stores, repetitions=[report])

    report = honest.repetitions()[0]
    owner = honest.account(report.organization)
    refused(honest.repetitions(witness=consortium.founder)[0], "is not an auditor")
    refused(report.model_copy(update={"block_hash": "0x" + "ab" * 32}), "is signed by")
    other = report.model_copy(update={"block_hash": "0x" + "ab" * 32}).signed(owner)
    refused(other.witnessed(auditor), "The sample of block")
    refused(report.model_copy(update={"rounds": ()}).signed(owner), "ask it to repeat these")
    report_of_two = report.model_copy(update={"withdrawal_id": 2}).signed(owner)
    refused(report_of_two, "is for withdrawal 2")
    moved = report.rounds[0].model_copy(update={"start": "ab" * 32})
    refused(report.model_copy(update={"rounds": (moved,)}).signed(owner), "from the start abab")


def test_an_honest_replay_for_a_subject_is_compared_with_what_it_replaced(
    anvil: Anvil, tmp_path: Path
) -> None:
    replayed = ReplayedConsortium(anvil, tmp_path, trained_again, subject=True)
    consortium = replayed.consortium
    signed, _ = attest(
        consortium.of(),
        replayed.evidence,
        consortium.auditors[0],
        artifacts=replayed.stores,
        repetitions=replayed.repetitions(),
    )
    own = consortium.organizations[0].address
    distances = next(each for each in signed.measured if each.check == "distances").figures
    first = distances[f"{own} round 1 from the one it replaces"]
    assert isinstance(first, float)
    assert first > 0.5
    assert len(replayed.evidence.offered) == 4
