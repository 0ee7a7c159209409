"""The model of a run, from its folder alone."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rescind.audit import read_certificate
from rescind.core import SHARED, ConsortiumParameters, owners
from rescind.core.errors import ConfigError
from rescind.devnet.layout import RunFacts, RunFolder
from rescind.devnet.outcome import served_model
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
    """`guarded`: the assistant behind a guard, where something is suppressed."""

    assistant: Assistant
    totals: dict[str, Any]
    facts: RunFacts
    guarded: SuppressedAssistant | None = None

    @classmethod
    def load(cls, path: Path, *, before: bool, suppress: Sequence[str] = ()) -> Self:
        """The model after the run's removal, or before it. `suppress`: organizations of the run, and
        data subjects by name, that a guard in front of the model keeps it from answering about.

        Raises ConfigError, StoreError.
        """
        run = RunFolder.find(path)
        facts, certificate = run.facts(), read_certificate(run.certificate)
        part = certificate.replaced[-1].before if before else certificate.latest
        parameters = ConsortiumParameters.parse(run.parameters.read_bytes())
        base = load_base(facts.model, parameters.base_model_id)
        terms = [it.term() for it in part.terms]
        totals = served_model(run, parameters, part.adapter_id, terms)
        assistant = Assistant(LoraModel(base, parameters.lora), parameters, totals)
        guarded = (
            SuppressedAssistant(assistant, _suppression(facts, suppress)) if suppress else None
        )
        return cls(assistant, totals, facts, guarded)

    @property
    def stage(self) -> str:
        """What the guard in front of the model stands for, or nothing without one."""
        return str(Standing(Stage.SUPPRESSED)) if self.guarded else ""

    def ask(self, question: str) -> tuple[str, str]:
        """The answer, and whose block gave it."""
        found = (self.guarded or self.assistant).ask(question)
        if self.guarded and not found.gains and found.organization is None:
            return found.text, "the guard"
        return found.text, self._name(found.organization)

    def export(self, organization: str | None, out: Path) -> str:
        """Write a block for peft; returns what was written."""
        held = owners(self.totals)
        addresses = {name: address.lower() for name, address in self.facts.organizations.items()}
        wanted = SHARED if held == [SHARED] else addresses.get(organization or "", "")
        if wanted not in held:
            names = [name for name, address in addresses.items() if address in held]
            raise ConfigError(f"--organization {organization}: one of {', '.join(names)}")
        export_peft(self.assistant.parameters, self.totals, wanted, self.facts.model, out)
        return "the shared adapter" if wanted == SHARED else f"{organization}'s block"

    def _name(self, address: str | None) -> str:
        if address is None:
            return "the shared adapter" if self.assistant.blocks == (SHARED,) else "the base model"
        names = {value.lower(): name for name, value in self.facts.organizations.items()}
        return f"{names.get(address, address)}'s block"


def _suppression(facts: RunFacts, suppress: Sequence[str]) -> Suppression:
    gone = {facts.organizations[name] for name in suppress if name in facts.organizations}
    names = Names(secrets.token_bytes(16))
    for name in suppress:
        if name not in facts.organizations:
            names = names.including(name)
    return Suppression(names if names.hidden else None, None, frozenset(gone))
