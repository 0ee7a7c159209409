"""Every method whose outcome is registered as a counter-delta, by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from rescind.core.errors import ConfigError
from rescind.unlearning import closed_form, methods
from rescind.unlearning.counter import Settings
from rescind.unlearning.group_lasso import GsLoraSettings, gs_lora
from rescind.unlearning.negation import TaskVectorSettings, task_vector
from rescind.unlearning.problem import Method, Outcome, Problem
from rescind.unlearning.projected import HalimiSettings, halimi
from rescind.unlearning.representation import RmuSettings, rmu


class UnknownMethod(ConfigError):
    code = "unknown-method"


def _trained(
    run: Callable[[Problem, Any], Outcome], settings: type[Settings], source: str
) -> Method:
    return Method(run.__name__, run, settings, source, settings().alpha > 0, trains=True)


COUNTER_TRAINING: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            _trained(
                methods.grad_ascent,
                methods.GradAscentSettings,
                "gradient ascent; Jang et al. 2022, arXiv 2210.01504",
            ),
            _trained(
                methods.grad_diff,
                methods.GradDiffSettings,
                "gradient difference; Liu et al. 2022, arXiv 2203.12817",
            ),
            _trained(
                methods.kl,
                methods.KlSettings,
                "ascent with KL minimization; Maini et al. 2024, arXiv 2401.06121",
            ),
            _trained(methods.npo, methods.NpoSettings, "NPO; Zhang et al. 2024, arXiv 2404.05868"),
            _trained(
                methods.simnpo, methods.SimNpoSettings, "SimNPO; Fan et al. 2024, arXiv 2410.07163"
            ),
            _trained(
                methods.dpo, methods.DpoSettings, "DPO; Rafailov et al. 2023, arXiv 2305.18290"
            ),
            _trained(
                methods.idk_dpo,
                methods.IdkDpoSettings,
                "DPO towards refusals; Maini et al. 2024, arXiv 2401.06121",
            ),
            _trained(
                methods.idk_nll,
                methods.IdkNllSettings,
                "training on refusals; Maini et al. 2024, arXiv 2401.06121",
            ),
            _trained(rmu, RmuSettings, "RMU; Li et al. 2024, arXiv 2403.03218"),
            _trained(
                methods.wga,
                methods.WgaSettings,
                "weighted gradient ascent; Wang et al. 2025, arXiv 2502.19301",
            ),
            _trained(
                methods.undial, methods.UndialSettings, "UNDIAL; Dong et al. 2024, arXiv 2402.10052"
            ),
            _trained(gs_lora, GsLoraSettings, "GS-LoRA; Zhao et al. 2024, arXiv 2403.11530"),
            _trained(
                halimi,
                HalimiSettings,
                "projected gradient ascent; Halimi et al. 2022, arXiv 2207.05521",
            ),
        )
    }
)

TASK_VECTOR = Method(
    "task_vector",
    task_vector,
    TaskVectorSettings,
    "task vector negation; Ilharco et al. 2022, arXiv 2212.04089",
    needs_retain=False,
    trains=False,
)
"""Takes back all of an organization's part; every other method can forget one data subject."""

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        **COUNTER_TRAINING,
        TASK_VECTOR.name: TASK_VECTOR,
        **{method.name: method for method in closed_form.METHODS},
    }
)


def find(name: str, known: Mapping[str, Method] | None = None) -> Method:
    """The method of that name, of `known` or else of METHODS.

    Raises UnknownMethod, which names those there are.
    """
    table = METHODS if known is None else known
    if name not in table:
        raise UnknownMethod(f"no method is called {name!r}; there are {', '.join(sorted(table))}")
    return table[name]
