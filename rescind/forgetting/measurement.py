"""The measurement of a counter-training by an auditor: the guard and the loss attack on the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rescind.core import materialize
from rescind.forgetting.attacks.membership import loss_attack
from rescind.forgetting.attacks.served import Served
from rescind.training import Example, LoraModel
from rescind.unlearning import Problem
from rescind.unlearning.guard import Guard, Limits, auc_error
from rescind.withdrawals import ModelFigures, ModelPair


@dataclass(frozen=True)
class Texts:
    """The pairs that a model is measured on.

    Attributes:
        withdrawn: The pairs that it must forget, at least one.
        kept: Pairs of the organization that it must keep.
        unseen: Pairs of the same kind that no one trained on.
    """

    withdrawn: Sequence[Example]
    kept: Sequence[Example] = ()
    unseen: Sequence[Example] = ()


def measure(model: LoraModel, pair: ModelPair, texts: Texts) -> ModelFigures:
    """Measure a model with and without a counter-delta.

    Args:
        model: The base model with LoRA adapters of the agreed shape.
        pair: The tensors of the model before and after.
        texts: The pairs to measure on.

    Raises:
        DataError: The texts are empty, or overlap.
    """
    parameters = pair.parameters
    start, changed = (
        materialize(totals, parameters.shapes, parameters=parameters, owner=pair.owner)
        for totals in (pair.before, pair.after)
    )
    problem = Problem(
        model=model,
        parameters=parameters,
        owner=pair.owner,
        start=start,
        forget=texts.withdrawn,
        retain=texts.kept,
        seed=0,
        unseen=texts.unseen,
    )
    model.put("before", start)
    guard = Guard(problem, model.use("before"), Limits())
    model.put("after", changed)
    verdict = guard.look(model.use("after"), change_norm=pair.change_norm)
    auc, auc_base, error = _attack(model, parameters.training.max_length, texts)
    return ModelFigures(
        verdict=verdict.state,
        why=verdict.why,
        loss_before=guard.before.figures.forget_loss,
        loss_after=verdict.figures.forget_loss,
        never_taught=guard.before.never_taught,
        withdrawn=len(texts.withdrawn),
        kept=len(texts.kept),
        unseen=len(texts.unseen),
        auc=auc,
        auc_base=auc_base,
        auc_error=error,
    )


def _attack(
    model: LoraModel, max_length: int, texts: Texts
) -> tuple[float | None, float | None, float | None]:
    """Return the loss attack's AUC on the changed model and on the base, and its standard error."""
    if not texts.unseen:
        return None, None, None

    def auc(adapter: str | None) -> float:
        respondent = Served(model, adapter, max_length)
        return loss_attack(respondent, texts.withdrawn, texts.unseen).separations["unseen"].auc

    return auc("after"), auc(None), auc_error(len(texts.withdrawn), len(texts.unseen))
