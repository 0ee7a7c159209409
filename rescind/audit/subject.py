"""The certificate under check, with the chain and the files that it is checked against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rescind.audit.certificate import Certificate, ModelPart
from rescind.audit.issue import find_withdrawal
from rescind.audit.stores import Stores, read_file
from rescind.contracts import Consortium, ConsortiumReader, Contribution, Entry, Event, Withdrawal
from rescind.core import SHARED, STATISTICS, ConsortiumParameters, Layout
from rescind.withdrawals import Acceptance, accept_files, record_of


@dataclass(frozen=True)
class Inputs:
    """Files that the reader of a certificate has besides the file and a chain.

    Attributes:
        contracts: Their own contracts.json, which says which consortium they mean.
        artifacts: Folders of artifacts.
        adapter: The file of a model that they are served.
        opening: The file of its opening.
        parameters: The file of the agreed parameters.
    """

    contracts: Path | None = None
    artifacts: Sequence[Path] = ()
    adapter: Path | None = None
    opening: Path | None = None
    parameters: Path | None = None


@dataclass
class Subject:
    """The input of every check."""

    certificate: Certificate
    reader: Consortium
    folder: Path
    inputs: Inputs = field(default_factory=Inputs)

    @cached_property
    def view(self) -> ConsortiumReader:
        """The chain at one block, so that all checks see the same state."""
        return self.reader.at(self.reader.chain.final_block_number())

    @cached_property
    def events(self) -> list[Event]:
        """Every event of the contracts."""
        return list(self.view.events())

    @cached_property
    def stores(self) -> Stores:
        """The artifacts at hand."""
        files = (self.inputs.adapter, self.inputs.opening, self.inputs.parameters)
        return Stores(self.inputs.artifacts, [each for each in files if each is not None])

    @cached_property
    def withdrawal(self) -> Withdrawal:
        """The withdrawal on chain."""
        return find_withdrawal(self.view, self.certificate.withdrawal.withdrawal_id)

    @cached_property
    def parameters(self) -> ConsortiumParameters | None:
        """The agreed parameters, or None where they are not at hand."""
        data = self.stores.load(self.certificate.consortium.parameters_id)
        return None if data is None else ConsortiumParameters.parse(bytes(data))

    @cached_property
    def layout(self) -> Layout:
        """The layout: "blocks" if each organization's tensors are its own, else "shared"."""
        return "blocks" if self.certificate.consortium.rules[0] == "block" else "shared"

    def owner_of(self, entry: Entry) -> str:
        """Return the owner of a contribution's tensors in a model."""
        sums = {"share": SHARED, "latest": STATISTICS}
        rule = self.certificate.consortium.rules[entry.part]
        return sums.get(rule, entry.organization.lower())

    @cached_property
    def latest_content(self) -> list[Entry]:
        """The contributions in the latest model, of all parts, as on chain."""
        return self.view.contents(self.certificate.latest.model_id)

    def registered(self, model: ModelPart) -> list[tuple[Entry, Contribution]]:
        """Return each entry of a model, of all parts, with the contribution behind it."""
        entries = self.view.contents(model.model_id)
        return list(zip(entries, self.view.registered(entries), strict=True))

    @cached_property
    def kept(self) -> frozenset[int]:
        """The models that the withdrawal left: its successors, and the latest model."""
        certificate = self.certificate
        return frozenset(
            {each.after.model_id for each in certificate.replaced} | {certificate.latest.model_id}
        )

    def withdrawn(self) -> dict[str, Contribution]:
        """Return the contributions that are only in models from before, by point.

        Daemons erase them once the withdrawal is closed.
        """
        kept: set[str] = set()
        before: dict[str, Contribution] = {}
        for model in self.certificate.models():
            pairs = {entry.point_hash: each for entry, each in self.registered(model)}
            if model.model_id in self.kept:
                kept |= set(pairs)
            else:
                before |= pairs
        return {point: each for point, each in before.items() if point not in kept}

    def name_of(self, organization: str) -> str:
        """Return an organization's name."""
        return self.view.member(organization).name

    @cached_property
    def latest_adapter(self) -> memoryview | None:
        """The adapter that is checked: the one that was given, or else the published one."""
        if self.inputs.adapter is not None:
            return read_file(self.inputs.adapter)
        published = self.certificate.latest.publication
        return None if published is None else self.stores.load(published.adapter_id)

    @cached_property
    def latest_opening(self) -> memoryview | None:
        """The opening that it is checked with: the one that was given, or the published one."""
        if self.inputs.opening is not None:
            return read_file(self.inputs.opening)
        published = self.certificate.latest.publication
        return None if published is None else self.stores.load(published.opening_id)

    @cached_property
    def acceptance(self) -> Acceptance | None:
        """The judgement of the file at hand; None if something that it needs is missing."""
        data, opening, parameters = self.latest_adapter, self.latest_opening, self.parameters
        if data is None or opening is None or parameters is None:
            return None
        record = record_of(self.view, self.certificate.latest.model_id)
        return accept_files(record, parameters, data, opening)
