import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from rescind.audit import DISCLOSURE_CHECKS, anchored_at, check_disclosure
from rescind.contracts import WithdrawalMethod
from rescind.ledger import Manifest, ManifestDisclosure
from tests.support.chain import Anvil
from tests.support.consortium import SALT, ChainConsortium, make_consortium


def manifest_of(*subjects: str) -> Manifest:
    return Manifest.of(((name, name.encode()) for name in subjects), bytes(32))


def play(consortium: ChainConsortium, manifest: Manifest) -> None:
    """Play a round in which the first organization commits to a manifest."""
    first, second = consortium.organizations
    aggregator = consortium.of(consortium.aggregator)
    aggregator.open_round()
    delta = consortium.random_delta(first, np.random.default_rng(0))
    parts = replace(consortium.register(delta), manifest=manifest.commitment.hex())
    consortium.of(first).commit(1, parts, SALT)
    consortium.of(second).sit_out(1)
    aggregator.close_commits(1)
    consortium.of(first).reveal(1, parts, SALT)
    aggregator.close_reveals(1)
    consortium.judge(1)
    consortium.fold()


def check(
    consortium: ChainConsortium, path: Path, manifest: Manifest, withdrawal: int | None = None
) -> int:
    """Return the exit code of a disclosure that Ada is not in a manifest, or is."""
    disclosure = ManifestDisclosure(
        1,
        "Ada Novak",
        None,
        manifest.commitment.hex(),
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
    assert check(consortium, path, later, withdrawal=1) == 0
    assert check(consortium, path, true, withdrawal=1) == DISCLOSURE_CHECKS["manifest"]
