"""Evidence of an answer: what was considered, how each scored, and why a block or head answered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rescind.training.routers.router import Choice, Router
from rescind.training.skills import SkillAnswer

ONE_ADAPTER = "The model is one shared adapter, which answers every question."
NO_BLOCKS = "The model holds no block, so the base model answers."
GUARDED = "The guard refused the question, so no block's answer was used."
MOST_LABELS = 5
"""So many of a head's labels are shown."""


@dataclass(frozen=True)
class Evidence:
    """The reason for an answer.

    Attributes:
        router: The router's name, None if no router was asked.
        measure: The meaning of the scores, with their unit.
        choice: What the router chose, with each block's score and the threshold.
        reason: The reason, where no router was asked; otherwise `explain` works it out.
        head: What the head answered, where one did.
    """

    router: str | None
    measure: str
    choice: Choice
    reason: str = ""
    head: SkillAnswer | None = None

    @classmethod
    def of_head(cls, answer: SkillAnswer) -> Evidence:
        """Return the evidence of a head's answer, for which no router was asked."""
        return cls(None, "", Choice(None, {}), answer.reason, answer)

    @classmethod
    def of(cls, router: Router, choice: Choice) -> Evidence:
        """Return the evidence of a router's choice."""
        return cls(router.name, router.measure, choice, "" if choice.scores else NO_BLOCKS)

    @classmethod
    def guarded(cls) -> Evidence:
        """Return the evidence of a refusal by a guard, which shows no score."""
        return cls(None, "", Choice(None, {}), GUARDED)

    @property
    def is_guarded(self) -> bool:
        """True for a refusal of a guard."""
        return self.reason == GUARDED

    def without(self, organizations: Collection[str]) -> Evidence:
        """Return the evidence without the scores of some organizations."""
        scores = {n: v for n, v in self.choice.scores.items() if n not in organizations}
        return replace(self, choice=replace(self.choice, scores=scores))

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """The blocks that were considered with their scores, the best first."""
        return sorted(self.choice.scores.items(), key=lambda item: (-item[1], item[0]))

    def explain(self, names: Mapping[str, str]) -> str:
        """Return the reason as a sentence.

        Args:
            names: The organizations' names by lowercase address.
        """
        if self.reason or not self.ranked:
            return self.reason or NO_BLOCKS
        best, score = self.ranked[0]
        least = self.choice.threshold
        called = names.get(best, best)
        if self.choice.organization is None:
            return (
                f"No block exceeds the threshold of {least or 0.0:.2f}. The best, {called}, scores "
                f"{score:.2f}."
            )
        ahead = (
            f"; the next block scores {score - self.ranked[1][1]:.2f} less"
            if len(self.ranked) > 1
            else ""
        )
        above = "" if least is None else f", {score - least:.2f} above the threshold of {least:.2f}"
        return f"{called} has the best score, {score:.2f}{above}{ahead}."

    def to_dict(self, names: Mapping[str, str]) -> dict[str, Any]:
        """Return the evidence as JSON.

        Args:
            names: The organizations' names by lowercase address.
        """
        blocks = [
            {
                "organization": names.get(owner, owner),
                "address": owner,
                "score": score,
                "above_threshold": (
                    None if self.choice.threshold is None else score - self.choice.threshold
                ),
                "answered": owner == self.choice.organization,
            }
            for owner, score in self.ranked
        ]
        return {
            "router": self.router,
            "measure": self.measure,
            "blocks": blocks,
            "threshold": self.choice.threshold,
            "threshold_rule": self.choice.rule,
            "base_loss_nats": self.choice.base_loss,
            "head": head_facts(self.head) if self.head else None,
            "reason": self.explain(names),
        }


def head_facts(answer: SkillAnswer) -> dict[str, Any]:
    """Return what a head's answer rests on, as JSON, with the scores of the best labels."""
    ranked = sorted(answer.scores.items(), key=lambda item: (-item[1], item[0] != answer.label))
    return {
        "task": answer.task,
        "rows": answer.rows,
        "margin": answer.margin,
        "labels": [
            {"label": label, "score": score, "answered": label == answer.label}
            for label, score in ranked[:MOST_LABELS]
        ],
        "labels_with_rows": len(answer.scores),
    }
