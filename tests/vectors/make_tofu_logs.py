"""Writes tofu_logs.json: two made-up evaluation logs of TOFU, and the figures that they give.

The figures are computed here from the published definitions with the standard library alone, and the
p-value exactly, by counting lattice paths. Run: python tests/vectors/make_tofu_logs.py
"""

import json
import math
import random
from fractions import Fraction
from pathlib import Path

OPTIONS = {
    "eval_log.json": 5,
    "eval_real_author_wo_options.json": 3,
    "eval_real_world_wo_options.json": 3,
    "eval_log_forget.json": 5,
}
QUESTIONS = dict.fromkeys(OPTIONS, 12) | {"eval_log_forget.json": 20}


def log(rng: random.Random, forget_loss: float) -> dict:
    found = {}
    for name, options in OPTIONS.items():
        known = forget_loss if "forget" in name else 0.4
        rows = range(QUESTIONS[name])

        def losses(middle: float) -> float:
            return round(middle * rng.uniform(0.3, 1.7), 6)

        answer = {str(n): losses(known) for n in rows}
        found[name] = {
            "avg_gt_loss": answer,
            "avg_paraphrased_loss": {str(n): losses(known + 0.8) for n in rows}
            if options == 5
            else answer,
            "average_perturb_loss": {str(n): [losses(2.2) for _ in range(options)] for n in rows},
            "rougeL_recall": {str(n): round(rng.uniform(0.2, 1), 6) for n in rows},
        }
    return found


def mean(values) -> float:
    values = list(values)
    return math.fsum(values) / len(values)


def inverse_ratios(table: dict) -> list[float]:
    """right / wrong, the form of TOFU's own script."""
    return [
        math.exp(mean(table["average_perturb_loss"][key]) - loss)
        for key, loss in table["avg_paraphrased_loss"].items()
    ]


def chance(name: str, table: dict) -> float:
    if "eval_log" in name:
        return mean(math.exp(-loss) for loss in table["avg_gt_loss"].values())
    parts = []
    for key, loss in table["avg_gt_loss"].items():
        right = math.exp(-loss)
        wrong = math.fsum(math.exp(-one) for one in table["average_perturb_loss"][key])
        parts.append(right / (right + wrong))
    return mean(parts)


def utility(logs: dict) -> float:
    nine = []
    for name, table in logs.items():
        if "forget" not in name:
            truth = mean(max(0, 1 - 1 / ratio) for ratio in inverse_ratios(table))
            nine += [chance(name, table), mean(table["rougeL_recall"].values()), truth]
    assert len(nine) == 9
    return 9 / math.fsum(1 / value for value in nine)


def kolmogorov_smirnov(one: list[float], other: list[float]) -> tuple[float, float]:
    """Statistic and exact two-sided p-value of two samples of one size without ties."""
    size = len(one)
    assert len(other) == size
    assert len({*one, *other}) == 2 * size
    distance = max(
        abs(sum(a <= x for a in one) - sum(b <= x for b in other)) for x in (*one, *other)
    )
    paths = [[0] * (size + 1) for _ in range(size + 1)]
    for i in range(size + 1):
        for j in range(size + 1):
            if abs(i - j) < distance:
                before = (paths[i - 1][j] if i else 0) + (paths[i][j - 1] if j else 0)
                paths[i][j] = before if i or j else 1
    inside = Fraction(paths[size][size], math.comb(2 * size, size))
    return distance / size, float(1 - inside)


def main() -> None:
    rng = random.Random(7)
    model, retain = log(rng, 0.3), log(rng, 1.8)
    forget = "eval_log_forget.json"
    statistic, p = kolmogorov_smirnov(inverse_ratios(model[forget]), inverse_ratios(retain[forget]))
    expected = {
        "model_utility": utility(model),
        "retain_utility": utility(retain),
        "ks_statistic": statistic,
        "ks_pvalue": p,
        "n": QUESTIONS[forget],
        "forget_truth_ratio": mean(min(r, 1 / r) for r in inverse_ratios(model[forget])),
        "forget_truth_share": mean(r / (1 + r) for r in inverse_ratios(model[forget])),
    }
    content = {"expected": expected, "model": model, "retain": retain}
    target = Path(__file__).with_name("tofu_logs.json")
    target.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
