"""Check of a served file: each owner's parameters in it are the sum of its registered points.

The file is judged by its bytes, not by its name nor by who published it.
"""

from __future__ import annotations

from rescind.audit.checks import ATTESTED, NOT_CHECKED, OPENED, Owner, Skipped
from rescind.audit.subject import Subject
from rescind.contracts import REPLAY_OFFERS, ConsortiumReader, Contribution, Entry, WithdrawalState
from rescind.core import artifact_id, decode, owners
from rescind.core.errors import VerificationError


def adapter(subject: Subject) -> str:
    """The file that is served opens to the commitment of the latest model."""
    data, acceptance = subject.latest_adapter, subject.acceptance
    if data is None or acceptance is None:
        raise Skipped(_missing(subject))
    if acceptance.problem:
        raise VerificationError(acceptance.sentence())
    # A block that its holder leaves out does no harm; one that is served and does not open does.
    served = set(owners(decode(data)))
    wrong = [each for each in acceptance.owners if each.owner in served and not each.opened]
    if wrong:
        raise VerificationError(
            "; ".join(f"do not serve the block of {each.owner}: {each.problem}" for each in wrong)
        )
    absent = sorted(each for each in acceptance.left_out if each not in served)
    left_out = f", without the blocks of {', '.join(absent)}" if absent else ""
    return f"{artifact_id(data)[:16]}... is model {acceptance.model_id}{left_out}"


def _missing(subject: Subject) -> str:
    if subject.latest_adapter is None:
        return "the served adapter is not at hand: pass --adapter FILE"
    if subject.latest_opening is None:
        return "the opening of the adapter is not at hand: pass --opening FILE"
    return "the agreed parameters are not at hand: pass --artifacts DIR or --parameters FILE"


def standings(subject: Subject) -> tuple[Owner, ...]:
    """Return how far the parameters of each owner in the latest model were checked."""
    acceptance = subject.acceptance
    opened = {each.owner for each in acceptance.owners if each.opened} if acceptance else set()
    name_of = {each.address.lower(): each.name for each in subject.view.members()}
    entries: dict[str, list[Entry]] = {}
    for entry in subject.latest_content:
        entries.setdefault(subject.owner_of(entry), []).append(entry)
    result = []
    for each, held in sorted(entries.items()):
        name = name_of.get(each, each)
        if each in opened:
            rests_on = "adapter and opening agree with the registered points"
            result.append(Owner(each, name, OPENED, rests_on))
        elif problem := _unattested(subject.view, held):
            result.append(Owner(each, name, NOT_CHECKED, problem))
        else:
            rests_on = "a quorum of auditors signed that every contribution opens its point"
            result.append(Owner(each, name, ATTESTED, rests_on))
    return tuple(result)


def _unattested(reader: ConsortiumReader, entries: list[Entry]) -> str:
    """Return why auditors do not vouch for all of these contributions; empty if they do."""
    missing = [
        contribution
        for contribution in reader.registered(entries)
        if not _is_attested(reader, contribution)
    ]
    if not missing:
        return ""
    first = missing[0]
    what = f"round {first.round_id}" if first.round_id else "a counter-delta"
    return (
        f"no file was opened, and auditors have not attested {len(missing)} of {len(entries)} "
        f"contributions, such as that of {first.organization} to {what}"
    )


def _is_attested(reader: ConsortiumReader, contribution: Contribution) -> bool:
    """Return whether auditors attested what a contribution was registered for."""
    if not contribution.offer_id:
        return reader.round(contribution.round_id).attested
    if contribution.offer_id < REPLAY_OFFERS:
        numbers: tuple[int, ...] = (contribution.offer_id,)
    else:
        numbers = reader.replay(contribution.offer_id).withdrawals
    return any(
        bool(each.evidence) and each.state is not WithdrawalState.PREPARING
        for each in map(reader.withdrawal, numbers)
    )
