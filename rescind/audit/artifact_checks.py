"""Checks of a certificate against artifacts at hand. Each returns what it found, or raises."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from rescind.audit.certificate import ModelPart
from rescind.audit.checks import NothingToCheck, Partly, Skipped, Stated, same
from rescind.audit.contribution import check_contribution
from rescind.audit.subject import Subject
from rescind.contracts import Contribution, Entry
from rescind.core import Term, adapter_totals, encoded_id, expected_delta
from rescind.core.adapter_stream import adapter_bytes
from rescind.core.mapped import Bytes
from rescind.withdrawals import terms_of


def artifacts(subject: Subject) -> str:
    """Every artifact that is at hand hashes to its id."""
    wanted = {subject.certificate.consortium.parameters_id: "the agreed parameters"}
    for model in subject.certificate.models():
        for entry, each in subject.registered(model):
            wanted[each.parts.artifact_ids[entry.part]] = (
                f"contributions of {subject.name_of(each.organization)}"
            )
        if model.publication is not None:
            for file in (model.publication.adapter_id, model.publication.opening_id):
                wanted[file] = f"files of model {model.model_id}"
    missing = [what for each, what in wanted.items() if not subject.stores.has(each)]
    checked = subject.stores.check()
    if len(missing) == len(wanted):
        raise Skipped("no artifact is at hand: pass a store with --artifacts DIR")
    absent = f"; not at hand: {_counted(missing)}" if missing else ""
    return (
        f"{len(wanted) - len(missing)} of {len(wanted)} named artifacts are at hand; {checked} "
        f"files match their ids{absent}"
    )


def contributions(subject: Subject) -> str:
    """Each contribution at hand is short, has its owner's tensors and opens its point."""
    if subject.parameters is None:
        raise Skipped("the agreed parameters are not at hand: pass --artifacts or --parameters")
    known: dict[str, tuple[Entry, Contribution]] = {}
    for model in subject.certificate.models():
        known |= {entry.point_hash: (entry, each) for entry, each in subject.registered(model)}
    missing: dict[str, Contribution] = {}
    for point, (entry, contribution) in known.items():
        data = subject.stores.load(contribution.parts.artifact_ids[entry.part])
        if data is None:
            missing[point] = contribution
        else:
            check_contribution(data, contribution, subject.parameters, entry.part)
    checked = len(known) - len(missing)
    checked_so_far = (
        f"{checked} contributions have the agreed tensors and norms, and open their points"
    )
    if not missing:
        return checked_so_far
    if set(missing) <= set(subject.withdrawn()):
        names = _counted(subject.name_of(each.organization) for each in missing.values())
        raise Partly(checked_so_far, f"the withdrawn contributions ({names})")
    raise Skipped(
        f"{len(missing)} of {len(known)} contributions are not at hand; the other {checked} are as "
        "agreed"
    )


def arithmetic(subject: Subject) -> str:
    """The contributions, summed again in integers, give every published adapter.

    A model from before whose withdrawn contributions are erased is left out: its commitment and its
    content are on chain, and were compared with it.
    """
    published = [each for each in subject.certificate.models() if each.publication is not None]
    if not published:
        raise Skipped("no adapter is published")
    missing = {model.model_id: _missing(subject, model) for model in published}
    summed = [model for model in published if not missing[model.model_id]]
    for model in summed:
        _check_sum(subject, model)
    left_out = {number: count for number, count in missing.items() if count}
    listed = ", ".join(str(model.model_id) for model in summed)
    found = f"the contributions come to the adapters of models {listed}, byte for byte"
    if not left_out:
        return found
    if summed and not set(left_out) & subject.kept:
        raise Partly(
            found,
            *(
                f"the sum of model {number}, the model before, which was taken from the chain"
                for number in left_out
            ),
        )
    absent = ", ".join(
        f"{count} of {len(subject.registered(model))} contributions of model {model.model_id}"
        for model in published
        if (count := left_out.get(model.model_id))
    )
    raise Skipped(f"{absent} are not at hand" + (f"; {found}" if summed else ""))


def _missing(subject: Subject, model: ModelPart) -> int:
    """Return how many contributions of a model are not at hand."""
    ids = [each.parts.artifact_ids[entry.part] for entry, each in subject.registered(model)]
    return sum(not subject.stores.has(each) for each in ids)


def _check_sum(subject: Subject, model: ModelPart) -> None:
    """Sum the contributions of a published model again, and compare the adapter."""
    assert model.publication is not None
    terms = terms_of(subject.view, [entry for entry, _ in subject.registered(model)])
    by_id = {term.artifact_id: term for term in terms}

    def load(each: str) -> dict[str, NDArray[Any]]:
        return _held(subject, by_id[each])

    agreed = subject.parameters
    if agreed is None:
        total = encoded_id(adapter_totals(terms, load))
    else:
        groups: dict[str, list[Term]] = {}
        for term in terms:
            groups.setdefault(agreed.parts[term.part].owner(term.organization), []).append(term)
        sums = agreed.summed_shapes
        total = _hash_of(adapter_bytes(groups, agreed.delta_shapes(), load, sums=sums))
    same(f"sum of the contributions of model {model.model_id}", model.publication.adapter_id, total)


def _hash_of(pieces: Iterable[Bytes]) -> str:
    sha = hashlib.sha256()
    for piece in pieces:
        sha.update(piece)
    return sha.hexdigest()


def _counted(names: Iterable[str]) -> str:
    """Return names with how often each occurs."""
    return ", ".join(f"{count} {name}" for name, count in sorted(Counter(names).items()))


def _held(subject: Subject, term: Term) -> dict[str, NDArray[Any]]:
    agreed = subject.parameters
    expected = None if agreed is None else expected_delta(agreed, term.organization, term.part)
    tensors = subject.stores.tensors(term.artifact_id, expected)
    assert tensors is not None
    return tensors


def replay(subject: Subject) -> str:
    """The adapter that the maker names is as the file says; that a run gave it is its word."""
    claimed, latest = subject.certificate.replay, subject.certificate.latest
    if claimed is None:
        raise NothingToCheck("the certificate has no replay section")
    published = "" if latest.publication is None else latest.publication.adapter_id
    equal = claimed.adapter_id == published
    same("exact", claimed.exact, equal)
    if not subject.stores.has(claimed.adapter_id):
        raise Skipped("the adapter of the run without the organization is not at hand")
    relation = "the same bytes as" if equal else "other bytes than"
    raise Stated(
        f"the adapter that the file's maker names as that of a run without "
        f"{subject.certificate.withdrawal.name} is {relation} the published one; the run itself was "
        "not repeated"
    )


def evaluation(subject: Subject) -> str:
    """The evaluation's files are those that were measured."""
    claimed, folder = subject.certificate.evaluation, subject.folder
    if claimed is None:
        raise NothingToCheck("the certificate has no evaluation")
    reached = 0
    for name, expected in sorted(claimed.files.items()):
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            continue
        reached += 1
        same(f"hash of {name}", expected, hashlib.sha256(path.read_bytes()).hexdigest())
    if reached < len(claimed.files) or not reached:
        raise Skipped("not all files of the evaluation are at hand; its figures are the maker's")
    raise Stated(
        f"{reached} files are those measured; the figures are the word of the file's maker"
    )
