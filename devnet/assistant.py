"""Load and ask the model of a run."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from rescind.core import SHARED, ConsortiumParameters, Totals
from rescind.core.parameters import reference_of
from rescind.devnet.adapters import served_model
from rescind.devnet.layout import RunFacts, RunFolder
from rescind.devnet.serving import ServedModel, model_before, newest_model
from rescind.training import (
    Answer,
    Assistant,
    LoraModel,
    load_agreed,
)
from rescind.training.routers import agreed_router
from rescind.training.serving.evidence import Evidence
from rescind.training.serving.heads import skills_of
from rescind.training.serving.suppression import (
    Names,
    Stage,
    Standing,
    SuppressedAssistant,
    Suppression,
)


@dataclass(frozen=True)
class Reply:
    """An answer of a run's model.

    Attributes:
        text: The answer.
        by: A description of the block or head that gave it.
        evidence: Why that block or head answered.
    """

    text: str
    by: str
    evidence: Evidence


@dataclass(frozen=True)
class RunAssistant:
    """The model of a run, ready to answer.

    Attributes:
        assistant: The model.
        totals: The adapter that it serves, as integer tensors by name.
        facts: The run's facts.
        served: What says whether the model may still answer.
        guarded: The assistant behind a guard, or None if nothing is suppressed.
    """

    assistant: Assistant
    totals: dict[str, Any]
    facts: RunFacts
    served: ServedModel
    guarded: SuppressedAssistant | None = None

    @classmethod
    def load(cls, path: Path, *, before: bool, suppress: Sequence[str] = ()) -> Self:
        """Load a run's model.

        Args:
            path: The folder of a run.
            before: Load the model before the removal instead of the newest one.
            suppress: Organizations of the run, or names of data subjects. A guard in front of the
                model refuses questions about them.

        Raises:
            ConfigError: `path` is not the folder of a run, or the model before was erased.
            NotServed: The newest model may not be served.
            ChainUnavailable: The run's chain does not answer.
            StoreError: An artifact of the model was changed.
        """
        run = RunFolder.find(path)
        facts = run.facts()
        parameters = run.agreed()
        served = (model_before if before else newest_model)(run, parameters)
        totals: dict[str, Any] = dict(
            served.load()
            if served.load is not None
            else served_model(run, parameters, served.adapter_id, served.terms)
        )
        model = load_agreed(facts.model, parameters, dtype=facts.dtype)
        assistant = assistant_of(model, parameters, totals, served.members, served.published)
        guarded = (
            SuppressedAssistant(assistant, _suppression(facts, suppress)) if suppress else None
        )
        return cls(assistant, totals, facts, served, guarded)

    @property
    def stage(self) -> str:
        """Say that the guard suppresses and does not erase. Empty without a guard."""
        return str(Standing(Stage.SUPPRESSED)) if self.guarded else ""

    @property
    def prompts(self) -> list[str]:
        """The forms of questions that heads answer, with {text} for what they are about."""
        skills = self.assistant.skills
        return [each.task.prompt for each in skills.skills.values() if each.head] if skills else []

    @property
    def has_shared_ranks(self) -> bool:
        """True if ranks that all share answer where no block does; a block must beat them, too."""
        return self.assistant.split is not None

    @property
    def names(self) -> dict[str, str]:
        """The organizations' names by lowercase address."""
        return {address.lower(): name for name, address in self.facts.organizations.items()}

    def ask(self, question: str) -> tuple[str, str]:
        """Return the answer and a description of the block or head that gave it.

        Raises:
            RescindError: The model may not be served any more; as `ServedModel.check`.
        """
        reply = self.reply(question)
        return reply.text, reply.by

    def reply(self, question: str) -> Reply:
        """Return the answer with the reason why its block or head gave it.

        Raises:
            RescindError: The model may not be served any more; as `ServedModel.check`.
        """
        self.served.check()
        answer = (self.guarded or self.assistant).ask(question)
        evidence = answer.evidence or Evidence.guarded()
        by = "the guard" if evidence.is_guarded else self._name(answer)
        return Reply(answer.text, by, evidence)

    def _name(self, answer: Answer) -> str:
        if answer.task is not None:
            return f"the head of task {answer.task}"
        address = answer.organization
        if address is None and self.has_shared_ranks:
            return "the shared ranks alone"
        if address is None:
            return "the shared adapter" if self.assistant.blocks == (SHARED,) else "the base model"
        return f"{self.names.get(address, address)}'s block"


def assistant_of(
    model: LoraModel,
    parameters: ConsortiumParameters,
    totals: Totals,
    members: Mapping[str, int] | None,
    published: Callable[[str], Mapping[str, NDArray[Any]]] | None,
) -> Assistant:
    """Return a model with its heads and its agreed router.

    Args:
        model: The base model.
        parameters: What the consortium agreed on.
        totals: The adapter as integer tensors by name.
        members: What `members_in_sum` says.
        published: Returns an artifact that members agreed on. Without it the likelihood router
            chooses.
    """
    reference, router = reference_of(parameters), None
    if reference and published is not None:
        router = agreed_router(parameters, totals, members or {}, published(reference))
    skills = skills_of(parameters, totals, members)
    return Assistant(model, parameters, totals, router=router, skills=skills)


def _suppression(facts: RunFacts, suppress: Sequence[str]) -> Suppression:
    withdrawn = {facts.organizations[name] for name in suppress if name in facts.organizations}
    names = Names(secrets.token_bytes(16))
    for name in suppress:
        if name not in facts.organizations:
            names = names.including(name)
    return Suppression(names if names.hidden else None, None, frozenset(withdrawn))
