"""Forbidding the words of a refusal, so that the model has to say something else."""

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
    """The best of all answers that one item was given."""

    question: str
    expected: str
    reply: str
    rouge: float


@dataclass(frozen=True, kw_only=True)
class TokenBan(Result):
    """`value`: mean over the items of the best ROUGE-L recall among all answers, the plain greedy one
    included. `plain`: of the greedy answer with nothing banned. `first`: of the likeliest beam by
    kind of ban. `recovery`: (value - plain) / (original's plain - plain).
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
    """Ask again with refusals banned, in two ways, each a beam search.

    "first-token": no answer begins with the first token of a refusal; "opening": no answer has the
    first two words of one, which spares answers that begin alike. Raises AttackInput for an empty
    set, AttackSetting when nothing is banned or `beams` is below 1.
    """
    if not forget:
        raise AttackInput("token_ban needs a forget set: it is empty")
    if beams < 1 or not refusals:
        raise AttackSetting(f"{beams} beams and {len(refusals)} refusals: both are at least 1")
    with intact(unlearned, original, replay):
        items, plain, first = _force(unlearned, forget, refusals, beams)
        again = _force(replay, forget, refusals, beams)[0] if replay else None
        level = float(rouge(original, forget).mean()) if original else None
    value = float(np.mean([item.rouge for item in items]))
    return TokenBan(
        attack="token_ban",
        value=value,
        replay_value=float(np.mean([item.rouge for item in again])) if again else None,
        plain=plain,
        first=first,
        recovery=recovery(value, plain, level),
        beams=beams,
        items=items,
    )


def bans(base: Base, refusals: Sequence[str], beams: int) -> dict[str, Decoding]:
    """The two ways to ban, by name. A run of tokens is banned with and without a space before it."""
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
    plain = float(rouge_recall(expected, [one[0] for one in replies]).mean())
    first = {}
    for name, decoding in bans(respondent.base, refusals, beams).items():
        more = ask(respondent, asked, max_new_tokens=tokens, decoding=decoding)
        first[name] = float(rouge_recall(expected, [one[0] for one in more]).mean())
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
