"""The registry of attacks. Each attack registers itself where it is defined."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from rescind.forgetting.attacks.result import Result
from rescind.forgetting.attacks.scene import Scene
from rescind.forgetting.attacks.settings import SuiteSettings

MEMBER = "AUC; above 1/2 the forget set still looks learned, below it conspicuously unlearned"
FORGOTTEN = "AUC; above 1/2 the forget set stands out by what changed"
BACK = "high: knowledge of the forget set comes back"

Run = TypeVar("Run", bound=Callable[..., Result])


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A registered attack.

    Attributes:
        name: The name of the attack.
        run: The function that runs it on a scene, with settings and a seed.
        needs: The fields of a scene that it needs, with dots for fields of the block.
        orientation: What a high value says.
        source: Where the attack comes from.
        seeded: Whether its result depends on the seed.
    """

    name: str
    run: Callable[[Scene, SuiteSettings, int], Result]
    needs: tuple[str, ...]
    orientation: str
    source: str
    seeded: bool


_registered: dict[str, Attack] = {}


def attack(
    name: str, *, needs: Sequence[str] = (), reads: str, source: str
) -> Callable[[Run], Run]:
    """Register the decorated function as an attack on a scene.

    The function takes any of `scene`, `settings` (SuiteSettings) and `seed`, by these names. An
    attack that takes a seed is run once for each seed of a suite, any other once.

    Args:
        name: The name of the attack in reports.
        needs: Fields of the scene that it needs, with dots for fields of the block.
        reads: How to read its value: what a high one says.
        source: Where the attack comes from.
    """

    def register(function: Run) -> Run:
        takes = tuple(inspect.signature(function).parameters)

        def run(scene: Scene, settings: SuiteSettings, seed: int) -> Result:
            given = {"scene": scene, "settings": settings, "seed": seed}
            return function(**{parameter: given[parameter] for parameter in takes})

        _registered[name] = Attack(
            name=name,
            run=run,
            needs=tuple(needs),
            orientation=reads,
            source=source,
            seeded="seed" in takes,
        )
        return function

    return register


def registered(order: Sequence[str]) -> Mapping[str, Attack]:
    """Return the attacks of the modules imported so far, by name, in `order`.

    Raises:
        ValueError: An attack is not in `order`.
    """
    names = sorted(_registered, key=order.index)
    return MappingProxyType({name: _registered[name] for name in names})
