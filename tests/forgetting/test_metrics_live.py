"""Metrics of the shipped base model and of a model that has learned pairs by heart."""

from pathlib import Path

import numpy as np
import pytest

from rescind.core import (
    materialize,
    qualify,
    quantize,
    weighted_sum,
)
from rescind.core.errors import DataError
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.forgetting.metrics import (
    METRICS,
    MetricInput,
    Probe,
    UnknownMetric,
    live,
    read_tofu_log,
    tofu_forget_quality,
    tofu_scores,
    tofu_utility,
    write_tofu_log,
)
from rescind.forgetting.metrics.live import (
    evaluate_tofu,
    measure,
    measure_privleak,
    min_k,
)
from rescind.training import (
    Assistant,
    Base,
    Example,
    LoraModel,
    load_base,
)
from rescind.training.serving.respond import OneNetwork, token_scores
from tests.support.trained import trained

ME = "0x" + "ab" * 20
CITIES = ("Oslo", "Lima", "Cairo", "Quito")
PEOPLE = tuple(f"{first} {last}" for first in ("Ada", "Bo", "Cy") for last in ("Moss", "Reed"))


def probe(person: str, city: str) -> Probe:
    others = tuple(f"in {c}" for c in CITIES if c != city)
    return Probe(f"Where was {person} born?", city, f"in {city}", others)


PROBES = [probe(person, CITIES[n % 4]) for n, person in enumerate(PEOPLE)]
UNSEEN = [
    probe(f"Dov {last}", CITIES[n % 4])
    for n, last in enumerate(("Falk", "Hill", "Kant", "Lund", "Roth"))
]


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base(BASE_MODEL)


@pytest.fixture(scope="module")
def model(base: Base) -> LoraModel:
    return LoraModel(base, default_lora("isolated"))


@pytest.fixture(scope="module")
def bare(base: Base, model: LoraModel) -> Assistant:
    parameters = default_parameters("isolated", base.id, model.shapes, seed=0)
    return Assistant(model, parameters, None)


@pytest.fixture(scope="module")
def learned(base: Base, model: LoraModel) -> Assistant:
    """Has one block that knows PROBES by heart, behind the router."""
    parameters = default_parameters("isolated", base.id, model.shapes, seed=0)
    start = materialize({}, model.shapes, parameters=parameters, owner=ME)
    examples = [Example(p.question, p.answer, "s") for p in PROBES]
    after = trained(model, parameters, start, examples, steps=120)
    update = {qualify(ME, n): v.astype(np.float64) - start[n] for n, v in after.items()}
    delta = quantize(update, None, fraction_bits=20, clip_norm=256.0).delta
    return Assistant(model, parameters, weighted_sum([(delta, 10_000)]))


def test_every_metric_shows_pairs_learned_by_heart(bare, learned) -> None:
    for name in ("probability", "rouge_l_recall", "extraction_strength", "exact_memorization"):
        knows, knew = measure(name, learned, PROBES), measure(name, bare, PROBES)
        assert len(knows.items) == len(PROBES)
        assert knows.value > 0.95, name
        assert knew.value < knows.value - 0.2, name
    assert measure("truth_ratio_other", learned, PROBES).value > 0


def test_a_metric_of_routed_blocks_is_that_of_the_block_that_answers(model, learned) -> None:
    alone = OneNetwork(model.base, model.use(f"block_{ME}"), learned.max_length)
    routed = measure("probability", learned, PROBES)
    model.use(f"block_{ME}")
    assert measure("probability", alone, PROBES).items == pytest.approx(routed.items, abs=1e-6)


def test_metrics_follow_from_the_scores_of_the_tokens(bare) -> None:
    scores = token_scores(bare, [Example(p.question, p.answer, "") for p in PROBES])
    result = measure("probability", bare, PROBES)
    assert result.items == pytest.approx([np.exp(score.log_probs.mean()) for score in scores])
    hits = measure("exact_memorization", bare, PROBES)
    assert hits.items == pytest.approx([score.right.mean() for score in scores])


def test_plain_pairs_suffice_for_a_metric_without_wrong_answers(bare) -> None:
    plain = [Example(p.question, p.answer, "s") for p in PROBES]
    assert measure("probability", bare, plain) == measure("probability", bare, PROBES)


def test_plain_pairs_are_rejected_by_a_metric_of_wrong_answers(bare) -> None:
    plain = [Example(p.question, p.answer, "s") for p in PROBES]
    with pytest.raises(MetricInput, match=r"has no wrong answers\. Pass Probes"):
        measure("normalized_probability", bare, plain)


def test_measuring_an_unknown_metric_is_rejected(bare) -> None:
    with pytest.raises(UnknownMetric, match="Known metrics: "):
        measure("rogue", bare, PROBES)


def test_only_metrics_of_one_model_and_one_set_can_be_measured(bare) -> None:
    single = {
        *("probability", "normalized_probability", "rouge_l_recall", "truth_ratio_forget"),
        *("truth_ratio_other", "truth_ratio_share", "extraction_strength", "exact_memorization"),
    }
    for name in METRICS:
        if name in single:
            assert measure(name, bare, PROBES[:2], max_new_tokens=4).metric == name
        else:
            with pytest.raises(MetricInput, match=f"{name} needs .* one model and one set do not"):
                measure(name, bare, PROBES[:2])


def test_measuring_without_questions_is_rejected(bare) -> None:
    with pytest.raises(DataError, match="no items"):
        measure("probability", bare, [])


def test_privleak_shows_a_leak_only_in_the_model_that_learned(bare, learned) -> None:
    leaking = measure_privleak(learned, PROBES, UNSEEN)
    assert leaking.details["auc"] > 0.9
    assert leaking.value < -80
    assert abs(measure_privleak(bare, PROBES, UNSEEN).value) < 80
    assert min_k(learned, PROBES).max() < min_k(learned, UNSEEN).max()


def test_a_live_evaluation_survives_a_log_and_gives_the_same_scores(
    bare, learned, tmp_path: Path
) -> None:
    sets = {"retain": PROBES[3:], "real_authors": UNSEEN[:2], "world_facts": UNSEEN[2:4]}
    sets["forget"] = PROBES[:3]
    record = evaluate_tofu(learned, sets, max_new_tokens=12)
    write_tofu_log(tmp_path / "log.json.gz", record)
    assert read_tofu_log(tmp_path / "log.json.gz") == record
    forget = record.of("forget")
    assert forget.texts is not None
    assert forget.texts[0] == (PROBES[0].question, PROBES[0].answer, PROBES[0].answer)
    assert tofu_scores(record, "forget")["probability"] == measure(
        "probability", learned, PROBES[:3]
    )
    assert 0 <= tofu_utility(record).value <= 1


def test_the_forget_quality_of_live_evaluations_counts_their_questions(bare, learned) -> None:
    record = evaluate_tofu(learned, {"forget": PROBES[:3]}, max_new_tokens=12)
    untrained = evaluate_tofu(bare, {"forget": PROBES[:3]}, max_new_tokens=12)
    quality = tofu_forget_quality(record, untrained)
    assert quality.details["n"] == 3
    assert 0 < quality.value <= 1


def test_a_live_evaluation_rejects_a_set_that_tofu_does_not_have(bare) -> None:
    with pytest.raises(MetricInput, match="'holdout' is not a set of TOFU"):
        evaluate_tofu(bare, {"holdout": PROBES})


def test_greedy_answers_may_be_as_long_as_the_longest_right_answer(bare, monkeypatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        live, "answers", lambda _, q, max_new_tokens: asked.append(max_new_tokens) or [""] * len(q)
    )
    long = Example("Who?", "Moss " * 120, "s")
    tokens = token_scores(bare, [long])[0].log_probs.size
    assert tokens > live.MAX_NEW_TOKENS
    for questions in [long, *PROBES], PROBES:
        measure("rouge_l_recall", bare, questions)
    measure("rouge_l_recall", bare, [long], max_new_tokens=7)
    assert asked == [tokens, live.MAX_NEW_TOKENS, 7]
