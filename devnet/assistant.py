"""Load and ask the model of a run, from the run's folder alone."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rescind.audit import read_certificate
from rescind.audit.certificate import ModelPart
from rescind.core import SHARED, ConsortiumParameters, StoreMissing, Term, owners
from rescind.core.errors import ConfigError
from rescind.devnet.layout import RunFacts, RunFolder
from rescind.devnet.outcome import served_model
from rescind.node.facts import open_journal
from rescind.node.withdrawal_facts import own_artifacts
from rescind.training import (
    Assistant,
    LoraModel,
    export_peft,
    load_base,
)
from rescind.training.serving.suppression import (
    Names,
    Stage,
    Standing,
    SuppressedAssistant,
    Suppression,
)


@dataclass(frozen=True)
class RunAssistant:
    """The model of a run, ready to answer.

    Attributes:
        assistant: The model.
        totals: The adapter that it serves, as integer tensors by name.
        facts: The run's facts.
        adapter_id: The published adapter that it was made of.
        guarded: The assistant behind a guard, or None if nothing is suppressed.
    """

    assistant: Assistant
    totals: dict[str, Any]
    facts: RunFacts
    adapter_id: str = ""
    guarded: SuppressedAssistant | None = None

    @classmethod
    def load(cls, path: Path, *, before: bool, suppress: Sequence[str] = ()) -> Self:
        """Load a run's model.

        Args:
            path: The folder of a run.
            before: Load the model before the removal instead of the one after it.
            suppress: Organizations of the run, or names of data subjects. A guard in front of the
                model refuses questions about them.

        Raises:
            ConfigError: `path` is not the folder of a run.
            StoreError: An artifact of the model is missing or was changed.
        """
        run = RunFolder.find(path)
        facts, certificate = run.facts(), read_certificate(run.certificate)
        part = certificate.replaced[-1].before if before else certificate.latest
        adapter_id = part.publication.adapter_id if part.publication else ""
        parameters = ConsortiumParameters.parse(run.parameters.read_bytes())
        base = load_base(facts.model, parameters.base_model_id)
        try:
            totals = served_model(run, parameters, adapter_id, _terms(run, facts, part))
        except StoreMissing as error:
            if not before:
                raise
            raise ConfigError(
                f"The model before the withdrawal, model {part.model_id}, was erased when the "
                "withdrawal was closed. Ask the model after it, without --before-withdrawal."
            ) from error
        assistant = Assistant(LoraModel(base, parameters.lora), parameters, totals)
        guarded = (
            SuppressedAssistant(assistant, _suppression(facts, suppress)) if suppress else None
        )
        return cls(assistant, totals, facts, adapter_id, guarded)

    @property
    def stage(self) -> str:
        """Say that the guard suppresses and does not erase. Empty without a guard."""
        return str(Standing(Stage.SUPPRESSED)) if self.guarded else ""

    def ask(self, question: str) -> tuple[str, str]:
        """Return the answer and a description of the block that gave it."""
        answer = (self.guarded or self.assistant).ask(question)
        if self.guarded and not answer.gains and answer.organization is None:
            return answer.text, "the guard"
        return answer.text, self._name(answer.organization)

    def export(self, organization: str | None, out: Path) -> str:
        """Write a block as a peft folder and return a description of it.

        Raises:
            ConfigError: The organization has no block in this model.
        """
        held = owners(self.totals)
        addresses = {name: address.lower() for name, address in self.facts.organizations.items()}
        wanted = SHARED if held == [SHARED] else addresses.get(organization or "", "")
        if wanted not in held:
            names = [name for name, address in addresses.items() if address in held]
            raise ConfigError(
                f"--organization {organization}: no such block. Choose one of {', '.join(names)}."
            )
        export_peft(
            self.assistant.parameters, self.totals, wanted, self.facts.model, out, self.adapter_id
        )
        return "the shared adapter" if wanted == SHARED else f"{organization}'s block"

    def _name(self, address: str | None) -> str:
        if address is None:
            return "the shared adapter" if self.assistant.blocks == (SHARED,) else "the base model"
        names = {value.lower(): name for name, value in self.facts.organizations.items()}
        return f"{names.get(address, address)}'s block"


def _terms(run: RunFolder, facts: RunFacts, model: ModelPart) -> list[Term]:
    """Return a model's terms; the nodes' journals name the artifact of each point."""
    artifacts: dict[str, str] = {}
    for name in facts.organizations:
        artifacts |= own_artifacts(open_journal(run.node_state(name)))
    return [
        Term(each.round_id, each.organization, artifacts[each.point_hash], each.weight)
        for each in model.content[0]
    ]


def _suppression(facts: RunFacts, suppress: Sequence[str]) -> Suppression:
    withdrawn = {facts.organizations[name] for name in suppress if name in facts.organizations}
    names = Names(secrets.token_bytes(16))
    for name in suppress:
        if name not in facts.organizations:
            names = names.including(name)
    return Suppression(names if names.hidden else None, None, frozenset(withdrawn))
