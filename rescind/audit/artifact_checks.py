"""Checks of a certificate against artifacts at hand. Each returns what it found, or raises."""

from __future__ import annotations

import hashlib
from typing import Any

from numpy.typing import NDArray

from rescind.audit.certificate import ModelPart
from rescind.audit.checks import NothingToCheck, Skipped, same
from rescind.audit.contribution import check_contribution
from rescind.audit.subject import Subject
from rescind.contracts import Contribution, Entry
from rescind.core import Term, adapter_totals, artifact_id, encode


def artifacts(subject: Subject) -> str:
    """Every artifact that is at hand hashes to its id."""
    wanted = {subject.certificate.consortium.parameters_id}
    for model in subject.certificate.models():
        wanted |= {each.parts.artifact_ids[0] for _, each in subject.registered(model)}
        if model.publication is not None:
            wanted |= {model.publication.adapter_id, model.publication.opening_id}
    reached = sum(subject.stores.load(each) is not None for each in wanted)
    checked = subject.stores.check()
    if not reached:
        raise Skipped("no artifact is at hand: pass a store with --artifacts DIR")
    return (
        f"{reached} of {len(wanted)} named artifacts are at hand; {checked} files match their ids"
    )


def contributions(subject: Subject) -> str:
    """Each contribution at hand is short, has its owner's tensors and opens its point."""
    if subject.parameters is None:
        raise Skipped("the agreed parameters are not at hand: pass --artifacts or --parameters")
    known: dict[str, Contribution] = {}
    for model in subject.certificate.models():
        known |= {entry.point_hash: each for entry, each in subject.registered(model)}
    checked = 0
    for contribution in known.values():
        data = subject.stores.load(contribution.parts.artifact_ids[0])
        if data is not None:
            check_contribution(data, contribution, subject.parameters)
            checked += 1
    if checked < len(known):
        raise Skipped(
            f"{len(known) - checked} of {len(known)} contributions are not at hand; the other "
            f"{checked} are as agreed"
        )
    return f"{checked} contributions have the agreed tensors and norms, and open their points"


def arithmetic(subject: Subject) -> str:
    """The contributions, summed again in integers, give every published adapter."""
    summed = [model.model_id for model in subject.certificate.models() if _is_sum(subject, model)]
    if not summed:
        raise Skipped("no adapter is published")
    listed = ", ".join(map(str, summed))
    return f"the contributions come to the adapters of models {listed}, byte for byte"


def _is_sum(subject: Subject, model: ModelPart) -> bool:
    """Return whether a model has an adapter; it is checked then."""
    if model.publication is None:
        return False
    pairs = subject.registered(model)
    missing = [each for _, each in pairs if subject.stores.load(each.parts.artifact_ids[0]) is None]
    if missing:
        raise Skipped(f"{len(missing)} of {len(pairs)} contributions are not at hand")
    terms = [_term(entry, contribution) for entry, contribution in pairs]
    total = artifact_id(encode(adapter_totals(terms, lambda each: _held(subject, each))))
    same(f"sum of the contributions of model {model.model_id}", model.publication.adapter_id, total)
    return True


def _term(entry: Entry, contribution: Contribution) -> Term:
    return Term(
        entry.round_id, entry.organization, contribution.parts.artifact_ids[0], entry.weight
    )


def _held(subject: Subject, wanted_id: str) -> dict[str, NDArray[Any]]:
    tensors = subject.stores.tensors(wanted_id)
    assert tensors is not None
    return tensors


def replay(subject: Subject) -> str:
    """A run without the organization gave what the file says, where there was one."""
    claimed, latest = subject.certificate.replay, subject.certificate.latest
    if claimed is None:
        raise NothingToCheck("the certificate has no replay section")
    published = "" if latest.publication is None else latest.publication.adapter_id
    equal = claimed.adapter_id == published
    same("exact", claimed.exact, equal)
    if subject.stores.load(claimed.adapter_id) is None:
        raise Skipped("the adapter of the run without the organization is not at hand")
    relation = "the same bytes as" if equal else "other bytes than"
    return (
        f"the adapter that the file's maker names as that of a run without "
        f"{subject.certificate.withdrawal.name} is {relation} the published one"
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
    return f"{reached} files are those measured (the figures are the word of the file's maker)"
