"""The target of an attack: the unlearned model, its forget set, and the attacker's other data."""

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
"""A change of some tensors of a block by a counter-delta, in parameter units."""

Part = TypeVar("Part")


@dataclass(frozen=True)
class Block:
    """All LoRA tensors of one block by bare name, float32, in each of its states.

    Attributes:
        model: The model of the block.
        parameters: The agreed parameters.
        unlearned: The tensors after unlearning.
        original: The tensors before unlearning.
        replay: The tensors of a run without the forget set.
        counters: What each counter-delta adds to some tensors, by the counter-delta's name, in
            parameter units. `unlearned` minus all of them is the block without counter-deltas.
    """

    model: LoraModel
    parameters: ConsortiumParameters
    unlearned: FloatTensors
    original: FloatTensors | None = None
    replay: FloatTensors | None = None
    counters: Mapping[str, Update] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """The models and data that an attacker has.

    The models may share one LoraModel if each asks for adapters of its own, as Served does. Two
    Assistants with blocks of one owner must not, because both name an adapter after the owner.

    Attributes:
        unlearned: The model after unlearning.
        forget: The forget set, with the right answers.
        unseen: Pairs like the forget set that no model saw, with the right answers.
        retain: Pairs that the model should still know.
        benign: Pairs on related matters.
        paraphrases: Each question of the forget set in other words.
        original: The model before unlearning.
        replay: The model of a run without the forget set.
        reference: A model that never saw the forget set, for the Reference attack.
        block: The tensors, for attacks on the parameters themselves.

    Raises:
        AttackInput: The forget set is empty, another set overlaps it, or one model would answer
            with the adapters of another.
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
            raise AttackInput("The forget set is empty, so there is nothing to attack.")
        for name in ("unseen", "retain", "benign"):
            overlap = set(self.forget) & set(getattr(self, name))
            if overlap:
                raise AttackInput(
                    f"{next(iter(overlap)).question[:60]!r} is in the forget set and in {name}. "
                    "Remove it from one of them."
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
        """Return the nonempty sets from which the forget set is to be distinguished."""
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
        if (
            isinstance(first, Assistant)
            and isinstance(other, Assistant)
            and set(first.blocks) & set(other.blocks)
        ):
            raise AttackInput(
                "Two assistants on one LoraModel have blocks of the same owner, and the later "
                "assistant's tensors serve for both. Give each a LoraModel with its own base model."
            )
        if isinstance(first, OneNetwork) or isinstance(other, OneNetwork):
            raise AttackInput(
                "A OneNetwork shares its base model with another respondent, so it answers with "
                "the adapter that this respondent used last. Serve the adapters with "
                "rescind.forgetting.attacks.Served."
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
    """Yield a scene with each state of one block served separately.

    The reference is the bare base.

    Args:
        block: The block in each of its states.
        forget: The forget set.
        unseen: Pairs like the forget set that no model saw.
        retain: Pairs that the model should still know.
        benign: Pairs on related matters.
        paraphrases: Each question of the forget set in other words.
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
