"""What an organization shows of its private ledger, checked against the public chain: anybody can, with the
file and the URL of a node. Of the file nothing is believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from rescind.audit.checks import (
    Check,
    Skipped,
    Verification,
    check_chain,
    check_contracts,
    deployment_block_hash,
    make,
)
from rescind.contracts import (
    Chain,
    Consortium,
    Deployment,
    Event,
)
from rescind.core.errors import LedgerError, VerificationError
from rescind.ledger.disclosure import (
    DISCLOSURE_BYTES,
    Anchored,
    Disclosure,
    ManifestDisclosure,
    parse,
)
from rescind.ledger.vrf import ProofInvalid

DISCLOSURE_CHECKS: dict[str, int] = {
    "file": 60,
    "chain": 61,
    "contracts": 62,
    "record": 63,
    "anchor": 64,
    "manifest": 65,
    "presence": 66,
}
"""Every check of a disclosure, with the exit code of its failure."""


@dataclass(frozen=True)
class Shown:
    """`what`: what was disclosed, if the checks passed."""

    verification: Verification
    what: Disclosure | ManifestDisclosure | None


def anchored_at(consortium: Consortium, organization: str, transaction: str = "") -> Anchored:
    """How a disclosure names the chain."""
    contracts = consortium.deployment.model_dump()
    return Anchored(contracts, deployment_block_hash(consortium), organization, transaction)


def anchors_of(consortium: Consortium, organization: str) -> list[tuple[int, str, Event]]:
    """Sizes and roots that an organization anchored, in the order of the chain."""
    return [
        (int(str(e.args["size"])), _hex(e.args["root"]), e)
        for e in consortium.events()
        if e.name == "Anchored" and e.args["organization"] == organization
    ]


def check_disclosure(path: Path, rpc_url: str | None) -> Shown:
    """All checks, in order; those that need a failed one are left out. Without `rpc_url` the chain is not
    asked, and the record is only as good as the signature of its log. Raises ChainUnavailable."""
    try:
        what = _read(path)
    except LedgerError as error:
        failed = (Check("file", "failed", str(error)),)
        return Shown(Verification(failed, DISCLOSURE_CHECKS), None)
    done = [Check("file", "passed", "a disclosure")]
    for name, check in _checks(what, rpc_url):
        made = make(name, check)
        done.append(made)
        if made.status == "failed":
            break
    return Shown(Verification(tuple(done), DISCLOSURE_CHECKS), what)


def _read(path: Path) -> Disclosure | ManifestDisclosure:
    try:
        with path.open("rb") as file:
            return parse(file.read(DISCLOSURE_BYTES + 1))
    except OSError as error:
        raise ProofInvalid(f"{path}: {error.strerror}") from error


def _checks(
    what: Disclosure | ManifestDisclosure, rpc_url: str | None
) -> list[tuple[str, Callable[[], str]]]:
    anchored = what.anchored
    asked = anchored is not None and rpc_url is not None
    found: list[tuple[str, Callable[[], str]]] = []
    if asked:
        assert anchored is not None
        assert rpc_url is not None
        try:
            consortium = _consortium(anchored, rpc_url)
        except VerificationError as error:
            return [("chain", _raising(error))]
        found += [
            ("chain", lambda: check_chain(consortium, anchored.block_hash)),
            ("contracts", lambda: check_contracts(consortium)),
        ]
    why = "the chain was not asked: give --rpc URL" if anchored else "the file names no chain"
    if isinstance(what, Disclosure):
        found.append(("record", lambda: _record(what)))
        found.append(("anchor", (lambda: _anchor(what, consortium)) if asked else _skipping(why)))
    else:
        found.append(
            ("manifest", (lambda: _manifest(what, consortium)) if asked else _skipping(why))
        )
        found.append(("presence", lambda: _presence(what)))
    return found


def _consortium(anchored: Anchored, rpc_url: str) -> Consortium:
    try:
        deployment = Deployment.model_validate(dict(anchored.contracts))
    except ValidationError as error:
        raise VerificationError(
            f"the file names no contracts: {error.errors()[0]['msg']}"
        ) from error
    return Consortium(Chain(rpc_url), deployment)


def _record(it: Disclosure) -> str:
    it.check()
    size = it.checkpoint.size
    return f"record {it.record.index} is in the log of {size} records that {it.key.name} signed"


def _anchor(it: Disclosure, consortium: Consortium) -> str:
    assert it.anchored is not None
    who, transaction = it.anchored.organization, it.anchored.transaction
    name = _name(consortium, who)
    size, root = it.checkpoint.size, it.checkpoint.root.hex()
    for found, its_root, event in anchors_of(consortium, who):
        if event.tx_hash == transaction and (found, its_root) == (size, root):
            return f"{name} anchored {size} records with that root in block {event.block}"
    raise VerificationError(f"{transaction} did not anchor {size} records and that root for {who}")


def _manifest(it: ManifestDisclosure, consortium: Consortium) -> str:
    who = it.anchored.organization
    name = _name(consortium, who)
    if it.commitment not in consortium.manifests(it.round_id, who):
        raise VerificationError(f"{who} committed to no such manifest for round {it.round_id}")
    return f"{name} committed to it on chain with its delta of round {it.round_id}"


def _presence(it: ManifestDisclosure) -> str:
    inside = it.check()
    what = f"a sample of {it.subject!r}" if it.sample else f"{it.subject!r}"
    how = "is in" if inside else "is NOT in"
    return f"{what} {how} what round {it.round_id} was trained on, of {it.proof.size} samples"


def _name(consortium: Consortium, who: str) -> str:
    found = consortium.member(who).name
    if not found:
        raise VerificationError(f"{who} is no member of the consortium")
    return found


def _skipping(why: str) -> Callable[[], str]:
    def check() -> str:
        raise Skipped(why)

    return check


def _raising(error: VerificationError) -> Callable[[], str]:
    def check() -> str:
        raise error

    return check


def _hex(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
