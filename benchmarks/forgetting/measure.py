"""The columns of the table, of one model beside the model before and a replay."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from benchmarks.forgetting.rows import Made
from benchmarks.forgetting.scene import Scene, evenly
from benchmarks.merged import merged
from rescind.core import (
    SHARED,
    Totals,
    dequantize,
    split_owner,
)
from rescind.forgetting.attacks import (
    PROMPTS,
    Block,
    SuiteSettings,
    attack_suite,
    scene_of_block,
)
from rescind.forgetting.metrics import (
    Measured,
    TofuRecord,
    gap_to_replay,
    selectivity,
    shared_knowledge,
    tofu_forget_quality,
    tofu_scores,
    tofu_utility,
)
from rescind.forgetting.metrics.live import evaluate_tofu, measure, measure_privleak
from rescind.training.serving.respond import Respondent

_PER_ITEM = ("probability", "extraction_strength", "exact_memorization")


class Measurer:
    """Measures the models of one scene; what of the full model and of the replay is needed for the
    others is measured once."""

    def __init__(self, scene: Scene, full: Totals, replayed: Totals) -> None:
        self.scene, self.full, self.replayed = scene, full, replayed
        self._records: dict[str, tuple[TofuRecord, dict[str, Measured]]] = {}
        self._auc: float | None = None
        self._replay_attacked: dict[str, dict[str, Any]] | None = None

    def figures(self, row: str, made: Made) -> dict[str, Any]:
        """Everything that is reported of a row, as JSON."""
        device = self.scene.base.device
        bf16 = self.scene.config.measuring.precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return self._figures(row, made)

    def _figures(self, row: str, made: Made) -> dict[str, Any]:
        record, others = self.ask(row, made.totals)
        before, before_others = self.ask("full", self.full)
        reference, reference_others = self.ask("replay", self.replayed)
        now, then = (tofu_scores(it, "forget") for it in (record, before))
        kept, held = (tofu_scores(it, "retain") for it in (record, before))
        chosen = selectivity(
            then["probability"].items,
            now["probability"].items,
            held["probability"].items,
            kept["probability"].items,
        )
        quality = tofu_forget_quality(record, reference)
        return {
            "row": row,
            "cost": {
                "seconds": made.seconds,
                "tokens": made.tokens,
                "bytes_moved": made.moved,
            },
            "report": _brief(made.report),
            "forget_quality": {"p": quality.value, **dict(quality.details)},
            "utility": tofu_utility(record).value,
            "utility_before": tofu_utility(before).value,
            "selectivity": {"value": chosen.value, **dict(chosen.details)},
            "shared": _plain(
                shared_knowledge(
                    before_others["shared probability"].items,
                    others["shared probability"].items,
                )
            )
            if self.scene.shared
            else None,
            "scores": {
                name: {metric: score.value for metric, score in tofu_scores(record, name).items()}
                for name in record.sets
            },
            "forget": {name: others[f"forget {name}"].value for name in _PER_ITEM},
            "gaps": {
                name: _gap(others[f"forget {name}"], reference_others[f"forget {name}"])
                for name in _PER_ITEM
            }
            | {
                "rouge_l_recall": _gap(
                    now["rouge_l_recall"], tofu_scores(reference, "forget")["rouge_l_recall"]
                )
            },
            "privleak": self.privleak(made.totals),
            "attacks": self.attacks(made),
        }

    def ask(self, name: str, totals: Totals) -> tuple[TofuRecord, dict[str, Measured]]:
        if name not in self._records:
            with self._served(totals) as respondent:
                self._records[name] = self._ask(respondent)
        return self._records[name]

    def _ask(self, respondent: Respondent) -> tuple[TofuRecord, dict[str, Measured]]:
        scene = self.scene
        record = evaluate_tofu(
            respondent, scene.probes, max_new_tokens=scene.config.measuring.max_new_tokens
        )
        others = {
            f"forget {metric}": measure(metric, respondent, scene.probes["forget"])
            for metric in _PER_ITEM
        }
        if scene.shared:
            shared = evenly(scene.shared, scene.config.measuring.shared)
            others["shared probability"] = measure("probability", respondent, shared)
        return record, others

    @contextmanager
    def _served(self, totals: Totals) -> Iterator[Respondent]:
        """Merged into the base where one block is served, behind the router otherwise."""
        scene = self.scene
        if scene.owner != SHARED:
            yield scene.assistant(totals)
            return
        lora, training = scene.parameters.lora, scene.parameters.training
        with merged(
            scene.model,
            scene.tensors(totals),
            scaling=lora.alpha / lora.rank,
            max_length=training.max_length,
        ) as respondent:
            yield respondent

    def privleak(self, totals: Totals) -> dict[str, Any]:
        scene = self.scene
        forget = evenly(scene.forget, len(scene.unseen))
        if self._auc is None:
            with self._served(self.replayed) as respondent:
                found = measure_privleak(respondent, forget, scene.unseen)
            self._auc = float(found.details["auc"])
        with self._served(totals) as respondent:
            found = measure_privleak(respondent, forget, scene.unseen, reference_auc=self._auc)
        return {"value": found.value, **dict(found.details)}

    def attacks(self, made: Made) -> dict[str, Any] | None:
        """Of a model in one block; blocks behind a router are attacked by what they answer alone."""
        scene, measuring = self.scene, self.scene.config.measuring
        if scene.owner != SHARED or measuring.attacks == ():
            return None
        if self._replay_attacked is None:
            self._replay_attacked = self._attacked(Made(self.replayed, 0.0))
        found = {}
        for name, one in self._attacked(made).items():
            value, reference = one["value"], self._replay_attacked[name]["value"]
            gap = None if value is None or reference is None else value - reference
            found[name] = one | {"replay_value": reference, "gap": gap}
        return found

    def _attacked(self, made: Made) -> dict[str, dict[str, Any]]:
        scene, measuring = self.scene, self.scene.config.measuring
        counters = {}
        if made.counter is not None:
            bits = scene.parameters.fraction_bits
            values = dequantize(made.counter, fraction_bits=bits)
            counters = {"counter": {split_owner(name)[1]: value for name, value in values.items()}}
        block = Block(
            model=scene.model,
            parameters=scene.parameters,
            unlearned=scene.tensors(made.totals),
            original=scene.tensors(self.full),
            counters=counters,
        )
        n = measuring.attacked
        with scene_of_block(
            block,
            evenly(scene.forget, n),
            unseen=evenly(scene.unseen, n),
            retain=evenly(scene.retain, n),
            benign=evenly(scene.retain, n),
        ) as attacked:
            report = attack_suite(
                attacked,
                measuring.attacks,
                seeds=(scene.seed,),
                settings=SuiteSettings(
                    by=measuring.by, prompts=tuple(evenly(PROMPTS, measuring.prompts))
                ),
            )
        return {
            name: {key: it[key] for key in ("value", "seconds")}
            for name, it in report["attacks"].items()
        }


def _gap(found: Measured, reference: Measured) -> dict[str, Any]:
    gap = gap_to_replay(found, reference)
    return {"value": gap.value, "low": gap.details["low"], "high": gap.details["high"]}


def _plain(found: Measured) -> dict[str, Any]:
    return {key: value for key, value in asdict(found).items() if key != "items"}


def _brief(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a method's report that fit a table: plain values, no curves."""
    found: dict[str, Any] = {}
    for key, value in report.items():
        if isinstance(value, bool | int | str) or value is None:
            found[key] = value
        elif isinstance(value, float | np.floating):
            found[key] = float(value) if math.isfinite(value) else None
    return found
