"""Checks of a certificate against the chain. Each returns what it found, or raises."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rescind.audit.certificate import EntryPart, ModelPart, ReplacedPart
from rescind.audit.checks import (
    NothingToCheck,
    Skipped,
    check_chain,
    check_contracts,
    check_pinned,
    same,
)
from rescind.audit.issue import (
    consortium_part,
    model_part,
    replaced_models,
    withdrawal_part,
)
from rescind.audit.subject import Subject
from rescind.contracts import ModelKind, RoundState
from rescind.core import WEIGHT_ONE, point_hash, sum_points
from rescind.core.errors import VerificationError

_RULES = {
    "block": "each organization's block is the sum of its rounds",
    "share": "what all share is the sum of all rounds, shared out equally in each",
    "latest": "the sum of the latest statistics of each organization",
}
"""How the contributions of a part add up, in words."""


def pinned(subject: Subject) -> str:
    """The contracts are those of the consortium that the reader means."""
    return check_pinned(subject.certificate.consortium.deployment, subject.inputs.contracts)


def chain(subject: Subject) -> str:
    """The chain is the one that the file names."""
    return check_chain(subject.reader, subject.certificate.consortium.block_hash)


def contracts(subject: Subject) -> str:
    """The contracts were created by the published code with the arguments that they show."""
    return check_contracts(subject.reader)


def agreement(subject: Subject) -> str:
    """The agreement is the one on chain."""
    claimed, actual = subject.certificate.consortium, consortium_part(subject.view)
    for name in type(claimed).model_fields:
        same(name.replace("_", " "), getattr(claimed, name), getattr(actual, name))
    rounds = "auditors attest rounds" if actual.attested else "no auditor attests rounds"
    parts = ", ".join(_RULES[rule] for rule in actual.rules)
    return f"{parts}; parameters {actual.parameters_id[:16]}; {rounds}"


def withdrawal(subject: Subject) -> str:
    """The withdrawal is closed on chain as the file says."""
    certificate, actual = subject.certificate, subject.withdrawal
    same("state", "closed", actual.state.value)
    same("method", certificate.method, actual.method.value)
    same("latest model", certificate.latest.model_id, actual.closed_model)
    claimed, recorded = (
        certificate.withdrawal,
        withdrawal_part(subject.view, subject.events, actual),
    )
    for name in type(claimed).model_fields:
        same(name.replace("_", " "), getattr(claimed, name), getattr(recorded, name))
    requester = f"a data subject of {claimed.name}" if claimed.subject else claimed.name
    return (
        f"withdrawal {actual.id} of {requester} by {certificate.method}, closed in block "
        f"{claimed.close_block}"
    )


def models(subject: Subject) -> str:
    """Every model that the withdrawal concerned is in the file, each as on chain."""
    certificate = subject.certificate
    known = replaced_models(subject.view, subject.events, certificate.withdrawal.withdrawal_id)
    same(
        "models that were folded",
        [(p.amendment, p.before.model_id, p.after.model_id, p.transaction) for p in known],
        [
            (p.amendment, p.before.model_id, p.after.model_id, p.transaction)
            for p in certificate.replaced
        ],
    )
    _check_described_once(certificate.models())
    for claimed in certificate.models():
        _check_model(subject, claimed)
    if not known:
        return f"no model in use held anything of {certificate.withdrawal.name}"
    replaced = "; ".join(
        f"model {pair.before.model_id} of {_size(pair.before)} contributions, in its place model "
        f"{pair.after.model_id} of {_size(pair.after)}"
        for pair in known
    )
    return replaced + _publisher(subject, certificate.latest)


def _check_described_once(parts: Iterable[ModelPart]) -> None:
    """Check that the file says the same of a model wherever it describes it.

    The chain holds further statements on the files of a model, so it would confirm two of them, or
    one and none.
    """
    described: dict[int, ModelPart] = {}
    for each in parts:
        if described.setdefault(each.model_id, each) != each:
            raise VerificationError(f"the file describes model {each.model_id} in two ways")


def _size(model: ModelPart) -> int:
    return len(model.content[0])


def _publisher(subject: Subject, model: ModelPart) -> str:
    """Return whose word it is which files are a model; anyone may publish some."""
    if model.publication is None:
        return f"; the certificate names no files of model {model.model_id}"
    publisher = model.publication.publisher
    office = "the" if publisher in subject.view.aggregators() else "NOT an"
    return f"; the files of model {model.model_id} by the word of {publisher}, {office} aggregator"


def _check_model(subject: Subject, claimed: ModelPart) -> None:
    actual = model_part(subject.view, claimed.model_id)
    name = f"model {claimed.model_id}"
    same(f"commitments of {name}", claimed.commitments, actual.commitments)
    same(f"number of parts of {name}", len(claimed.content), len(actual.content))
    for part, (claimed_terms, actual_terms) in enumerate(
        zip(claimed.content, actual.content, strict=True)
    ):
        same(f"number of contributions in {name}", len(claimed_terms), len(actual_terms))
        for each, recorded in zip(claimed_terms, actual_terms, strict=True):
            same(f"a contribution to part {part} of {name}", each, recorded)
    published = claimed.publication
    # A later statement on the files of a model does not make an earlier certificate wrong.
    if published is not None and (
        published.publisher,
        published.adapter_id,
        published.opening_id,
    ) not in {
        (each.publisher, each.adapter_id, each.opening_id)
        for each in subject.view.publications(claimed.model_id)
    }:
        raise VerificationError(
            f"{published.publisher} did not publish adapter {published.adapter_id} for model "
            f"{claimed.model_id}"
        )


def removed(subject: Subject) -> str:
    """Check that each model changed in what the withdrawal may change, and in nothing else."""
    certificate = subject.certificate
    kinds = {each.number: each.kind for each in subject.view.amendments()}
    for pair in certificate.replaced:
        for part, rule in enumerate(certificate.consortium.rules):
            change = _Change(pair, part, rule, certificate.withdrawal.organization)
            change.check(kinds[pair.amendment])
        if certificate.excludes:
            _check_excluded(pair.after, certificate.withdrawal.organization)
    count, name = len(certificate.removed), certificate.withdrawal.name
    several = len(certificate.consortium.rules) > 1
    what = "parts of contributions" if several else "contributions"
    if certificate.method == "counter-training":
        return "nothing removed; a counter-delta was added"
    remains = ""
    if {"block", "share"} <= set(certificate.consortium.rules):
        # Only their owner trains private ranks; every organization starts from the shared ones.
        remains = "; what later rounds learned from its shared ranks stays"
    if certificate.method == "removal":
        return f"{count} {what} of {name} removed, the others weighted by the rule{remains}"
    return f"{count} {what} of {name} removed, or replaced by its own"


def _check_excluded(after: ModelPart, organization: str) -> None:
    if any(entry.organization == organization for part in after.content for entry in part):
        raise VerificationError(
            f"model {after.model_id} still holds a contribution of {organization}"
        )


class _Change:
    """The change that one amendment made to one part of one model."""

    def __init__(self, pair: ReplacedPart, part: int, rule: str, organization: str) -> None:
        self.before, self.after = pair.before.content[part], pair.after.content[part]
        self.rule, self.organization = rule, organization
        self.where = f"from model {pair.before.model_id} to {pair.after.model_id}"

    def check(self, kind: ModelKind) -> None:
        """Check that the change is one that an amendment of this kind makes."""
        checks = {
            ModelKind.REMOVAL: self._removal,
            ModelKind.REPLACEMENT: self._replacement,
            ModelKind.REPLAY: self._replay,
            ModelKind.COUNTER_TRAINING: self._counter_training,
        }
        checks[kind]()

    def _removal(self) -> None:
        kept = [each for each in self.before if each.organization != self.organization]
        if list(self.after) != _weighted(kept, self.rule):
            raise VerificationError(
                f"{self.where}: what remains is not the others' contributions, weighted again"
            )

    def _replacement(self) -> None:
        if [_place(each) for each in self.before] != [_place(each) for each in self.after]:
            raise VerificationError(f"{self.where}: a replacement changed more than points")
        changed = {
            old.organization for old, new in zip(self.before, self.after, strict=True) if old != new
        }
        if changed - {self.organization}:
            raise VerificationError(
                f"{self.where}: contributions other than the organization's own were replaced"
            )

    def _replay(self) -> None:
        # Members that miss a round of a replay are dropped, so places may only disappear.
        places = {(each.round_id, each.organization) for each in self.before}
        added = [each for each in self.after if (each.round_id, each.organization) not in places]
        if added or list(self.after) != _weighted(self.after, self.rule):
            raise VerificationError(
                f"{self.where}: a replay added contributions, or weighted them by another rule"
            )

    def _counter_training(self) -> None:
        added = [each for each in self.after if each not in self.before]
        kept = [each for each in self.after if each in self.before]
        own = all(each.round_id == 0 and each.organization == self.organization for each in added)
        if kept != list(self.before) or not own:
            raise VerificationError(f"{self.where}: more than a counter-delta was changed")


def _place(entry: EntryPart) -> tuple[int, str, int]:
    return entry.round_id, entry.organization, entry.weight


def _weighted(entries: Sequence[EntryPart], rule: str) -> list[EntryPart]:
    """Return entries with the weights that the rule gives them; counter-deltas keep theirs."""
    if rule != "share":
        return list(entries)
    sizes: dict[int, int] = {}
    for entry in entries:
        sizes[entry.round_id] = sizes.get(entry.round_id, 0) + 1
    return [
        entry.model_copy(update={"weight": WEIGHT_ONE // sizes[entry.round_id]})
        if entry.round_id
        else entry
        for entry in entries
    ]


def clean(subject: Subject) -> str:
    """No model in use now holds what was withdrawn."""
    certificate, view = subject.certificate, subject.view
    leaver, name = certificate.withdrawal.organization, certificate.withdrawal.name
    in_use = view.models_in_use()
    for model_id in sorted({certificate.latest.model_id, *in_use}):
        held = {
            entry.point_hash
            for part in range(view.part_count())
            for entry in view.content(model_id, part)
        }
        if certificate.removed & held:
            raise VerificationError(f"model {model_id} holds a contribution that was withdrawn")
        if certificate.excludes and not view.is_clean(model_id, leaver):
            raise VerificationError(f"model {model_id} holds a contribution of {leaver}")
    if not certificate.excludes:
        return f"no withdrawn contribution in any model in use; others of {name} may be"
    return f"no contribution of {name} in any model in use: {', '.join(map(str, in_use))}"


def commitments(subject: Subject) -> str:
    """The registered points, with their weights, sum to every model's commitment."""
    count = 0
    for model in subject.certificate.models():
        for part, entries in enumerate(model.content):
            points = subject.view.points({entry.point_hash for entry in entries})
            total = sum_points((points[each.point_hash], each.weight) for each in entries)
            same(
                f"commitment of model {model.model_id}", model.commitments[part], point_hash(total)
            )
            count += len(entries)
    return f"{count} registered points, added up again, come to the commitments on chain"


def rounds(subject: Subject) -> str:
    """Auditors attested that every accepted contribution of each round opens its point."""
    if not subject.certificate.consortium.attested:
        raise NothingToCheck("this consortium does not ask auditors to attest its rounds")
    numbers = sorted({entry.round_id for entry in subject.latest_content if entry.round_id})
    states = {number: subject.view.round(number) for number in numbers}
    missing = [
        number
        for number, round_ in states.items()
        if round_.state is RoundState.FINAL and not round_.attested
    ]
    if missing:
        raise Skipped(
            f"rounds {', '.join(map(str, missing))} are provisional: auditors have not attested them"
        )
    return f"auditors attested {len(numbers)} rounds: every accepted contribution opens its point"
