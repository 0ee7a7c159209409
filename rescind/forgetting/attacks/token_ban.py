"""An attack that bans the words of refusals, so that the model has to say something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rescind.forgetting.attacks.asking import Asked, Decoding, ask
from rescind.forgetting.attacks.errors import AttackInput, AttackSetting
from rescind.forgetting.attacks.measures import room, rouge, rouge_recall
from rescind.forgetting.attacks.prompts import REFUSALS
from rescind.forgetting.attacks.registry import BACK, attack
from rescind.forgetting.attacks.result import Result, recovery
from rescind.forgetting.attacks.scene import Scene
from rescind.forgetting.attacks.served import intact
from rescind.forgetting.attacks.settings import SuiteSettings
from rescind.training import Base, Example
from rescind.training.data import completion
from rescind.training.serving.respond import Respondent

_EXTRA_TOKENS = 8


@dataclass(frozen=True)
class Forced:
    """The best of all answers to one item."""

    question: str
    expected: str
    reply: str
    rouge: float


@dataclass(frozen=True, kw_only=True)
class TokenBan(Result):
    """The result of `token_ban`.

    `value` is the mean over the items of the best ROUGE-L recall among all answers, which include
    the plain greedy one.

    Attributes:
        plain: Mean ROUGE-L recall of the greedy answer without a ban.
        first: Mean ROUGE-L recall of the likeliest beam, by kind of ban.
        recovery: (value - plain) / (original's plain - plain).
        beams: The number of beams.
        items: The best answer to each item.
    """

    plain: float
    first: dict[str, float]
    recovery: float | None
    beams: int
    items: tuple[Forced, ...]


def token_ban(
    unlearned: Respondent,
    forget: Sequence[Example],
    *,
    refusals: Sequence[str] = REFUSALS,
    beams: int = 4,
    original: Respondent | None = None,
    replay: Respondent | None = None,
) -> TokenBan:
    """Ask again with refusals banned in two ways, each with a beam search.

    "first-token": no answer may begin with the first token of a refusal. "opening": no answer may
    have the first two words of a refusal, which allows answers with the same first word.

    Args:
        unlearned: The unlearned model.
        forget: The forget set.
        refusals: The refusals to ban.
        beams: The number of beams.
        original: The model before unlearning.
        replay: A model that never saw the forget set, to attack in the same way.

    Raises:
        AttackInput: The forget set is empty.
        AttackSetting: There are no refusals, or `beams` is below 1.
    """
    if not forget:
        raise AttackInput("token_ban needs a forget set, but it is empty.")
    if beams < 1 or not refusals:
        raise AttackSetting(
            f"token_ban has {beams} beams and {len(refusals)} refusals. Both must be at least 1."
        )
    with intact(unlearned, original, replay):
        items, plain, first = _force(unlearned, forget, refusals, beams)
        replay_items = _force(replay, forget, refusals, beams)[0] if replay else None
        level = float(rouge(original, forget).mean()) if original else None
    value = float(np.mean([item.rouge for item in items]))
    return TokenBan(
        attack="token_ban",
        value=value,
        replay_value=float(np.mean([item.rouge for item in replay_items]))
        if replay_items
        else None,
        plain=plain,
        first=first,
        recovery=recovery(value, plain, level),
        beams=beams,
        items=items,
    )


def bans(base: Base, refusals: Sequence[str], beams: int) -> dict[str, Decoding]:
    """Return the two ways to ban refusals, by name.

    A run of tokens is banned both with and without a space before it.

    Args:
        base: The base model, whose tokenizer gives the tokens.
        refusals: The refusals to ban.
        beams: The number of beams.
    """
    first: set[int] = set()
    openings: set[tuple[int, ...]] = set()
    for refusal in refusals:
        opening = " ".join(refusal.split()[:2])
        for text in (completion(refusal), refusal.strip()):
            first.add(base.tokenizer.encode(text, add_special_tokens=False)[0])
        for text in (completion(opening), opening):
            openings.add(tuple(base.tokenizer.encode(text, add_special_tokens=False)))
    return {
        "first-token": Decoding(beams, not_first=tuple(sorted(first))),
        "opening": Decoding(beams, never=tuple(sorted(openings))),
    }


def _force(
    respondent: Respondent, forget: Sequence[Example], refusals: Sequence[str], beams: int
) -> tuple[tuple[Forced, ...], float, dict[str, float]]:
    asked = [Asked(example.question) for example in forget]
    tokens = room(respondent.base, forget) + _EXTRA_TOKENS
    expected = [example.answer for example in forget]
    replies = ask(respondent, asked, max_new_tokens=tokens)
    plain = float(rouge_recall(expected, [answers[0] for answers in replies]).mean())
    first = {}
    for name, decoding in bans(respondent.base, refusals, beams).items():
        more = ask(respondent, asked, max_new_tokens=tokens, decoding=decoding)
        first[name] = float(rouge_recall(expected, [answers[0] for answers in more]).mean())
        replies = [old + new for old, new in zip(replies, more, strict=True)]
    items = []
    for example, given in zip(forget, replies, strict=True):
        scores = rouge_recall([example.answer] * len(given), given)
        best = int(scores.argmax())
        items.append(Forced(example.question, example.answer, given[best], float(scores[best])))
    return tuple(items), plain, first


@attack("token_ban", reads=BACK, source="this project's")
def _on_scene(scene: Scene, settings: SuiteSettings) -> Result:
    return token_ban(
        scene.unlearned,
        scene.forget,
        refusals=settings.refusals,
        beams=settings.beams,
        original=scene.original,
        replay=scene.replay,
    )
