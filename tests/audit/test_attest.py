import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from rescind.audit import (
    CHECKS,
    NotAttested,
    attest,
    attest_round,
    build_certificate,
    examine,
    read_certificate,
    verify,
)
from rescind.contracts import WithdrawalMethod
from rescind.core import encode, l2_norm, write_private
from rescind.core.canonical_json import canonical_json
from rescind.wire import BadSignature, offer_typed_data, sign_typed
from rescind.withdrawals import (
    Attestation,
    EvidenceDocument,
    Measure,
    ModelFigures,
    ModelPair,
    ModelPart,
    OfferedPart,
    RoundAttestation,
    TermPart,
    round_evidence,
)
from tests.support.chain import Anvil
from tests.support.consortium import ChainConsortium, make_consortium, micro_parameters
from tests.support.falsified import falsified, field, leaves, put
from tests.support.files import PASSWORD, key_options, rescind, save_key


@pytest.fixture
def consortium(anvil: Anvil, tmp_path: Path) -> ChainConsortium:
    """One round of a shared layout whose rounds auditors attest."""
    consortium = make_consortium(
        anvil,
        2,
        micro_parameters(federated=True),
        store=tmp_path / "store",
        attested=True,
    )
    consortium.store.put(consortium.parameters.canonical_bytes())
    consortium.play_round(np.random.default_rng(0))
    return consortium


def test_a_round_is_attested_with_every_contribution_at_hand(
    consortium: ChainConsortium, tmp_path: Path
) -> None:
    reader = consortium.of()
    signed = [
        attest_round(reader, 1, auditor, artifacts=[tmp_path / "store"])[0]
        for auditor in consortium.auditors
    ]
    evidence = round_evidence(reader, 1)
    signatures = [each.check(evidence, reader) for each in signed]
    consortium.of(consortium.aggregator).attest_round(1, evidence, signatures)
    assert reader.round(1).attested
    with pytest.raises(NotAttested, match="was attested before"):
        attest_round(reader, 1, consortium.auditors[0], artifacts=[tmp_path / "store"])


def test_a_round_with_a_withheld_contribution_is_not_attested(
    consortium: ChainConsortium, tmp_path: Path
) -> None:
    withheld = consortium.of().contributions(1)[0].parts.artifact_ids[0]
    (tmp_path / "store" / withheld[:2] / withheld).unlink()
    with pytest.raises(NotAttested, match="if it withholds a contribution, do not attest"):
        attest_round(consortium.of(), 1, consortium.auditors[0], artifacts=[tmp_path / "store"])


def test_a_contribution_that_does_not_open_its_point_is_not_attested(
    consortium: ChainConsortium, tmp_path: Path
) -> None:
    from rescind.contracts import Parts
    from rescind.core import commit, digest

    rng = np.random.default_rng(3)
    first = consortium.organizations[0]
    shown, hidden = (consortium.random_delta(first, rng) for _ in range(2))
    garbage = Parts((consortium.store.put(encode(shown)),), (commit(digest(hidden)),))
    assert consortium.play({first: garbage}) == 2
    with pytest.raises(NotAttested, match="does not open the point"):
        attest_round(consortium.of(), 2, consortium.auditors[0], artifacts=[tmp_path / "store"])


def test_only_an_auditors_attestation_of_the_right_round_counts(
    consortium: ChainConsortium, tmp_path: Path
) -> None:
    reader = consortium.of()
    with pytest.raises(NotAttested, match="is not an auditor"):
        attest_round(reader, 1, consortium.founder, artifacts=[tmp_path / "store"])
    evidence = round_evidence(reader, 1)
    forged = RoundAttestation.sign(reader, 1, evidence, consortium.founder)
    with pytest.raises(BadSignature, match="not an auditor"):
        forged.check(evidence, reader)
    other = RoundAttestation.sign(reader, 1, "ab" * 32, consortium.auditors[0])
    with pytest.raises(BadSignature, match="is for evidence abab"):
        other.check(evidence, reader)


def counter_trained(anvil: Anvil, folder: Path) -> tuple[ChainConsortium, EvidenceDocument]:
    """A counter-training that waits for auditors, and the evidence of it."""
    consortium, rng = make_consortium(anvil, 2, store=folder / "store"), np.random.default_rng(0)
    consortium.play_round(rng)
    organization = consortium.organizations[0]
    client = consortium.of(organization)
    client.request_withdrawal(WithdrawalMethod.COUNTER_TRAINING)
    parts = consortium.register(consortium.random_delta(organization, rng))
    client.offer(1, 0, parts)
    client.ready(1)
    consortium.fold()
    reader = consortium.of()
    model_id = reader.latest_model_id()
    unit = 2.0**consortium.parameters.fraction_bits
    delta = consortium.load(parts.artifact_ids[0])
    report = {"start": "00" * 32, "seed": 1, "method": "npo", "verdict": "ok"}
    signed = offer_typed_data(
        chain_id=reader.deployment.chain_id,
        rounds_address=reader.deployment.rounds,
        offer_id=1,
        round_id=0,
        artifact_id=parts.artifact_ids[0],
        size=10,
        report=canonical_json(report),
    )
    offered = OfferedPart(
        offer_id=1,
        round_id=0,
        organization=organization.address,
        artifact_id=parts.artifact_ids[0],
        point_hash=parts.point_hashes[0],
        size=10,
        report=report,
        signature="0x" + sign_typed(signed, organization.key).hex(),
        norm=l2_norm(delta) / unit,
    )
    entries = reader.content(model_id)
    document = EvidenceDocument(
        chain_id=reader.deployment.chain_id,
        withdrawals=reader.deployment.withdrawals,
        withdrawal_id=1,
        method="counter-training",
        organization=organization.address,
        subject="",
        coupling="isolated",
        amendment=1,
        source_id=1,
        model=ModelPart(
            model_id=model_id,
            commitments=reader.commitments(model_id),
            adapter_id="ab" * 32,
            opening_id="cd" * 32,
        ),
        terms=tuple(
            TermPart(
                round_id=entry.round_id,
                organization=entry.organization,
                artifact_id=each.parts.artifact_ids[0],
                point_hash=entry.point_hash,
                weight=entry.weight,
            )
            for entry, each in zip(entries, reader.registered(entries), strict=True)
        ),
        offered=(offered,),
        change_norm=l2_norm(delta) / unit,
    )
    return consortium, document


SKIPPED = ("contributions", "distances", "guard", "forgetting", "membership", "adapter")
"""Checks of a counter-training that cannot be made without artifacts and texts."""


def test_a_counter_training_is_not_attested_by_its_makers_word(
    anvil: Anvil, tmp_path: Path
) -> None:
    consortium, document = counter_trained(anvil, tmp_path)
    reader, auditor = consortium.of(), consortium.auditors[0]
    assert document.offered[0].report["verdict"] == "ok"
    with pytest.raises(NotAttested, match="6 checks were not measured, so nothing was signed"):
        attest(reader, document, auditor)
    with pytest.raises(
        NotAttested, match=r"guard \(skipped\): the withdrawn texts are not at hand"
    ):
        attest(reader, document, auditor, accept_skipped=("contributions", "distances", "adapter"))
    attestation, findings = attest(reader, document, auditor, accept_skipped=SKIPPED)
    assert len(attestation.check(document, reader)) == 65
    assert tuple(each.name for each in findings if each.status == "skipped") == SKIPPED
    assert tuple(each.check for each in attestation.skipped) == SKIPPED


FORGOTTEN = ModelFigures(
    verdict="ok",
    why="",
    loss_before=0.5,
    loss_after=1.9,
    never_taught=2.0,
    withdrawn=8,
    kept=20,
    unseen=8,
    auc=0.6,
    auc_base=0.5,
    auc_error=0.15,
)


def test_a_counter_training_is_attested_by_what_the_model_shows(
    anvil: Anvil, tmp_path: Path
) -> None:
    consortium, document = counter_trained(anvil, tmp_path)
    consortium.store.put(consortium.parameters.canonical_bytes())
    reader, auditor, seen = consortium.of(), consortium.auditors[0], []

    def figures(**changes: object) -> Measure:
        def measure(pair: ModelPair) -> ModelFigures:
            seen.append(pair)
            return replace(FORGOTTEN, **changes)

        return measure

    def made(measure: Measure) -> Attestation:
        return attest(
            reader,
            document,
            auditor,
            artifacts=[tmp_path / "store"],
            measure=measure,
            accept_skipped=["adapter"],
        )[0]

    signed = made(figures())
    measured = {each.check: each.figures for each in signed.measured}
    assert measured["forgetting"]["forgotten"] == pytest.approx(1.4 / 1.5)
    assert measured["membership"]["limit"] == pytest.approx(0.8)
    [pair] = seen
    delta = consortium.load(document.offered[0].artifact_id)
    name, value = next(iter(delta.items()))
    bare = name.rpartition("/")[2]
    change = [np.asarray(each[bare]) for each in (pair.after, pair.before)]
    assert np.array_equal(change[0] - change[1], value.astype(np.int64) * 10_000)
    for changes, words in (
        ({"verdict": "gibberish", "why": "it repeats itself"}, "finds it gibberish"),
        ({"loss_after": 0.51}, "1% of what it knew is gone, and at least 50% must be"),
        ({"auc": 0.95}, r"AUC 0\.95 on the model, .* at most 0\.8 is accepted"),
        ({"loss_before": 1.99}, r"forgetting \(skipped\): .* the model did not know these texts"),
        ({"auc": None}, r"membership \(skipped\)"),
    ):
        with pytest.raises(NotAttested, match=words):
            made(figures(**changes))


def test_each_field_of_evidence_that_an_enemy_changes_is_noticed(
    anvil: Anvil, tmp_path: Path
) -> None:
    consortium, document = counter_trained(anvil, tmp_path)
    consortium.store.put(consortium.parameters.canonical_bytes())
    stores = [tmp_path / "store"]
    skipped = {
        each.name for each in examine(consortium.of(), document, artifacts=stores) if each.is_open
    }
    assert skipped == {"adapter", "guard", "forgetting", "membership"}
    content = json.loads(document.canonical_bytes())
    unnoticed = []
    for path in leaves(content):
        changed = copy.deepcopy(content)
        put(changed, path, falsified(path, field(content, path), consortium.founder.address))
        try:
            examine(consortium.of(), EvidenceDocument.model_validate(changed), artifacts=stores)
        except (NotAttested, ValidationError):
            continue
        unnoticed.append(path)
    # The files are judged by their bytes, which are not at hand here: so nothing is signed.
    assert unnoticed == [("model", "adapter_id"), ("model", "opening_id")]


def test_evidence_of_another_offer_is_refused(anvil: Anvil, tmp_path: Path) -> None:
    consortium, document = counter_trained(anvil, tmp_path)
    other = document.offered[0].model_copy(update={"point_hash": "ee" * 32})
    with pytest.raises(NotAttested, match="offered contributions"):
        examine(consortium.of(), document.model_copy(update={"offered": (other,)}))


def test_anyone_submits_what_a_quorum_of_auditors_signed(anvil: Anvil, tmp_path: Path) -> None:
    consortium, document = counter_trained(anvil, tmp_path)
    consortium.deployment.save(tmp_path / "contracts.json")
    write_private(tmp_path / "password", f"{PASSWORD}\n".encode())
    (tmp_path / "evidence.json").write_bytes(document.canonical_bytes())
    save_key(tmp_path, "stranger", anvil.funded())
    chain = ["--rpc", anvil.url, "--contracts", tmp_path / "contracts.json"]
    signed = []
    for number, auditor in enumerate(consortium.auditors):
        attestation, _ = attest(consortium.of(), document, auditor, accept_skipped=SKIPPED)
        signed.append(tmp_path / f"{number}.json")
        attestation.save(signed[-1])
    words = [tmp_path / "evidence.json", *key_options(tmp_path, "stranger"), *chain]
    few = rescind("audit", "submit", *words[:1], signed[0], *words[1:])
    assert (few.exit_code, "More auditors must sign" in few.output) == (15, True)
    other = document.model_copy(update={"change_norm": 2.0})
    (tmp_path / "other.json").write_bytes(other.canonical_bytes())
    foreign = rescind("audit", "submit", tmp_path / "other.json", *signed, *words[1:])
    assert foreign.exit_code == 14, foreign.output
    done = rescind("audit", "submit", *words[:1], *signed, *words[1:])
    assert done.exit_code == 0, done.output
    assert consortium.of().withdrawal(1).evidence == document.sha256
    consortium.remove(1)
    path = tmp_path / "certificate.json"
    lists = [word for each in signed for word in ("--attestation", each)]
    words = ["--withdrawal", "1", "--out", path, "--rpc", anvil.url, *chain[2:]]
    assert rescind("certify", *words, *lists).exit_code == 0
    assert len(read_certificate(path).attestations) == 2
    shown = rescind("verify", path, "--rpc", anvil.url, "--contracts", chain[-1])
    assert shown.exit_code == 0, shown.output
    auditor = consortium.auditors[0].address
    line = f"{auditor} measured withdrawal, model, offers; stated figures, change; skipped contributions"
    assert f"skipped   measurements  {line}" in shown.output.replace("\n", "")


def test_a_certificate_with_a_changed_list_of_measurements_is_refused(
    anvil: Anvil, tmp_path: Path
) -> None:
    consortium, document = counter_trained(anvil, tmp_path)
    reader, path = consortium.of(), tmp_path / "certificate.json"
    signed = [
        attest(reader, document, each, accept_skipped=SKIPPED)[0] for each in consortium.auditors
    ]
    signatures = [each.check(document, reader) for each in signed]
    consortium.of(consortium.aggregator).attest_withdrawal(
        1, document.model.model_id, document.sha256, signatures
    )
    consortium.remove(1)
    stranger = Attestation.sign(document, reader.deployment, consortium.founder)
    better = {"measured": signed[0].skipped, "skipped": ()}
    changed = signed[0].model_copy(update=better)
    certificate = build_certificate(reader, 1, attestations=[*signed, stranger, changed])
    assert sorted(signed, key=lambda each: each.auditor.lower()) == [*certificate.attestations]

    def code(*lists: Attestation) -> int:
        certificate.model_copy(update={"attestations": lists}).save(path)
        return verify(path, rpc_url=anvil.url).exit_code

    assert code(*signed) == 0
    assert code(changed, signed[1]) == CHECKS["measurements"] == 70
    assert code(stranger) == 70
    assert code(signed[0].model_copy(update={"evidence": "ee" * 32})) == 70


def test_anyone_submits_the_attestations_of_a_round(
    consortium: ChainConsortium, tmp_path: Path
) -> None:
    consortium.deployment.save(tmp_path / "contracts.json")
    write_private(tmp_path / "password", f"{PASSWORD}\n".encode())
    url = consortium.anvil.url
    chain = ["--rpc", url, "--contracts", tmp_path / "contracts.json"]
    for number, auditor in enumerate(consortium.auditors):
        save_key(tmp_path, f"auditor-{number}", auditor)
        key = key_options(tmp_path, f"auditor-{number}")
        words = ["1", *key, *chain, "--artifacts", tmp_path / "store", "--out", tmp_path]
        assert rescind("audit", "attest-round", *words).exit_code == 0
    signed = sorted(tmp_path.glob("round-1-*.json"))
    key = key_options(tmp_path, "auditor-0")
    done = rescind("audit", "submit-round", *signed, *key, *chain)
    assert done.exit_code == 0, done.output
    assert consortium.of().round(1).attested
    again = rescind("audit", "submit-round", *signed, *key, *chain)
    assert (again.exit_code, "was attested already" in again.output) == (15, True)
