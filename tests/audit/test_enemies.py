"""Certificates, files and RPC endpoints that an enemy changed."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rescind.audit import CHECKS, EvaluationPart, Inputs, ReplayPart, build_certificate, verify
from rescind.contracts import Account, ChainUnavailable, ContractRefused, Parts
from rescind.core import commit, digest, encode
from tests.support.certified import EMPTY_OBJECT, Story, begin, remove_first
from tests.support.chain import Anvil
from tests.support.consortium import (
    SALT,
    ChainConsortium,
    Tensors,
    make_consortium,
    micro_parameters,
)
from tests.support.falsified import falsified, field, leaves, put
from tests.support.lying_rpc import lying_rpc

HINTS = {("consortium", "deployment", "creations")}
"""Where one of these is wrong, the transaction is looked for in the blocks."""
STATEMENTS = {
    ("replay", "adapter_id"),
    ("evaluation", "before"),
    ("evaluation", "after"),
    ("evaluation", "replay"),
}
"""Statements of the file's maker, which the output calls so."""


def test_each_field_that_an_enemy_changes_fails_or_is_its_own_statement(story: Story) -> None:
    story.certify(evaluated=False)
    document = json.loads(story.path.read_bytes())
    stranger = story.consortium.founder.address
    unnoticed = []
    for path in leaves(document):
        if path[:3] in HINTS or (field(document, path) is None and path[-1] != "ledger"):
            continue
        changed = copy.deepcopy(document)
        put(changed, path, falsified(path, field(document, path), stranger))
        text = json.dumps(changed, sort_keys=True, indent=2)
        story.path.write_text(f"{text}\n")
        if not story.check(Inputs()).exit_code:
            unnoticed.append(path)
    assert unnoticed == []


def test_a_model_that_is_described_in_two_ways_is_refused(story: Story) -> None:
    story.certify(evaluated=False)
    document = json.loads(story.path.read_bytes())
    for path in (("latest", "publication"), ("replaced", 0, "after", "publication")):
        changed = copy.deepcopy(document)
        put(changed, path, None)
        story.path.write_text(json.dumps(changed, sort_keys=True, indent=2) + "\n")
        verification = story.check(Inputs())
        assert verification.exit_code == CHECKS["models"], path
        details = {check.name: check.detail for check in verification.checks}
        assert details["models"] == "the file describes model 3 in two ways"


def test_statements_of_the_maker_are_called_so(story: Story) -> None:
    build_certificate(
        story.consortium.of(),
        1,
        replay=ReplayPart(adapter_id="ab" * 32, exact=False),
        evaluation=EvaluationPart(
            before={"a": 1.0}, after={"a": 0.0}, replay={"a": 0.5}, files={"e.json": EMPTY_OBJECT}
        ),
    ).save(story.path)
    (story.folder / "e.json").write_text("{}")
    document = json.loads(story.path.read_bytes())
    for path in STATEMENTS:
        changed = copy.deepcopy(document)
        put(changed, path, "cd" * 32 if path[-1] == "adapter_id" else {"a": 0.25})
        story.path.write_text(json.dumps(changed, sort_keys=True, indent=2) + "\n")
        verification = story.check(Inputs())
        assert verification.exit_code == 0, path
        details = {check.name: check.detail for check in verification.checks}
        assert "maker" in details["evaluation"]
        assert "not at hand" in details["replay"]
        assert "replay" in verification.verdict
    put(document, ("replay", "exact"), True)
    story.path.write_text(json.dumps(document, sort_keys=True, indent=2) + "\n")
    assert story.check(Inputs()).exit_code == CHECKS["replay"]


@pytest.fixture
def shared_story(anvil: Anvil, tmp_path: Path) -> Story:
    """A shared layout without attestation, in which a member registers a point of no short delta.

    The aggregator accepts it, and publishes whatever the two of them like.
    """
    parameters = micro_parameters(federated=True)
    consortium = make_consortium(anvil, parameters=parameters, store=tmp_path / "store")
    story = begin(consortium, tmp_path)
    rng = np.random.default_rng(8)
    member = consortium.organizations[1]
    shown, hidden = (consortium.random_delta(member, rng) for _ in range(2))
    garbage = Parts((consortium.store.put(encode(shown)),), (commit(digest(hidden)),))
    play_alone(consortium, member, garbage)
    remove_first(story)
    story.certify()
    return story


def test_a_garbage_point_in_a_shared_layout_without_attestation_is_not_checked(
    shared_story: Story,
) -> None:
    verification = shared_story.check(Inputs())
    assert verification.exit_code == 0
    (owner,) = verification.owners
    assert (owner.owner, owner.standing) == ("shared", "not checked")
    assert "auditors have not attested" in owner.detail
    assert "the parameters of shared" in verification.verdict
    assert verification.verdict.startswith("accepted as far as it was checked")


def test_the_holder_of_files_or_contributions_notices_the_garbage_point(
    shared_story: Story,
) -> None:
    verification = shared_story.check()
    failed = {check.name for check in verification.checks if check.status == "failed"}
    assert {"contributions", "adapter"} <= failed
    details = {check.name: check.detail for check in verification.checks}
    assert "does not open the point" in details["contributions"]
    assert shared_story.consortium.organizations[1].address in details["contributions"]
    assert verification.owners == ()


def test_parts_of_another_withdrawals_certificate_are_refused(anvil: Anvil, tmp_path: Path) -> None:
    consortium = make_consortium(anvil, store=tmp_path / "store")
    story = begin(consortium, tmp_path)
    remove_first(story)
    second = consortium.organizations[1]
    consortium.of(second).request_withdrawal()
    consortium.remove(2)
    one, other = (build_certificate(consortium.of(), number) for number in (1, 2))
    for name, check in (
        ("withdrawal", "withdrawal"),
        ("latest", "withdrawal"),
        ("replaced", "models"),
    ):
        mixed = one.model_copy(update={name: getattr(other, name)})
        mixed.save(story.path)
        assert story.check(Inputs()).exit_code == CHECKS[check], name
    one.save(story.path)
    assert story.check(Inputs()).exit_code == 0


def test_an_opening_of_another_model_is_refused(story: Story, tmp_path: Path) -> None:
    consortium = story.consortium
    served = consortium.of().publications(3)[-1]
    entries = consortium.of().content(2)
    other = [each for each in entries if each.organization != consortium.organizations[0].address]
    (tmp_path / "opening").write_bytes(story.opening_of(other[:2]))
    inputs = Inputs(
        artifacts=[story.store],
        adapter=story.store / served.adapter_id[:2] / served.adapter_id,
        opening=tmp_path / "opening",
    )
    verification = story.check(inputs)
    assert verification.exit_code == CHECKS["adapter"]
    assert verification.verdict == "REFUSED"


def test_a_certificate_of_a_consortium_with_the_same_names_is_refused_when_pinned(
    story: Story, tmp_path: Path
) -> None:
    sham = make_consortium(story.consortium.anvil, store=tmp_path / "sham")
    sham_story = begin(sham, tmp_path)
    remove_first(sham_story)
    sham_story.certify()
    own = story.folder / "contracts.json"
    assert sham_story.check(Inputs(own)).exit_code == CHECKS["pinned"]
    unpinned = sham_story.check(Inputs())
    assert unpinned.exit_code == 0
    assert "pinned" in unpinned.unchecked
    assert set(unpinned.contracts.values()) == set(sham.deployment.addresses().values())


def lie_about_code(method: str, _: list[Any], result: Any) -> Any:
    return result[:-2] + "00" if method == "eth_getCode" else result


def lie_about_creations(method: str, _: list[Any], result: Any) -> Any:
    if method == "eth_getTransactionByHash":
        return {**result, "input": result["input"] + "00"}
    return result


def lie_about_blocks(method: str, _: list[Any], result: Any) -> Any:
    if method == "eth_getBlockByNumber":
        return {**result, "hash": "0x" + "ab" * 32}
    return result


def hide_events(method: str, _: list[Any], result: Any) -> Any:
    """Leave the events with points out."""
    if method != "eth_getLogs":
        return result
    return [log for log in result if len(log["data"]) <= 600]


def change_events(method: str, _: list[Any], result: Any) -> Any:
    """Change the last byte of each event's data, which holds points and amounts."""
    if method != "eth_getLogs":
        return result
    return [
        {**log, "data": log["data"][:-2] + "77"} if len(log["data"]) > 600 else log
        for log in result
    ]


def answer_for_another_chain(method: str, _: list[Any], result: Any) -> Any:
    return "0x1" if method == "eth_chainId" else result


@pytest.mark.parametrize(
    ("lie", "check"),
    [
        (lie_about_code, "contracts"),
        (lie_about_creations, "contracts"),
        (lie_about_blocks, "chain"),
        (answer_for_another_chain, "chain"),
        (hide_events, None),
        (change_events, None),
    ],
)
def test_an_rpc_endpoint_that_lies_is_noticed(story: Story, lie: Any, check: str | None) -> None:
    with lying_rpc(story.consortium.anvil.url, lie) as url:
        verification = verify(story.path, rpc_url=url, inputs=Inputs())
    assert verification.exit_code, verification
    if check is not None:
        assert verification.exit_code == CHECKS[check]


def test_a_silent_rpc_endpoint_gives_no_verdict(story: Story) -> None:
    with pytest.raises(ChainUnavailable, match=r"127\.0\.0\.1:1"):
        verify(story.path, rpc_url="http://127.0.0.1:1", inputs=Inputs())


@pytest.mark.parametrize("federated", [False, True])
def test_a_withdrawn_delta_comes_back_if_a_member_changes_it(
    anvil: Anvil, tmp_path: Path, *, federated: bool
) -> None:
    """Another member serves a withdrawn delta as its own: the chain cannot tell, and says so."""
    parameters = micro_parameters(federated=federated)
    consortium = make_consortium(anvil, parameters=parameters, store=tmp_path / "store")
    story = begin(consortium, tmp_path)
    victim, copier = consortium.organizations[:2]
    copied = consortium.of().contributions(1)[0]
    assert copied.organization == victim.address
    values = consortium.load(copied.parts.artifact_ids[0]).values()
    remove_first(story)
    names = consortium.random_delta(copier, np.random.default_rng(0))
    same = dict(zip(names, values, strict=True))
    if federated:
        with pytest.raises(ContractRefused, match="A point can be registered only once"):
            play_alone(consortium, copier, same)
        return
    # Names carry their owner, so in blocks the same numbers are another point.
    play_alone(consortium, copier, same)
    story.publish()
    story.certify()
    assert story.check().exit_code == 0


def test_a_multiple_of_a_withdrawn_delta_is_another_point(anvil: Anvil, tmp_path: Path) -> None:
    parameters = micro_parameters(federated=True)
    consortium = make_consortium(anvil, parameters=parameters, store=tmp_path / "store")
    story = begin(consortium, tmp_path)
    withdrawn = consortium.load(consortium.of().contributions(1)[0].parts.artifact_ids[0])
    remove_first(story)
    doubled = {name: 2 * value for name, value in withdrawn.items()}
    play_alone(consortium, consortium.organizations[1], doubled)
    assert consortium.of().round(3).model_id == 4


def play_alone(consortium: ChainConsortium, member: Account, contributed: Tensors | Parts) -> None:
    """Play a round in which one member contributes, and all others sit out."""
    aggregator = consortium.of(consortium.aggregator)
    aggregator.open_round()
    number = aggregator.current_round_id()
    parts = contributed if isinstance(contributed, Parts) else consortium.register(contributed)
    consortium.of(member).commit(number, parts, SALT)
    for each in consortium.of().eligible_members():
        if each != member.address:
            other = next(one for one in consortium.organizations if one.address == each)
            consortium.of(other).sit_out(number)
    aggregator.close_commits(number)
    consortium.of(member).reveal(number, parts, SALT)
    aggregator.close_reveals(number)
    consortium.judge(number)
    consortium.fold()
