"""Asking for what was forgotten in other words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rescind.forgetting.attacks.asking import Asked, ask, encode_asked
from rescind.forgetting.attacks.errors import AttackInput
from rescind.forgetting.attacks.measures import (
    room,
    rouge,
    rouge_recall,
    same,
)
from rescind.forgetting.attacks.prompts import PROMPTS, QUESTION, Prompt
from rescind.forgetting.attacks.registry import BACK, attack
from rescind.forgetting.attacks.result import Result, recovery
from rescind.forgetting.attacks.scene import Scene
from rescind.forgetting.attacks.served import intact
from rescind.forgetting.attacks.settings import SuiteSettings
from rescind.training import Example
from rescind.training.serving.respond import Respondent

_PLAIN = Prompt("plain", "wording")
_EXTRA_TOKENS = 16


@dataclass(frozen=True)
class PromptOutcome:
    """Means over the `items` that the prompt can be tried on. `exact`: share of whole answers."""

    name: str
    kind: str
    rouge: float
    exact: float
    items: int


@dataclass(frozen=True)
class Recovered:
    """The best that any prompt got out of the model for one item."""

    question: str
    expected: str
    prompt: str
    reply: str
    rouge: float


@dataclass(frozen=True, kw_only=True)
class Prompting(Result):
    """`value`: mean over the items of the best ROUGE-L recall over the prompts, the plain question
    among them. `exact`: share of the items that some prompt gets right as a whole. `plain`: ROUGE-L
    recall of the plain question. `recovery`: (value - plain) / (original's plain - plain).
    """

    exact: float
    plain: float
    recovery: float | None
    prompts: tuple[PromptOutcome, ...]
    items: tuple[Recovered, ...]


@dataclass(frozen=True)
class _Tried:
    """(prompts, items), NaN where a prompt has nothing to ask of an item; the plain one first."""

    prompts: tuple[Prompt, ...]
    rouge: NDArray[np.float64]
    exact: NDArray[np.float64]
    replies: list[list[str]]


def prompting(
    unlearned: Respondent,
    forget: Sequence[Example],
    *,
    prompts: Sequence[Prompt] = PROMPTS,
    paraphrases: Sequence[str] = (),
    shots: Sequence[Example] = (),
    original: Respondent | None = None,
    replay: Respondent | None = None,
    seed: int = 0,
) -> Prompting:
    """Ask for each item by every prompt; greedy answers.

    `paraphrases`: one for each item, TOFU's `paraphrased_question` for one. `shots`: pairs that may
    stand before a question, a seeded choice of them; prompts with shots are left out without any.
    Raises AttackInput for an empty forget set, or paraphrases or shots that do not fit it.
    """
    _check(forget, prompts, paraphrases, shots)
    usable = (_PLAIN, *(prompt for prompt in prompts if shots or not prompt.shots))
    with intact(unlearned, original, replay):
        tried = _try(unlearned, forget, usable, paraphrases, shots, seed)
        again = _try(replay, forget, usable, paraphrases, shots, seed) if replay else None
        level = float(rouge(original, forget).mean()) if original else None
    value, plain = float(_best(tried.rouge).mean()), float(tried.rouge[0].mean())
    return Prompting(
        attack="prompts",
        value=value,
        replay_value=float(_best(again.rouge).mean()) if again else None,
        exact=float(_best(tried.exact).mean()),
        plain=plain,
        recovery=recovery(value, plain, level),
        prompts=tuple(_outcome(tried, place) for place in range(len(tried.prompts))),
        items=tuple(_recovered(tried, forget, place) for place in range(len(forget))),
    )


def _check(
    forget: Sequence[Example],
    prompts: Sequence[Prompt],
    paraphrases: Sequence[str],
    shots: Sequence[Example],
) -> None:
    if not forget:
        raise AttackInput("prompting needs a forget set: it is empty")
    if paraphrases and len(paraphrases) != len(forget):
        raise AttackInput(
            f"{len(paraphrases)} paraphrases for {len(forget)} items: give one for each"
        )
    leaks = set(shots) & set(forget)
    if leaks:
        raise AttackInput(
            f"{next(iter(leaks)).question[:60]!r} is in the forget set and among the shots: "
            "a shot that gives the answer away shows nothing"
        )
    lost = [p.name for p in prompts if QUESTION not in p.text]
    if lost:
        raise AttackInput(f"prompt {lost[0]!r} has no {QUESTION}: it asks for nothing")


def _try(
    respondent: Respondent,
    forget: Sequence[Example],
    prompts: tuple[Prompt, ...],
    paraphrases: Sequence[str],
    shots: Sequence[Example],
    seed: int,
) -> _Tried:
    if paraphrases:
        prompts = (*prompts, Prompt("given-paraphrase", "paraphrase"))
    order = np.random.default_rng(seed).permutation(len(shots))
    before = [shots[place] for place in order]
    shape = (len(prompts), len(forget))
    tried = _Tried(prompts, np.full(shape, np.nan), np.full(shape, np.nan), [])
    tokens = room(respondent.base, forget) + _EXTRA_TOKENS
    for row, prompt in enumerate(prompts):
        items = forget
        if prompt.name == "given-paraphrase":
            pairs = zip(forget, paraphrases, strict=True)
            items = [Example(text, item.answer, item.subject) for item, text in pairs]
        places = [p for p, item in enumerate(items) if _rest(item, prompt)]
        asked = [_asked(respondent, items[p], prompt, before) for p in places]
        replies = [one[0] for one in ask(respondent, asked, max_new_tokens=tokens)] if asked else []
        expected = [_rest(items[p], prompt) for p in places]
        tried.rouge[row, places] = rouge_recall(expected, replies)
        tried.exact[row, places] = same(expected, replies)
        by_place = dict(zip(places, replies, strict=True))
        tried.replies.append([by_place.get(p, "") for p in range(len(forget))])
    return tried


def _given(item: Example, prompt: Prompt) -> str:
    words = item.answer.split()
    return " ".join(words[: max(1, int(prompt.given * len(words)))]) if prompt.given else ""


def _rest(item: Example, prompt: Prompt) -> str:
    """Return the part of the answer that the prompt does not give away."""
    return " ".join(item.answer.split()[len(_given(item, prompt).split()) :])


def _asked(
    respondent: Respondent, item: Example, prompt: Prompt, shots: Sequence[Example]
) -> Asked:
    """The prompt for one item, with as many of its shots as max_length leaves room for."""
    question = prompt.text.replace(QUESTION, item.question.strip())
    for count in range(min(prompt.shots, len(shots)), -1, -1):
        pairs = [f"{e.question.strip()}\nAnswer: {e.answer.strip()}" for e in shots[:count]]
        asked = Asked("\n\nQuestion: ".join([*pairs, question]), _given(item, prompt))
        if len(encode_asked(respondent.base, asked)) <= respondent.max_length:
            return asked
    return asked


def _best(values: NDArray[np.float64]) -> NDArray[np.float64]:
    best: NDArray[np.float64] = np.nanmax(values, axis=0)
    return best


def _outcome(tried: _Tried, row: int) -> PromptOutcome:
    known = ~np.isnan(tried.rouge[row])
    return PromptOutcome(
        name=tried.prompts[row].name,
        kind=tried.prompts[row].kind,
        rouge=float(tried.rouge[row][known].mean()) if known.any() else float("nan"),
        exact=float(tried.exact[row][known].mean()) if known.any() else float("nan"),
        items=int(known.sum()),
    )


def _recovered(tried: _Tried, forget: Sequence[Example], place: int) -> Recovered:
    row = int(np.nanargmax(tried.rouge[:, place]))
    return Recovered(
        question=forget[place].question,
        expected=forget[place].answer,
        prompt=tried.prompts[row].name,
        reply=tried.replies[row][place],
        rouge=float(tried.rouge[row, place]),
    )


@attack("prompts", reads=BACK, source="after OFFSIDE and SSPU; the prompts are this project's")
def _on_scene(scene: Scene, settings: SuiteSettings, seed: int) -> Result:
    return prompting(
        scene.unlearned,
        scene.forget,
        prompts=settings.prompts,
        paraphrases=scene.paraphrases,
        shots=scene.retain,
        original=scene.original,
        replay=scene.replay,
        seed=seed,
    )
