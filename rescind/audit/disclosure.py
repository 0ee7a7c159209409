"""Checks of a disclosure: what an organization shows of its private ledger.

Anyone can make them with the file and the URL of a chain node. No statement in the file is trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eth_utils.address import is_checksum_address, to_checksum_address
from pydantic import ValidationError

from rescind.audit.checks import (
    Check,
    Skipped,
    Verification,
    check_chain,
    check_contracts,
    check_pinned,
    deployment_block_hash,
    make,
    to_hex,
)
from rescind.contracts import (
    REPLAY_OFFERS,
    Chain,
    Consortium,
    Contribution,
    Deployment,
    Event,
)
from rescind.core.errors import LedgerError, VerificationError
from rescind.ledger import Anchored, Disclosure, ManifestDisclosure, ProofInvalid
from rescind.ledger.disclosure import DISCLOSURE_BYTES, parse
from rescind.withdrawals import first_problem

DISCLOSURE_CHECKS: dict[str, int] = {
    "file": 60,
    "chain": 61,
    "contracts": 62,
    "record": 63,
    "anchor": 64,
    "manifest": 65,
    "presence": 66,
    "pinned": 68,
}
"""Every check of a disclosure, with the exit code of its failure."""


@dataclass(frozen=True)
class Shown:
    """The result of checking a disclosure.

    Attributes:
        verification: The results of the checks.
        what: The disclosure; None if the file cannot be read.
    """

    verification: Verification
    what: Disclosure | ManifestDisclosure | None


def anchored_at(consortium: Consortium, organization: str, transaction: str = "") -> Anchored:
    """Return the part of a disclosure that names the chain, the contracts and the anchor."""
    contracts, address = consortium.deployment.model_dump(), to_checksum_address(organization)
    return Anchored(contracts, deployment_block_hash(consortium), address, transaction)


def anchors_of(consortium: Consortium, organization: str) -> list[tuple[int, str, Event]]:
    """Return size, root and event of each anchor of an organization, in the order of the chain."""
    return [
        (int(str(e.args["size"])), to_hex(e.args["root"]), e)
        for e in consortium.events()
        if e.name == "Anchored" and e.args["organization"] == organization
    ]


def check_disclosure(
    path: Path, rpc_url: str | Sequence[str] | None, pinned: Path | None = None, *, agree: int = 1
) -> Shown:
    """Check a disclosure in order, up to the first check that fails.

    Args:
        path: The file.
        rpc_url: URL of a chain node, or several that stand in for one another. Without any the
            checks of the chain are skipped, and a record is only as trustworthy as the signature
            of its log.
        pinned: Your own contracts.json: no other consortium's disclosure is accepted.
        agree: How many of the URLs must give the same answers.

    Raises:
        ChainUnavailable: The chain does not answer.
    """
    try:
        what = _read(path)
        deployment = _deployment(what.anchored)
    except (LedgerError, VerificationError) as error:
        failed = (Check("file", "failed", str(error)),)
        return Shown(Verification(failed, DISCLOSURE_CHECKS), None)
    results = [Check("file", "passed", "a disclosure")]
    chain = Chain(rpc_url, agree=agree) if rpc_url else None
    for name, check in _checks(what, deployment, chain, pinned):
        result = make(name, check)
        results.append(result)
        if result.status == "failed":
            break
    addresses = {} if deployment is None else deployment.addresses()
    return Shown(Verification(tuple(results), DISCLOSURE_CHECKS, addresses), what)


def _read(path: Path) -> Disclosure | ManifestDisclosure:
    try:
        with path.open("rb") as file:
            return parse(file.read(DISCLOSURE_BYTES + 1))
    except OSError as error:
        raise ProofInvalid(f"{path} cannot be read: {error.strerror}") from error


def _deployment(anchored: Anchored | None) -> Deployment | None:
    if anchored is None:
        return None
    if not is_checksum_address(anchored.organization):
        raise VerificationError(
            f"the file names the organization {anchored.organization[:80]!r}, which is not an "
            "address in EIP-55 form"
        )
    try:
        return Deployment.model_validate(dict(anchored.contracts))
    except ValidationError as error:
        raise VerificationError(
            f"the file does not name valid contracts: {first_problem(error)}"
        ) from error


def _checks(
    what: Disclosure | ManifestDisclosure,
    deployment: Deployment | None,
    chain: Chain | None,
    pinned: Path | None,
) -> list[tuple[str, Callable[[], str]]]:
    record: list[tuple[str, Callable[[], str]]] = []
    if isinstance(what, Disclosure):
        record = [("record", lambda: _record(what))]
    if what.anchored is None or deployment is None:
        return [*record, ("anchor", _skipping("the file does not name a chain"))]
    checks = [("pinned", lambda: check_pinned(deployment, pinned))]
    last = "anchor" if isinstance(what, Disclosure) else "manifest"
    if chain is None:
        checks += [*record, (last, _skipping("the chain was not asked: pass --rpc URL"))]
    else:
        consortium, block_hash = Consortium(chain, deployment), what.anchored.block_hash
        checks += [
            ("chain", lambda: check_chain(consortium, block_hash)),
            ("contracts", lambda: check_contracts(consortium)),
            *record,
            (last, lambda: _on_chain(what, consortium)),
        ]
    if isinstance(what, ManifestDisclosure):
        checks.append(("presence", lambda: _presence(what)))
    return checks


def _on_chain(what: Disclosure | ManifestDisclosure, consortium: Consortium) -> str:
    return (
        _anchor(what, consortium) if isinstance(what, Disclosure) else _manifest(what, consortium)
    )


def _record(disclosure: Disclosure) -> str:
    disclosure.check()
    index, size = disclosure.record.index, disclosure.checkpoint.size
    return f"record {index} is in the log of {size} records that {disclosure.key.name} signed"


def _anchor(disclosure: Disclosure, consortium: Consortium) -> str:
    assert disclosure.anchored is not None
    organization = disclosure.anchored.organization
    transaction = disclosure.anchored.transaction
    name = _name(consortium, organization)
    size, root = disclosure.checkpoint.size, disclosure.checkpoint.root.hex()
    for anchored_size, anchored_root, event in anchors_of(consortium, organization):
        if event.tx_hash == transaction and (anchored_size, anchored_root) == (size, root):
            return f"{name} anchored {size} records with that root in block {event.block}"
    raise VerificationError(
        f"transaction {transaction} did not anchor {size} records with root {root} for "
        f"{organization}"
    )


def _manifest(disclosure: ManifestDisclosure, consortium: Consortium) -> str:
    name = _name(consortium, disclosure.anchored.organization)
    registered = _registered(disclosure, consortium)
    if registered.parts.manifest != disclosure.commitment:
        raise VerificationError(
            f"{name} committed to manifest {registered.parts.manifest} {disclosure.occasion()}, "
            f"not to {disclosure.commitment}"
        )
    artifacts = registered.parts.artifact_ids
    if disclosure.artifact not in artifacts:
        raise VerificationError(
            f"{name} committed to that manifest {disclosure.occasion()} with artifact "
            f"{artifacts[0]}, not with {disclosure.artifact}"
        )
    return (
        f"{name} committed to it on chain {disclosure.occasion()}, with "
        f"{disclosure.artifact[:16]}..., which "
        f"is in {_holders(consortium, registered)}"
    )


def _holders(consortium: Consortium, contribution: Contribution) -> str:
    """Return the words for the models in use that hold a contribution."""
    point = contribution.parts.point_hashes[0]
    numbers = [
        str(model_id)
        for model_id in consortium.models_in_use()
        if any(entry.point_hash == point for entry in consortium.content(model_id))
    ]
    return f"models in use: {', '.join(numbers)}" if numbers else "no model in use"


def _registered(disclosure: ManifestDisclosure, consortium: Consortium) -> Contribution:
    """Return the one contribution that a disclosure names.

    An organization may register several manifests for a round: one in the round itself, and one in
    each withdrawal and replay that concerns it. Only the named one counts, and an offer only if it
    took effect: otherwise anything could be offered, and never trained on.
    """
    organization, round_id = disclosure.anchored.organization, disclosure.round_id
    offer_id = disclosure.withdrawal
    if disclosure.replay is not None:
        offer_id = REPLAY_OFFERS + disclosure.replay
    if offer_id is None:
        candidates = consortium.contributions(round_id)
    else:
        if all(each.offer_id != offer_id for each in consortium.amendments()):
            raise VerificationError(
                f"what was registered {disclosure.occasion()} never took effect on chain, so it "
                "is in no model"
            )
        candidates = consortium.offers(offer_id)
    own = [
        each
        for each in candidates
        if (each.round_id, each.organization) == (round_id, organization)
    ]
    if not own:
        raise VerificationError(f"{organization} registered nothing {disclosure.occasion()}")
    return own[-1]  # An offer may be repeated until it is ready: the last one counts.


def _presence(disclosure: ManifestDisclosure) -> str:
    inside = disclosure.check()
    subject = repr(disclosure.subject)
    what = f"a sample of {subject}" if disclosure.sample else subject
    verb = "is in" if inside else "is NOT in"
    return f"{what} {verb} what was trained on {disclosure.occasion()}"


def _name(consortium: Consortium, address: str) -> str:
    name = consortium.member(address).name
    if not name:
        raise VerificationError(f"{address} is not a member of the consortium")
    return name


def _skipping(why: str) -> Callable[[], str]:
    def check() -> str:
        raise Skipped(why)

    return check
