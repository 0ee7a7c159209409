"""Sources of a model's files: a published store, or what a node has adopted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from rescind.contracts import ConsortiumReader, Entry
from rescind.core import (
    ArtifactStore,
    ConsortiumParameters,
    OpeningMismatch,
    RoundSum,
    StoreMissing,
    Totals,
    add_totals,
    decode,
    served_of,
    split_owner,
)
from rescind.core.errors import ConfigError
from rescind.core.optimizers import FedAvg
from rescind.core.round_sums import served
from rescind.daemon import Journal, check_rules, open_consortium
from rescind.node import NodeConfig
from rescind.node.facts import AdoptedModel, CheckedSum, open_journal
from rescind.node.rounds import entries_by_round, entries_key
from rescind.serving.errors import FilesMissing
from rescind.serving.standing import ModelKey
from rescind.withdrawals import accept_files, record_of, terms_of


@dataclass(frozen=True)
class Files:
    """The files of a model.

    Attributes:
        adapter_id: Artifact id of the adapter; empty where nothing is in the model.
        opening_id: Artifact id of its openings.
        left_out: Owners whose tensors are known not to open.
    """

    adapter_id: str
    opening_id: str = ""
    left_out: tuple[str, ...] = ()


class ModelSource(Protocol):
    """Where a server finds the models of one consortium.

    Attributes:
        reader: The consortium's public record.
        parameters: The agreed parameters.
    """

    @property
    def reader(self) -> ConsortiumReader: ...

    @property
    def parameters(self) -> ConsortiumParameters: ...

    def files(self, key: ModelKey) -> Files:
        """Return the files of a model.

        Raises:
            FilesMissing: They cannot be had yet.
        """
        ...

    def totals(self, key: ModelKey, files: Files) -> Totals:
        """Return the adapter that is served for a model, as integer tensors by qualified name.

        Raises:
            OpeningMismatch: The files do not open to what the chain registered.
            StoreError: A file is missing or was changed.
        """
        ...

    def published(self, artifact_id: str) -> Mapping[str, NDArray[Any]]:
        """Return an artifact that members agreed on by its id.

        Raises:
            StoreError: It is missing or was changed.
        """
        ...


@dataclass(frozen=True)
class StoreSource:
    """A store that an aggregator publishes into. Its files are checked against the chain.

    Attributes:
        reader: The consortium's public record.
        parameters: The agreed parameters.
        store: The store.
    """

    reader: ConsortiumReader
    parameters: ConsortiumParameters
    store: ArtifactStore

    @classmethod
    def open(
        cls, reader: ConsortiumReader, store: str, parameters: Path | None = None
    ) -> StoreSource:
        """Open a published store.

        Args:
            reader: The consortium's public record.
            store: A folder or an fsspec URL.
            parameters: The agreed parameters; by default they are in the store.

        Raises:
            ConfigError: The store is not there, or the parameters are not those on chain.
            StoreMissing: The parameters are not in the store.
        """
        if "://" not in store and not Path(store).is_dir():
            raise ConfigError(f"--store {store} is not a folder.")
        opened = ArtifactStore(store)
        if parameters is None:
            return cls(reader, agreed(reader, opened), opened)
        return cls(reader, read_parameters(reader, parameters), opened)

    def files(self, key: ModelKey) -> Files:
        """Return the newest files that an aggregator stated on chain and that are in the store."""
        with self.reader.chain.at_one_block():
            if not key.number or not self.reader.content(key.number):
                return Files("")
            aggregators = self.reader.aggregators()
            stated = self.reader.publications(key.number)
        # Anyone may state anything, so only the statements of aggregators count.
        for each in reversed([each for each in stated if each.publisher in aggregators]):
            if not self.store.missing([each.adapter_id, each.opening_id]):
                return Files(each.adapter_id, each.opening_id)
        raise FilesMissing(
            f"The aggregator has not published the files of model {key.number} yet."
            if not stated
            else f"The files of model {key.number} are not in the store."
        )

    def totals(self, key: ModelKey, files: Files) -> Totals:
        """Return the adapter, without the owners whose tensors do not open."""
        if not files.adapter_id:
            return {}
        with self.reader.chain.at_one_block():
            record = record_of(self.reader, key.number)
        adapter = self.store.view(files.adapter_id, check=False)
        opening = self.store.view(files.opening_id)
        result = accept_files(record, self.parameters, adapter, opening, files.adapter_id)
        if not result.servable:
            raise OpeningMismatch(result.sentence())
        if self.parameters.server == FedAvg():
            return result.served(decode(adapter))
        terms = terms_of(self.reader, record.entries)
        return served_of(self.parameters, terms, self.store.load)

    def published(self, artifact_id: str) -> Mapping[str, NDArray[Any]]:
        """Return an artifact of the store."""
        return self.store.load(artifact_id)


@dataclass(frozen=True)
class NodeSource:
    """The models that an organization's node has adopted. The node has checked it against the chain.

    Attributes:
        reader: The consortium's public record.
        parameters: The agreed parameters.
        store: The node's own store.
        journal: The node's journal.
    """

    reader: ConsortiumReader
    parameters: ConsortiumParameters
    store: ArtifactStore
    journal: Journal

    @classmethod
    def open(cls, config: NodeConfig) -> NodeSource:
        """Open what a node's TOML file names, for reading.

        Raises:
            FilesMissing: The node has not run yet.
            ChainUnavailable: The chain does not answer.
        """
        folder = config.node.state_dir
        if not (folder / "store").is_dir():
            raise FilesMissing(f"{folder} has no models: the node has not run yet. Start it first.")
        store = ArtifactStore(folder / "store")
        reader = open_consortium(config.chain)
        return cls(reader, agreed(reader, store), store, open_journal(folder))

    def files(self, key: ModelKey) -> Files:
        """Return the files that the node has adopted."""
        if not key.number:
            return Files("")
        fact = AdoptedModel.load(self.journal, key.number)
        if fact is None or fact.commitments != key.commitments:
            raise FilesMissing(f"The node has not adopted model {key.number} yet. Does it run?")
        return Files(fact.adapter_id, fact.opening_id, fact.left_out)

    def totals(self, key: ModelKey, files: Files) -> Totals:
        """Return the adapter, without the owners that the node leaves out."""
        if not files.adapter_id:
            return {}
        if self.parameters.server == FedAvg():
            tensors = self.store.load(files.adapter_id)
            return {n: v for n, v in tensors.items() if split_owner(n)[0] not in files.left_out}
        with self.reader.chain.at_one_block():
            groups = entries_by_round(self.reader.content(key.number))
        sums = [self._sum(number, entries) for number, entries in groups.items()]
        counters = add_totals(each.aggregate for each in sums if not each.round_id)
        return served(self.parameters, [each for each in sums if each.round_id], counters)

    def published(self, artifact_id: str) -> Mapping[str, NDArray[Any]]:
        """Return an artifact that the node has fetched."""
        return self.store.load(artifact_id)

    def _sum(self, round_id: int, entries: tuple[Entry, ...]) -> RoundSum:
        """Return the sum of one round, which the node checked before it trained on it."""
        fact = CheckedSum.find(self.journal, entries_key(entries))
        if fact is None:
            raise StoreMissing(
                f"The node has not fetched the sum of round {round_id}, which the agreed server "
                "optimizer needs to compute the model. The node fetches the sum when it trains the "
                "next round; until then serve the aggregator's store."
            )
        organizations = tuple(entry.organization for entry in entries)
        return RoundSum(round_id, organizations, self.store.load(fact.artifact))


def agreed(reader: ConsortiumReader, store: ArtifactStore) -> ConsortiumParameters:
    """Return the agreed parameters from a store, by the id that the chain has.

    Raises:
        StoreMissing: They are not in the store.
        RulesNotServed: The contracts take contributions of another kind.
    """
    agreed_id = reader.settings().parameters_id
    if not store.has(agreed_id):
        raise StoreMissing(
            f"The agreed parameters {agreed_id} are not in the store. Use the aggregator's store, "
            "or pass --parameters FILE."
        )
    return _checked(reader, store.get(agreed_id), "the store")


def read_parameters(reader: ConsortiumReader, path: Path) -> ConsortiumParameters:
    """Return the agreed parameters from a file.

    Raises:
        ConfigError: The file cannot be read, or the chain has other parameters.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    return _checked(reader, data, str(path))


def _checked(reader: ConsortiumReader, data: bytes, place: str) -> ConsortiumParameters:
    settings, parameters = reader.settings(), ConsortiumParameters.parse(data)
    if parameters.id != settings.parameters_id:
        raise ConfigError(
            f"The parameters in {place} have id {parameters.id}, but the chain has "
            f"{settings.parameters_id}. Use the consortium's file, unchanged."
        )
    check_rules(settings, parameters)
    return parameters
