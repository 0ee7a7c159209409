import shutil
from pathlib import Path

import numpy as np
import pytest

from rescind.audit import CHECKS, Inputs, Verification, build_certificate
from rescind.contracts import WithdrawalMethod
from rescind.core import ArtifactStore, artifact_id, encode
from rescind.core.errors import VerificationError
from tests.support.certified import Story, begin, remove_first
from tests.support.chain import Anvil
from tests.support.consortium import make_consortium, micro_parameters


def statuses(verification: Verification) -> dict[str, str]:
    return {check.name: check.status for check in verification.checks}


def test_a_genuine_certificate_passes_every_check(story: Story) -> None:
    verification = story.check()
    results = statuses(verification)
    assert list(results) == list(CHECKS)
    inapplicable = {name for name, status in results.items() if status == "none"}
    assert inapplicable == {"attested", "measurements", "rounds", "heads", "replay"}
    assert results.pop("evaluation") == "stated", "its figures are the word of the file's maker"
    assert {results[name] for name in set(results) - inapplicable} == {"passed"}, verification
    assert verification.exit_code == 0
    assert verification.verdict == "accepted"
    assert [each.standing for each in verification.owners] == ["opened by the holder"] * 2


def test_a_certificate_names_the_contracts_that_it_rests_on(story: Story) -> None:
    assert story.check().contracts == story.consortium.deployment.addresses()


def test_without_artifacts_the_verdict_says_what_was_not_checked(story: Story) -> None:
    verification = story.check(Inputs())
    assert verification.exit_code == 0
    skipped = {name for name, status in statuses(verification).items() if status == "skipped"}
    assert skipped == {"pinned", "artifacts", "contributions", "arithmetic", "adapter"}
    assert verification.verdict.startswith("accepted as far as it was checked; not checked: pinned")
    assert {each.standing for each in verification.owners} == {"not checked"}


@pytest.fixture
def erased(story: Story, tmp_path: Path) -> Story:
    """Return the story with a store from which daemons erased what the withdrawal took out."""
    shutil.copytree(story.folder, tmp_path / "erased")
    consortium, store = story.consortium, ArtifactStore(tmp_path / "erased" / "store")
    leaver, reader = consortium.organizations[0].address, consortium.of()
    for round_id in (1, 2):
        for each in reader.contributions(round_id):
            if each.organization == leaver:
                store.delete(each.parts.artifact_ids[0])
    for stated in reader.publications(2):
        store.delete(stated.adapter_id)
        store.delete(stated.opening_id)
    return Story(consortium, tmp_path / "erased")


def test_a_certificate_is_made_and_accepted_after_the_erasure(erased: Story) -> None:
    erased.certify()
    verification = erased.check()
    assert verification.exit_code == 0
    results = {check.name: check for check in verification.checks}
    for name in ("models", "removed", "clean", "commitments", "adapter"):
        assert results[name].status == "passed", "the model before is taken from the chain"
    assert [each.standing for each in verification.owners] == ["opened by the holder"] * 2
    leaver = erased.consortium.of().member(erased.consortium.organizations[0].address).name
    assert results["contributions"].left_out == (f"the withdrawn contributions (2 {leaver})",)
    assert verification.verdict == (
        "accepted as far as it was checked; not checked: "
        f"the withdrawn contributions (2 {leaver}), "
        "the sum of model 2, the model before, which was taken from the chain"
    )


def test_a_contribution_that_should_be_there_is_not_taken_for_an_erased_one(
    erased: Story,
) -> None:
    reader = erased.consortium.of()
    kept = reader.registered(reader.content(reader.latest_model_id()))[0]
    ArtifactStore(erased.store).delete(kept.parts.artifact_ids[0])
    results = statuses(erased.check())
    assert results["contributions"] == results["arithmetic"] == "skipped"


def test_a_changed_remainder_is_found_without_the_erased_files(erased: Story) -> None:
    reader = erased.consortium.of()
    kept = reader.registered(reader.content(reader.latest_model_id()))[0]
    wanted = kept.parts.artifact_ids[0]
    path = erased.store / wanted[:2] / wanted
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    assert "artifacts" in erased.failed()


def test_a_served_file_is_opened_without_any_contribution(story: Story, tmp_path: Path) -> None:
    publication = story.consortium.of().publications(3)[-1]
    store = story.consortium.store
    for name, wanted in (
        ("adapter", publication.adapter_id),
        ("opening", publication.opening_id),
        ("parameters", story.consortium.parameters.id),
    ):
        (tmp_path / name).write_bytes(store.get(wanted))
    files = {name: tmp_path / name for name in ("adapter", "opening", "parameters")}
    assert statuses(story.check(Inputs(**files)))["adapter"] == "passed"
    tensors = dict(story.consortium.load(publication.adapter_id))
    name, value = next(iter(tensors.items()))
    changed = value.copy()
    changed.flat[0] += 1
    (tmp_path / "adapter").write_bytes(encode({**tensors, name: changed}))
    verification = story.check(Inputs(**files))
    assert verification.exit_code == CHECKS["adapter"]
    details = {check.name: check.detail for check in verification.checks}
    assert name.split("/")[0] in details["adapter"]


def test_a_file_with_a_removed_owners_block_is_refused(story: Story, tmp_path: Path) -> None:
    consortium = story.consortium
    publication = consortium.of().publications(3)[-1]
    leaver = consortium.organizations[0].address
    victim = consortium.of().contributions(1)[0]
    assert victim.organization == leaver
    block = {
        name: value.astype(np.int64)
        for name, value in consortium.load(victim.parts.artifact_ids[0]).items()
    }
    served = encode({**consortium.load(publication.adapter_id), **block})
    (tmp_path / "adapter").write_bytes(served)
    inputs = Inputs(artifacts=[story.store], adapter=tmp_path / "adapter")
    assert story.check(inputs).exit_code == CHECKS["adapter"]


def test_a_changed_byte_of_what_is_on_chain_is_detected(story: Story) -> None:
    story.certify(evaluated=False)
    original = story.path.read_bytes()
    # Creating transactions are a hint: where one is wrong, they are looked for.
    start = original.index(b'"creations"')
    hints = range(start, original.index(b"}", start))
    for place in range(0, len(original), max(1, len(original) // 12)):
        if place in hints:
            continue
        changed = bytes([original[place] ^ 1])
        story.path.write_bytes(original[:place] + changed + original[place + 1 :])
        assert story.check().exit_code, f"byte {place} was changed unnoticed"
    story.path.write_bytes(original)


def test_a_changed_artifact_is_detected(story: Story) -> None:
    path = min(story.store.glob("??/*"))
    original = path.read_bytes()
    path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    assert "artifacts" in story.failed()
    path.write_bytes(original)
    (story.folder / "evaluation.json").write_text("{ }")
    assert story.failed() == {"evaluation"}


def test_a_certificate_of_another_consortium_is_refused_when_pinned(
    story: Story, tmp_path: Path
) -> None:
    deployment = story.consortium.deployment
    other = deployment.model_copy(update={"governance": deployment.members})
    other.save(tmp_path / "contracts.json")
    assert story.check(Inputs(tmp_path / "contracts.json")).exit_code == CHECKS["pinned"]


def test_an_open_withdrawal_has_no_certificate(story: Story) -> None:
    consortium = story.consortium
    consortium.of(consortium.organizations[2]).request_withdrawal()
    with pytest.raises(VerificationError, match="effective, not closed"):
        build_certificate(consortium.of(), 2)
    with pytest.raises(VerificationError, match="no withdrawal 9"):
        build_certificate(consortium.of(), 9)


def test_a_shared_model_without_attestation_is_not_checked_unless_opened(
    anvil: Anvil, tmp_path: Path
) -> None:
    parameters = micro_parameters(federated=True)
    consortium = make_consortium(anvil, parameters=parameters, store=tmp_path / "store")
    story = begin(consortium, tmp_path)
    remove_first(story)
    story.certify()
    assert story.check().exit_code == 0
    unopened = story.check(Inputs())
    assert [(each.owner, each.standing) for each in unopened.owners] == [("shared", "not checked")]
    assert "the parameters of shared" in unopened.verdict


def test_a_shared_model_of_attested_rounds_is_attested(anvil: Anvil, tmp_path: Path) -> None:
    parameters = micro_parameters(federated=True)
    consortium = make_consortium(
        anvil, parameters=parameters, store=tmp_path / "store", attested=True
    )
    story = begin(consortium, tmp_path)
    consortium.attest_round(1)
    remove_first(story)
    story.certify()
    assert statuses(story.check(Inputs()))["rounds"] == "skipped"
    consortium.attest_round(2)
    verification = story.check(Inputs())
    assert statuses(verification)["rounds"] == "passed"
    assert [each.standing for each in verification.owners] == ["attested"]


def test_a_replacement_and_a_counter_training_are_certified(anvil: Anvil, tmp_path: Path) -> None:
    consortium = make_consortium(anvil, store=tmp_path / "store")
    story, rng = begin(consortium, tmp_path), np.random.default_rng(1)
    first, second = consortium.organizations[:2]
    client = consortium.of(first)
    client.request_subject_withdrawal("5a" * 32, WithdrawalMethod.REPLACEMENT)
    client.offer(1, 1, consortium.register(consortium.random_delta(first, rng)))
    client.ready(1)
    consortium.remove(1)
    story.certify()
    assert story.check(Inputs()).exit_code == 0, story.check(Inputs())
    client = consortium.of(second)
    client.request_withdrawal(WithdrawalMethod.COUNTER_TRAINING)
    client.offer(2, 0, consortium.register(consortium.random_delta(second, rng)))
    client.ready(2)
    consortium.fold()
    consortium.attest_withdrawal(2)
    consortium.remove(2)
    story.certify(2)
    verification = story.check(Inputs())
    assert verification.exit_code == 0, verification
    assert statuses(verification)["attested"] == "passed"
    assert statuses(verification)["measurements"] == "skipped", "no auditor's list is in the file"
    assert "measurements" in verification.verdict


def test_a_strangers_publication_does_not_hide_the_aggregators(story: Story) -> None:
    consortium = story.consortium
    own = consortium.of().publications(3)[-1]
    stranger = consortium.anvil.funded()
    other = artifact_id(b"other")
    consortium.of(stranger).publish(3, other, other)
    story.certify()
    assert own.adapter_id in story.path.read_text()
    assert other not in story.path.read_text()


def test_a_replaced_aggregators_publication_stays_the_aggregators(
    anvil: Anvil, tmp_path: Path
) -> None:
    consortium = make_consortium(anvil, store=tmp_path / "store")
    story = begin(consortium, tmp_path)
    remove_first(story)
    second, third = consortium.organizations[1:]
    number = consortium.of(second).propose_aggregator(anvil.funded().address)
    consortium.of(third).vote(number)
    consortium.of(third).execute(number)
    story.certify()
    adapter_id = consortium.of().publications(3)[-1].adapter_id
    assert adapter_id in story.path.read_text()
    details = {check.name: check.detail for check in story.check().checks}
    assert f"by the word of {consortium.aggregator.address}, the aggregator" in details["models"]


def test_a_strangers_files_in_a_certificate_are_called_a_strangers(story: Story) -> None:
    consortium = story.consortium
    stranger = consortium.anvil.funded()
    consortium.of(stranger).publish(3, "aa" * 32, "bb" * 32)
    certificate = build_certificate(consortium.of(), 1)
    assert certificate.latest.publication is not None
    stated = certificate.latest.publication.model_copy(
        update={
            "publisher": stranger.address,
            "adapter_id": "aa" * 32,
            "opening_id": "bb" * 32,
        }
    )
    latest = certificate.latest.model_copy(update={"publication": stated})
    replaced = tuple(
        pair.model_copy(update={"after": latest})
        if pair.after.model_id == latest.model_id
        else pair
        for pair in certificate.replaced
    )
    update = {"latest": latest, "replaced": replaced}
    certificate.model_copy(update=update).save(story.path)
    verification = story.check(Inputs())
    details = {check.name: check.detail for check in verification.checks}
    assert f"by the word of {stranger.address}, NOT an aggregator" in details["models"]
