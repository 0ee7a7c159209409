"""An auditor measures a counter-training on the model, not by its maker's word."""

import numpy as np
import pytest

from rescind.core import WEIGHT_ONE, FloatTensors, Totals, quantize
from rescind.forgetting.measurement import Texts, measure
from rescind.withdrawals import ModelFigures, ModelPair
from tests.support.attacked_model import ME, Case, case

pytestmark = [pytest.mark.slow, pytest.mark.trains]


def totals_of(trained: Case, tensors: FloatTensors) -> Totals:
    """Return the sum that materializes as tensors, rounded as a delta is."""
    parameters = trained.block.parameters
    change = {name: tensors[name].astype(np.float64) - trained.start[name] for name in tensors}
    limits = {"fraction_bits": parameters.fraction_bits, "clip_norm": parameters.clip_norm}
    delta = quantize(change, None, **limits).delta
    return {name: value.astype(np.int64) * WEIGHT_ONE for name, value in delta.items()}


def measured(before: FloatTensors, after: Totals | FloatTensors) -> ModelFigures:
    trained = case()
    totals = totals_of(trained, before)
    changed = after if next(iter(after.values())).dtype == np.int64 else totals_of(trained, after)
    pair = ModelPair(trained.block.parameters, ME, totals, changed, 1.0)
    return measure(trained.model, pair, Texts(trained.forget, trained.retain, trained.unseen))


def test_a_counter_delta_of_norm_one_forgets_nothing_whatever_its_maker_says() -> None:
    trained = case()
    totals = totals_of(trained, trained.block.original)
    nearly = {name: value.copy() for name, value in totals.items()}
    next(iter(nearly.values())).flat[0] += WEIGHT_ONE
    figures = measured(trained.block.original, nearly)
    assert figures.verdict == "ok", "the guard is against forgetting too much"
    assert figures.known > 0.5
    assert abs(figures.forgotten) < 0.01
    assert figures.auc is not None
    assert figures.auc_base is not None
    assert figures.auc > figures.auc_base + 0.2


def test_a_model_that_was_never_taught_the_texts_shows_no_membership() -> None:
    trained = case()
    figures = measured(trained.block.original, trained.block.replay)
    assert figures.verdict == "ok"
    assert figures.forgotten > 0.5
    assert figures.auc is not None
    assert figures.auc_base is not None
    assert figures.auc_error is not None
    assert figures.auc < max(0.5, figures.auc_base) + max(0.2, 2 * figures.auc_error)
