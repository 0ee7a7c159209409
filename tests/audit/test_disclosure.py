import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rescind.audit import DISCLOSURE_CHECKS, anchored_at, check_disclosure
from rescind.contracts import Account, WithdrawalMethod
from rescind.ledger import Ledger, Manifest, ManifestDisclosure, load_key
from tests.support.chain import Anvil
from tests.support.consortium import ChainConsortium, make_consortium, micro_parameters
from tests.support.falsified import falsified, field, leaves, put
from tests.support.files import rescind


def manifest_of(*subjects: str) -> Manifest:
    return Manifest.of(((name, name.encode()) for name in subjects), bytes(32))


def play(consortium: ChainConsortium, manifest: Manifest) -> None:
    """Play a round in which the first organization commits to a manifest."""
    first = consortium.organizations[0]
    delta = consortium.random_delta(first, np.random.default_rng(0))
    consortium.play(
        {first: replace(consortium.register(delta), manifest=manifest.commitment.hex())}
    )


def artifact_of(consortium: ChainConsortium, offer_id: int | None = None, round_id: int = 1) -> str:
    """Return the artifact that the last contribution of a round, or the last offer, is on chain with."""
    client = consortium.of()
    found = client.contributions(round_id) if offer_id is None else client.offers(offer_id)
    return found[-1].parts.artifact_ids[0]


def check(
    consortium: ChainConsortium,
    path: Path,
    manifest: Manifest,
    withdrawal: int | None = None,
    artifact: str | None = None,
) -> int:
    """Return the exit code of a disclosure that Ada is not in a manifest, or is."""
    disclosure = ManifestDisclosure(
        1,
        "Ada Novak",
        None,
        manifest.commitment.hex(),
        artifact or artifact_of(consortium, withdrawal),
        manifest.prove("Ada Novak"),
        anchored_at(consortium.of(), consortium.organizations[0].address),
        withdrawal,
    )
    path.write_text(json.dumps(disclosure.to_json()))
    return check_disclosure(path, consortium.anvil.url).verification.exit_code


def test_a_manifest_offered_later_is_not_that_of_the_round(anvil: Anvil, tmp_path: Path) -> None:
    consortium = make_consortium(anvil, 2, store=tmp_path / "store")
    true, later = manifest_of("Ada Novak", "Bo"), manifest_of("Bo", "Cleo")
    play(consortium, true)
    path = tmp_path / "disclosure.json"
    assert check(consortium, path, true) == 0
    assert check(consortium, path, later) == DISCLOSURE_CHECKS["manifest"]
    first = consortium.organizations[0]
    client = consortium.of(first)
    client.request_subject_withdrawal("5a" * 32, WithdrawalMethod.REPLACEMENT)
    delta = consortium.random_delta(first, np.random.default_rng(1))
    offered = replace(consortium.register(delta), manifest=later.commitment.hex())
    client.offer(1, 1, offered)
    assert check(consortium, path, later) == DISCLOSURE_CHECKS["manifest"]
    assert check(consortium, path, later, withdrawal=1) == DISCLOSURE_CHECKS["manifest"]
    client.ready(1)
    assert check(consortium, path, later) == DISCLOSURE_CHECKS["manifest"]
    assert check(consortium, path, later, withdrawal=1) == 0
    assert check(consortium, path, true, withdrawal=1) == DISCLOSURE_CHECKS["manifest"]
    # The same manifest as of the other artifact is refused too: a disclosure names one event.
    of_the_round = artifact_of(consortium)
    refused = check(consortium, path, later, withdrawal=1, artifact=of_the_round)
    assert refused == DISCLOSURE_CHECKS["manifest"]
    assert check(consortium, path, true, artifact=offered.artifact_ids[0]) == refused


def test_a_manifest_of_a_withdrawal_that_became_a_removal_proves_nothing(
    anvil: Anvil, tmp_path: Path
) -> None:
    consortium = make_consortium(anvil, 2, store=tmp_path / "store")
    true, later = manifest_of("Ada Novak", "Bo"), manifest_of("Bo", "Cleo")
    play(consortium, true)
    first = consortium.organizations[0]
    client = consortium.of(first)
    client.request_subject_withdrawal("5a" * 32, WithdrawalMethod.REPLACEMENT)
    delta = consortium.random_delta(first, np.random.default_rng(1))
    client.offer(1, 1, replace(consortium.register(delta), manifest=later.commitment.hex()))
    client.convert(1)
    consortium.remove(1)
    path = tmp_path / "disclosure.json"
    assert check(consortium, path, later, withdrawal=1) == DISCLOSURE_CHECKS["manifest"]
    shown = check_disclosure(path, anvil.url)
    assert "never took effect" in shown.verification.checks[-1].detail
    assert check(consortium, path, true) == 0
    details = [each.detail for each in check_disclosure(path, anvil.url).verification.checks]
    assert any("no model in use" in detail for detail in details)


def test_a_manifest_of_a_replay_is_that_of_the_replay(anvil: Anvil, tmp_path: Path) -> None:
    parameters = micro_parameters(federated=True)
    consortium = make_consortium(anvil, 3, parameters, store=tmp_path / "store")
    rng, again = np.random.default_rng(2), manifest_of("Bo", "Cleo")
    consortium.play_round(rng)
    consortium.play_round(rng)
    leaver, kept = consortium.organizations[0], consortium.organizations[1:]
    consortium.of(leaver).request_withdrawal(WithdrawalMethod.REPLAY)
    consortium.fold()
    aggregator = consortium.of(consortium.aggregator)
    aggregator.start_replay()
    replay = consortium.of().current_replay()
    assert replay is not None
    for number in range(replay.from_round, replay.to_round + 1):
        for each in kept:
            parts = consortium.register(consortium.random_delta(each, rng))
            parts = replace(parts, manifest=again.commitment.hex())
            consortium.of(each).offer_replayed(number, parts)
        if number == replay.to_round:
            assert shown_of_replay(consortium, tmp_path, again, number, kept[0]) == 65
        aggregator.advance_replay()
    assert shown_of_replay(consortium, tmp_path, again, replay.to_round, kept[0]) == 0
    assert shown_of_replay(consortium, tmp_path, again, replay.to_round, leaver) == 65
    assert shown_of_replay(consortium, tmp_path, again, 9, kept[0]) == 65


def offered_by(consortium: ChainConsortium, number: int, owner: Account) -> str:
    """Return the artifact that an organization offered for a round of the replay, or any."""
    offers = [each.parts.artifact_ids[0] for each in consortium.of().offers() if
        (each.round_id, each.organization) == (number, owner.address)]  # fmt: skip
    return offers[-1] if offers else "00" * 32


def shown_of_replay(
    consortium: ChainConsortium, folder: Path, manifest: Manifest, number: int, owner: Account
) -> int:
    disclosure = ManifestDisclosure(
        number,
        "Ada Novak",
        None,
        manifest.commitment.hex(),
        offered_by(consortium, number, owner),
        manifest.prove("Ada Novak"),
        anchored_at(consortium.of(), owner.address),
        replay=1,
    )
    path = folder / "replay.json"
    path.write_text(json.dumps(disclosure.to_json()))
    return check_disclosure(path, consortium.anvil.url).verification.exit_code


def test_a_disclosure_of_another_consortium_is_refused_when_pinned(
    anvil: Anvil, tmp_path: Path
) -> None:
    consortium = make_consortium(anvil, 2, store=tmp_path / "store")
    play(consortium, manifest_of("Ada Novak", "Bo"))
    path, own, other = (tmp_path / name for name in ("file.json", "own.json", "other.json"))
    consortium.deployment.save(own)
    check(consortium, path, manifest_of("Ada Novak", "Bo"))
    unpinned = check_disclosure(path, anvil.url).verification
    assert (unpinned.exit_code, unpinned.unchecked) == (0, ("pinned",))
    assert unpinned.verdict == "accepted as far as it was checked; not checked: pinned"
    assert check_disclosure(path, anvil.url, own).verification.verdict == "accepted"
    assert unpinned.contracts == consortium.deployment.addresses()
    make_consortium(anvil, 2).deployment.save(other)
    refused = check_disclosure(path, anvil.url, other).verification
    assert refused.exit_code == DISCLOSURE_CHECKS["pinned"]
    alone = check_disclosure(path, None, own).verification
    assert alone.unchecked == ("manifest",)


@pytest.mark.parametrize("name", ["Ada Novak", "Bo"])
def test_each_field_of_a_manifests_proof_that_an_enemy_changes_is_noticed(
    anvil: Anvil, tmp_path: Path, name: str
) -> None:
    consortium = make_consortium(anvil, 2, store=tmp_path / "store")
    manifest = manifest_of("Bo", "Cleo")
    play(consortium, manifest)
    path = tmp_path / "disclosure.json"
    anchored = anchored_at(consortium.of(), consortium.organizations[0].address)
    proof = manifest.prove(name)
    commitment, artifact = manifest.commitment.hex(), artifact_of(consortium)
    whole = ManifestDisclosure(1, name, None, commitment, artifact, proof, anchored)
    path.write_text(json.dumps(whole.to_json()))
    assert check_disclosure(path, anvil.url).verification.exit_code == 0
    content = json.loads(path.read_text())
    unnoticed = []
    for place in leaves(content):
        if place[:3] == ("anchor", "contracts", "creations"):
            continue
        changed = copy.deepcopy(content)
        put(changed, place, falsified(place, field(content, place), consortium.founder.address))
        path.write_text(json.dumps(changed))
        if not check_disclosure(path, anvil.url).verification.exit_code:
            unnoticed.append(place)
    assert unnoticed == []


def test_each_field_of_a_records_proof_that_an_enemy_changes_is_noticed(
    anvil: Anvil, tmp_path: Path
) -> None:
    consortium = make_consortium(anvil, 2, store=tmp_path / "store")
    owner = consortium.organizations[0]
    consortium.deployment.save(tmp_path / "contracts.json")
    ledger = ["--ledger", tmp_path / "ledger", "--key-file", tmp_path / "key"]
    assert rescind("ledger", "init", *ledger).exit_code == 0
    for number in range(3):
        record = ["--type", "reward", "--payload", json.dumps({"round": number})]
        assert rescind("ledger", "append", *record, *ledger).exit_code == 0
    with Ledger.open(str(tmp_path / "ledger"), load_key(tmp_path / "key")) as opened:
        consortium.of(owner).write_anchor(opened.size, opened.root().hex())
    path = tmp_path / "file.json"
    chain = ["--rpc", anvil.url, "--contracts", tmp_path / "contracts.json"]
    words = ["1", "--out", path, *ledger, *chain, "--organization", owner.address]
    done = rescind("ledger", "prove", *words)
    assert done.exit_code == 0, done.output
    assert check_disclosure(path, anvil.url).verification.exit_code == 0
    content = json.loads(path.read_text())
    unnoticed = []
    for place in leaves(content):
        if place[:3] == ("anchor", "contracts", "creations"):
            continue
        changed = copy.deepcopy(content)
        put(changed, place, falsified(place, field(content, place), consortium.founder.address))
        path.write_text(json.dumps(changed))
        if not check_disclosure(path, anvil.url).verification.exit_code:
            unnoticed.append(place)
    assert unnoticed == []
