"""The model that a run serves, and the question before each answer: may it still be served?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rescind.audit import read_certificate
from rescind.audit.certificate import EntryPart
from rescind.contracts import Chain, ConsortiumReader, Deployment
from rescind.core import STATISTICS, ArtifactStore, ConsortiumParameters, Term, Totals
from rescind.core.errors import ConfigError
from rescind.core.optimizers import FedAvg
from rescind.core.parameters import reference_of
from rescind.devnet.chain import url_of
from rescind.devnet.layout import RunFolder
from rescind.node.facts import open_journal
from rescind.node.withdrawal_facts import own_artifacts
from rescind.serving import NotServed, look
from rescind.serving.sources import StoreSource, read_parameters
from rescind.withdrawals import members_in_sum, terms_of


@dataclass(frozen=True)
class ServedModel:
    """A model that answers questions.

    A process that has a model in memory would go on with it after a withdrawal, so it calls
    `check` before each answer.

    Attributes:
        model_id: Its number; 0 is the base model alone.
        adapter_id: Its published adapter; empty for the base model alone.
        terms: The contributions in it, where a server optimizer makes the served model of them.
        files: The files that it is loaded from. An erasure deletes them.
        consortium: The contracts; None for the model before a withdrawal, which is out of use.
        load: Returns the adapter, checked against the chain; None for the model before a withdrawal.
        members: Numbers of the members whose statistics are in it, by address; None where neither heads
            nor a router depend on them.
        published: Returns an artifact that members agreed on by its id.
    """

    model_id: int
    adapter_id: str
    terms: Sequence[Term]
    files: Sequence[Path]
    consortium: ConsortiumReader | None = None
    load: Callable[[], Totals] | None = None
    members: Mapping[str, int] | None = None
    published: Callable[[str], Mapping[str, NDArray[Any]]] | None = None

    def check(self) -> None:
        """Check that the model is still in use, and that its files are still there.

        Raises:
            ConfigError: The model before the withdrawal was erased.
            NotServed: The model was erased or is stale, or another took its place.
            ChainUnavailable: The chain does not answer, so that no one can say.
        """
        erased = not all(file.is_file() for file in self.files)
        if self.consortium is not None:
            self._check_in_use(self.consortium, erased=erased)
        elif erased:
            raise ConfigError(
                f"The model before the withdrawal, model {self.model_id}, was erased when the "
                "withdrawal was closed. Ask the model after it, without --before-withdrawal."
            )

    def _check_in_use(self, consortium: ConsortiumReader, *, erased: bool) -> None:
        with consortium.chain.at_one_block():
            head = consortium.latest_model_id()
            stale = head == self.model_id and consortium.is_stale(head)
        if head != self.model_id:
            raise NotServed(
                f"Model {self.model_id} is not in use any more: model {head} took its place. Start "
                "again to ask that one."
            )
        if stale:
            raise NotServed(
                f"Model {self.model_id} is not in use any more: an organization or a person in it "
                "was withdrawn. Start again once the model without them is built."
            )
        if erased:
            raise NotServed(
                f"The files of model {self.model_id} are not in the run's store any more. Start "
                "the run's aggregator, which builds them again."
            )


def newest_model(run: RunFolder, parameters: ConsortiumParameters) -> ServedModel:
    """Return the newest model of a run, as its chain has it.

    Raises:
        ChainUnavailable: The run's chain does not answer.
        NotServed: The model is stale, or its aggregator has not published it.
    """
    consortium = _reader(run)
    chain = consortium.chain
    source = StoreSource(consortium, parameters, ArtifactStore(run.store))
    newest = look(consortium, None).newest
    ServedModel(newest.number, "", (), (), consortium).check()
    files = source.files(newest)
    terms: Sequence[Term] = ()
    if parameters.server != FedAvg():
        with chain.at_one_block():
            terms = terms_of(consortium, consortium.content(newest.number))
    return ServedModel(
        newest.number,
        files.adapter_id,
        terms,
        _files(run, files.adapter_id, terms),
        consortium,
        lambda: source.totals(newest, files),
        members_in_sum(consortium, parameters, newest.number),
        source.published,
    )


def _reader(run: RunFolder) -> ConsortiumReader:
    """Return the public record of a run.

    Raises:
        ChainUnavailable: The run's chain does not answer.
    """
    deployment = Deployment.load(run.contracts)
    chain = Chain(url_of(run.facts().chain_port), deployment.chain_id)
    reader = ConsortiumReader(chain, deployment)
    reader.check()
    return reader


def run_source(path: Path, reader: ConsortiumReader) -> tuple[StoreSource, str, str]:
    """Return where a server finds the models of a run, and the run's base model with its type.

    Args:
        path: The folder of a run.
        reader: The run's public record.

    Raises:
        ConfigError: `path` is not the folder of a run.
    """
    run = RunFolder.find(path)
    parameters = read_parameters(reader, run.parameters)
    facts = run.facts()
    return StoreSource(reader, parameters, ArtifactStore(run.store)), facts.model, facts.dtype


def model_before(run: RunFolder, parameters: ConsortiumParameters) -> ServedModel:
    """Return the model before the withdrawal that the run's certificate is about.

    An agreed router is solved from the statistics in the model, as it was before the withdrawal.

    Raises:
        ConfigError: The withdrawal concerned no model, or the model or the router's public reference
            was erased.
        ChainUnavailable: A router was agreed on, and the run's chain does not answer.
    """
    certificate = read_certificate(run.certificate)
    if not certificate.replaced:
        raise ConfigError(
            "The withdrawal of this run concerned no model in use, so there is no model before it. "
            "Ask without --before-withdrawal."
        )
    part = certificate.replaced[-1].before
    adapter_id = part.publication.adapter_id if part.publication else ""
    terms = []
    if parameters.server != FedAvg():
        artifacts: dict[str, str] = {}
        for name in run.facts().organizations:
            artifacts |= own_artifacts(open_journal(run.node_state(name)))
        terms = [
            Term(each.round_id, each.organization, artifacts[each.point_hash], each.weight)
            for each in part.content[0]
        ]
    model = ServedModel(
        part.model_id,
        adapter_id,
        terms,
        _files(run, adapter_id, terms),
        published=ArtifactStore(run.store).load,
    )
    model.check()
    if not reference_of(parameters):
        return replace(model, members=_in_sum(parameters, part.content))
    _check_reference(run, parameters, part.model_id)
    # A router's columns are the members' numbers, which the certificate does not have.
    return replace(model, members=members_in_sum(_reader(run), parameters, part.model_id))


def _in_sum(
    parameters: ConsortiumParameters, content: Sequence[Sequence[EntryPart]]
) -> dict[str, int] | None:
    """Return the members in a certificate's sum. It does not have their numbers on chain."""
    if parameters.statistics is None:
        return None
    entries = content[parameters.part_of(STATISTICS).number]
    return {name: place for place, name in enumerate(sorted({e.organization for e in entries}))}


def _check_reference(run: RunFolder, parameters: ConsortiumParameters, model_id: int) -> None:
    reference = reference_of(parameters)
    if not ArtifactStore(run.store).has(reference):
        raise ConfigError(
            f"The router of the model before the withdrawal, model {model_id}, cannot be solved: "
            f"the agreed public reference {reference} is not in {run.store}. Start the run's "
            "aggregator, which publishes it again."
        )


def _files(run: RunFolder, adapter_id: str, terms: Sequence[Term]) -> list[Path]:
    ids = [adapter_id, *(term.artifact_id for term in terms)] if adapter_id else []
    return [run.store / each[:2] / each for each in ids]
