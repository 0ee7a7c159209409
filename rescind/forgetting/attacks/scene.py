"""The target of an attack: the unlearned model, what it forgot, and what else an attacker holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, TypeVar

from numpy.typing import NDArray

from rescind.core import ConsortiumParameters, FloatTensors
from rescind.forgetting.attacks.errors import AttackInput
from rescind.forgetting.attacks.served import Served, loaded
from rescind.training import Assistant, Example, LoraModel
from rescind.training.serving.respond import OneNetwork, Respondent

Update = Mapping[str, NDArray[Any]]
"""What a counter-delta adds to some tensors of a block, in parameter units."""

Part = TypeVar("Part")


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
    """What an attacker holds.

    `unlearned`, `original`, `replay`: the model after forgetting, before it, and a run without the
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
        """Return those of the `needs` of an attack that this scene does not have."""
        return [need for need in needs if not self._has(need)]

    def _has(self, need: str) -> bool:
        value: Any = self
        for part in need.split("."):
            value = getattr(value, part, None)
        return bool(value) if isinstance(value, Sequence | Mapping) else value is not None

    @property
    def others(self) -> dict[str, Sequence[Example]]:
        """Return the sets that the forget set is to be told from, those that there are."""
        sets = {"retain": self.retain, "unseen": self.unseen}
        return {name: items for name, items in sets.items() if items}


def present(part: Part | None, need: str) -> Part:
    """Return a part of a scene that an attack needs.

    Raises:
        AttackInput: The scene does not have it.
    """
    if part is None:
        raise AttackInput(f"The scene does not have {need!r}, which this attack needs. Add it.")
    return part


def _check_apart(respondents: Sequence[Respondent | None]) -> None:
    """Refuse respondents of which one would silently answer with the adapters of another."""
    present = {id(each): each for each in respondents if each is not None}.values()
    for first, other in combinations(present, 2):
        if first.base.model is not other.base.model:
            continue
        assistants = isinstance(first, Assistant) and isinstance(other, Assistant)
        if assistants and set(first.blocks) & set(other.blocks):  # type: ignore[attr-defined]
            raise AttackInput(
                "Two assistants on one LoraModel have blocks of the same owner, and the later assistant's "
                "tensors serve for both. Give each a LoraModel with its own base model."
            )
        if isinstance(first, OneNetwork) or isinstance(other, OneNetwork):
            raise AttackInput(
                "a OneNetwork shares its base model with another respondent and answers with whatever "
                "adapter that respondent used last. Serve the adapters with rescind.forgetting.attacks.Served."
            )


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
    """Yield a scene with each state of one block served on its own.

    The reference is the bare base.
    """
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
