"""The target of an attack: the unlearned model, what it forgot, and what else an attacker holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from rescind.core import ConsortiumParameters, FloatTensors
from rescind.forgetting.attacks.errors import AttackInput, AttackSetting
from rescind.forgetting.attacks.measures import measure
from rescind.forgetting.attacks.prompts import PROMPTS, REFUSALS, Prompt
from rescind.forgetting.attacks.quantization import SCHEMES, Scheme
from rescind.forgetting.attacks.relearning import RelearnSettings
from rescind.forgetting.attacks.result import Result
from rescind.forgetting.attacks.served import Served, loaded
from rescind.forgetting.attacks.stripping import Update
from rescind.training import Assistant, Example, LoraModel
from rescind.training.serving.respond import OneNetwork, Respondent


@dataclass(frozen=True)
class Block:
    """All LoRA tensors of one block by bare name, float32, in each of its states.

    `counters`: what each counter-delta adds to some of them, in parameter units; `unlearned` less
    all of them is what the block was without.
    """

    model: LoraModel
    parameters: ConsortiumParameters
    unlearned: FloatTensors
    original: FloatTensors | None = None
    replay: FloatTensors | None = None
    counters: Mapping[str, Update] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """`unlearned`, `original`, `replay`: the model after forgetting, before it, and a run without the
    forget set. They may share one LoraModel if each asks for adapters of its own, as Served does; two
    Assistants of one owner do not, for both name an adapter after it. `reference`: a model that never
    saw the forget set, for the Reference attack. `unseen`: pairs like the forget set that no model
    saw, with their right answers. `benign`: pairs on related matters. `paraphrases`: other words for
    each question of the forget set. `block`: for attacks on the parameters themselves.
    """

    unlearned: Respondent
    forget: Sequence[Example]
    unseen: Sequence[Example] = ()
    retain: Sequence[Example] = ()
    benign: Sequence[Example] = ()
    paraphrases: Sequence[str] = ()
    original: Respondent | None = None
    replay: Respondent | None = None
    reference: Respondent | None = None
    block: Block | None = None

    def __post_init__(self) -> None:
        if not self.forget:
            raise AttackInput("the forget set is empty: there is nothing to attack")
        for name in ("unseen", "retain", "benign"):
            both = set(self.forget) & set(getattr(self, name))
            if both:
                raise AttackInput(
                    f"{next(iter(both)).question[:60]!r} is in the forget set and in {name}: a pair "
                    "can only be in one of them"
                )
        _check_apart([self.unlearned, self.original, self.replay, self.reference])

    def lacks(self, needs: Sequence[str]) -> list[str]:
        """Of the `needs` of an attack, those that this scene does not have."""
        return [need for need in needs if not self._has(need)]

    def _has(self, need: str) -> bool:
        value: Any = self
        for part in need.split("."):
            value = getattr(value, part, None)
        return bool(value) if isinstance(value, Sequence | Mapping) else value is not None

    @property
    def others(self) -> dict[str, Sequence[Example]]:
        """The sets that the forget set is to be told from, those that there are."""
        sets = {"retain": self.retain, "unseen": self.unseen}
        return {name: items for name, items in sets.items() if items}


def _check_apart(respondents: Sequence[Respondent | None]) -> None:
    """Refuse respondents of which one would silently answer with the adapters of another."""
    found = {id(one): one for one in respondents if one is not None}.values()
    for one, other in combinations(found, 2):
        if one.base.model is not other.base.model:
            continue
        assistants = isinstance(one, Assistant) and isinstance(other, Assistant)
        if assistants and set(one.blocks) & set(other.blocks):  # type: ignore[attr-defined]
            raise AttackInput(
                "Two assistants on one LoraModel have blocks of the same owner, and the later assistant's "
                "tensors serve for both. Give each a LoraModel with its own base model."
            )
        if isinstance(one, OneNetwork) or isinstance(other, OneNetwork):
            raise AttackInput(
                "a OneNetwork shares its base model with another respondent and answers with whatever "
                "adapter that respondent used last. Serve the adapters with rescind.forgetting.attacks.Served."
            )


@dataclass(frozen=True)
class SuiteSettings:
    """`by`: the measure of the attacks that bring knowledge back (measures.MEASURES); `share`: of an
    answer's tokens, for Min-K%; `norm`: of GradNorm."""

    by: str = "rouge"
    share: float = 0.2
    norm: float = 2.0
    relearning: RelearnSettings = field(default_factory=RelearnSettings)
    schemes: tuple[Scheme, ...] = SCHEMES
    prompts: tuple[Prompt, ...] = PROMPTS
    refusals: tuple[str, ...] = REFUSALS
    beams: int = 4

    def __post_init__(self) -> None:
        measure(self.by)
        if not self.schemes or not self.refusals or self.beams < 1:
            raise AttackSetting("schemes and refusals must not be empty, and beams is at least 1")


@dataclass(frozen=True)
class Attack:
    """`function`: the attack itself; `run`: the same on a scene, with a seed. `needs`: the fields of
    a scene without which it cannot run. `orientation`: what a high value says. `seeded`: whether a
    seed changes its outcome."""

    name: str
    function: Callable[..., Result]
    run: Callable[[Scene, SuiteSettings, int], Result]
    needs: tuple[str, ...]
    orientation: str
    source: str
    seeded: bool = False


@contextmanager
def scene_of_block(
    block: Block,
    forget: Sequence[Example],
    *,
    unseen: Sequence[Example] = (),
    retain: Sequence[Example] = (),
    benign: Sequence[Example] = (),
    paraphrases: Sequence[str] = (),
) -> Iterator[Scene]:
    """A scene with each state of one block served on its own, the bare base as the reference."""
    length = block.parameters.training.max_length
    with ExitStack() as stack:

        def serve(tensors: FloatTensors | None) -> Served | None:
            if tensors is None:
                return None
            return stack.enter_context(loaded(block.model, tensors, max_length=length))

        unlearned = stack.enter_context(loaded(block.model, block.unlearned, max_length=length))
        yield Scene(
            unlearned=unlearned,
            forget=forget,
            unseen=unseen,
            retain=retain,
            benign=benign,
            paraphrases=paraphrases,
            original=serve(block.original),
            replay=serve(block.replay),
            reference=Served(block.model, None, length),
            block=block,
        )
