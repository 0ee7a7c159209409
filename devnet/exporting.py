"""Export of the model of a run: one block, or every block, in any of the formats; and its heads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from rescind.contracts import Deployment
from rescind.core import SHARED, STATISTICS, blocks_of
from rescind.core.errors import ConfigError
from rescind.devnet.adapters import served_model
from rescind.devnet.layout import RunFacts, RunFolder
from rescind.devnet.serving import ServedModel, model_before, newest_model
from rescind.training.export.adapter import block_tensors, write_peft
from rescind.training.export.folder import check_target
from rescind.training.export.gguf_adapter import write_gguf
from rescind.training.export.heads import write_heads
from rescind.training.export.merged import MergedDtype, write_merged
from rescind.training.export.origin import Origin
from rescind.training.export.reference import BaseReference
from rescind.training.export.source import Source
from rescind.training.serving.heads import skills_of

Format = Literal["peft", "merged", "gguf"]
FORMATS: tuple[Format, ...] = get_args(Format)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*")


@dataclass(frozen=True)
class Written:
    """An export that was written.

    Attributes:
        format: The format.
        organization: The owner's name, or "shared" for the shared adapter.
        model: Number of the model on chain.
        folder: The folder.
    """

    format: Format
    organization: str
    model: int
    folder: Path


@dataclass(frozen=True)
class WrittenHead:
    """A head that was written.

    Attributes:
        task: Its task.
        head: The SHA-256 that certificates name it by.
        model: Number of the model on chain.
        file: The file.
    """

    task: str
    head: str
    model: int
    file: Path


@dataclass(frozen=True)
class RunExporter:
    """The model of a run, ready to be exported.

    Attributes:
        run: The run's folder.
        facts: The run's facts.
        served: What says whether the model may still be exported.
        source: The base model and what the consortium agreed on.
        totals: The adapter as integer tensors by name.
    """

    run: RunFolder
    facts: RunFacts
    served: ServedModel
    source: Source
    totals: Mapping[str, Any]

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        before: bool = False,
        reference: BaseReference | None = None,
        remote_code: bool = False,
    ) -> Self:
        """Read the model of a run.

        Args:
            path: The folder of a run.
            before: Take the model before the removal instead of the newest one, which is in use.
            reference: The base model's name for other machines. By default it follows from the run.
            remote_code: Let Python files of the base model's folder run.

        Raises:
            ConfigError: `path` is not the folder of a run, or the model holds nothing to export.
            NotServed: The newest model is not in use.
            ChainUnavailable: The run's chain does not answer.
            StoreError: An artifact of the model was changed.
            WrongBaseModel: The base model's files are not those that the consortium agreed on.
        """
        run = RunFolder.find(path)
        facts = run.facts()
        parameters = run.agreed()
        served = (model_before if before else newest_model)(run, parameters)
        totals = (
            served.load()
            if served.load is not None
            else served_model(run, parameters, served.adapter_id, served.terms)
        )
        if not totals:
            raise ConfigError(
                f"Model {served.model_id} of this run is the base model alone, without a block. "
                "Export once a round is final."
            )
        contracts = run.contracts.read_text(encoding="utf-8")
        source = Source.open(
            parameters,
            facts.model,
            reference=reference,
            contracts=contracts,
            remote_code=remote_code,
            dtype=facts.dtype,
        )
        return cls(run, facts, served, source, totals)

    @property
    def names(self) -> dict[str, str]:
        """The names of all owners of a block, by owner: in the order of the names, addresses last."""
        named = {address.lower(): name for name, address in self.facts.organizations.items()}
        names = {
            owner: "shared" if owner == SHARED else named.get(owner, owner)
            for owner in blocks_of(self.totals)
        }
        # People read these, and addresses are in no order that means anything.
        return dict(sorted(names.items(), key=lambda item: (item[0] == item[1], item[1])))

    def owner(self, organization: str | None) -> str:
        """Return the owner of the block of an organization.

        Args:
            organization: A name or an address. None where there is one adapter for all.

        Raises:
            ConfigError: The organization has no block in this model.
        """
        names = self.names
        if list(names) == [SHARED]:
            if organization is None:
                return SHARED
            raise ConfigError(
                "This model is one adapter that all organizations share. Leave out --organization."
            )
        wanted = (organization or "").strip()
        for owner, name in names.items():
            if wanted and (wanted == name or wanted.lower() == owner):
                return owner
        choices = ", ".join(names.values())
        if organization is None:
            raise ConfigError(
                f"Choose a block with --organization, one of {choices}; or all with --all."
            )
        raise ConfigError(f"--organization {organization}: no such block. Choose one of {choices}.")

    def write(
        self,
        wanted: Mapping[Format, Path],
        chosen: Sequence[str],
        *,
        each_in_own_folder: bool,
        dtype: MergedDtype = "float32",
    ) -> list[Written]:
        """Write blocks in formats. Nothing is written unless every folder may be written.

        Args:
            wanted: The folder of each format.
            chosen: The owners of the blocks.
            each_in_own_folder: Write each block into a folder of its own, in the format's folder.
            dtype: The type of merged weights.

        Raises:
            ConfigError: A folder holds something else, or may not be written.
            StoreFull: The disk is full.
            TrainingError: The block cannot be written in a format.
            RescindError: The model may not be used any more; as `ServedModel.check`.
        """
        exports = [
            Written(kind, self.names[owner], self.served.model_id, folder)
            for kind, top in wanted.items()
            for owner in chosen
            for folder in [top / self._folder_name(owner) if each_in_own_folder else top]
        ]
        order = [owner for _ in wanted for owner in chosen]
        for export, owner in zip(exports, order, strict=True):
            check_target(export.folder, {"kind": export.format, "owner": owner})
        for export, owner in zip(exports, order, strict=True):
            self.served.check()
            self._write_one(export, owner, dtype)
        return exports

    def write_heads(self, folder: Path) -> list[WrittenHead]:
        """Write the heads of the model.

        Args:
            folder: The folder.

        Raises:
            ConfigError: The model has no head, or the folder holds something else.
            StoreFull: The disk is full.
            RescindError: The model may not be used any more; as `ServedModel.check`.
        """
        skills = skills_of(self.source.parameters, self.totals, self.served.members)
        if skills is None or not skills.head_ids:
            raise ConfigError(
                f"Model {self.served.model_id} has no head: "
                + (
                    "no organization has contributed statistics of rows to it."
                    if self.source.parameters.statistics
                    else "this consortium has not agreed on statistics."
                )
            )
        self.served.check()
        files = write_heads(self.source, self.origin(STATISTICS), skills, folder)
        ids = skills.head_ids
        return [
            WrittenHead(task, ids[task], self.served.model_id, file) for task, file in files.items()
        ]

    def _write_one(self, export: Written, owner: str, dtype: MergedDtype) -> None:
        tensors = block_tensors(self.source.parameters, self.totals, owner)
        origin = self.origin(owner)
        if export.format == "peft":
            write_peft(self.source, origin, tensors, export.folder)
        elif export.format == "gguf":
            write_gguf(self.source, origin, tensors, export.folder)
        else:
            write_merged(self.source, origin, tensors, export.folder, dtype=dtype)

    def origin(self, owner: str) -> Origin:
        """Return where a block comes from."""
        deployment = Deployment.load(self.run.contracts)
        return Origin(
            owner=owner,
            organization=self.names.get(owner, ""),
            adapter_id=self.served.adapter_id,
            model_id=self.served.model_id,
            in_use=self.served.consortium is not None,
            chain_id=deployment.chain_id,
            contracts=deployment.addresses(),
        )

    def _folder_name(self, owner: str) -> str:
        name = self.names[owner]
        same = [each for each in self.names.values() if each.lower() == name.lower()]
        return name if _PLAIN_NAME.fullmatch(name) and len(same) == 1 else owner
