"""Questions about forgotten items in other words."""

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
    """The result of one prompt.

    Attributes:
        name: The name of the prompt.
        kind: The kind of the prompt.
        rouge: Mean ROUGE-L recall over the items on which the prompt can be tried.
        exact: The share of these items that are answered exactly.
        items: The number of these items.
    """

    name: str
    kind: str
    rouge: float
    exact: float
    items: int


@dataclass(frozen=True)
class Recovered:
    """The best answer of all prompts to one item."""

    question: str
    expected: str
    prompt: str
    reply: str
    rouge: float


@dataclass(frozen=True, kw_only=True)
class Prompting(Result):
    """The result of `prompting`.

    `value` is the mean over the items of the best ROUGE-L recall over the prompts, which include
    the plain question.

    Attributes:
        exact: The share of the items that some prompt gets exactly right.
        plain: Mean ROUGE-L recall of the plain question.
        recovery: (value - plain) / (original's plain - plain).
        prompts: The result of each prompt.
        items: The best answer to each item.
    """

    exact: float
    plain: float
    recovery: float | None
    prompts: tuple[PromptOutcome, ...]
    items: tuple[Recovered, ...]


@dataclass(frozen=True)
class _Tried:
    """The scores of all prompts, (prompts, items), with the plain question first.

    A score is NaN where a prompt gives the whole answer of an item away.
    """

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
    """Ask for each item with every prompt, and score the greedy answers.

    Args:
        unlearned: The unlearned model.
        forget: The forget set.
        prompts: The prompts.
        paraphrases: The question of each item in other words, for example TOFU's
            `paraphrased_question`.
        shots: Pairs of which a seeded choice may stand before a question. Without any, prompts with
            shots are left out.
        original: The model before unlearning.
        replay: A model that never saw the forget set, to attack in the same way.
        seed: The seed of the choice of shots.

    Raises:
        AttackInput: The forget set is empty, or prompts, paraphrases or shots do not fit it.
    """
    _check(forget, prompts, paraphrases, shots)
    usable = (_PLAIN, *(prompt for prompt in prompts if shots or not prompt.shots))
    with intact(unlearned, original, replay):
        tried = _try(unlearned, forget, usable, paraphrases, shots, seed)
        replay_tried = _try(replay, forget, usable, paraphrases, shots, seed) if replay else None
        level = float(rouge(original, forget).mean()) if original else None
    value, plain = float(_best(tried.rouge).mean()), float(tried.rouge[0].mean())
    return Prompting(
        attack="prompts",
        value=value,
        replay_value=float(_best(replay_tried.rouge).mean()) if replay_tried else None,
        exact=float(_best(tried.exact).mean()),
        plain=plain,
        recovery=recovery(value, plain, level),
        prompts=tuple(_outcome(tried, row) for row in range(len(tried.prompts))),
        items=tuple(_recovered(tried, forget, index) for index in range(len(forget))),
    )


def _check(
    forget: Sequence[Example],
    prompts: Sequence[Prompt],
    paraphrases: Sequence[str],
    shots: Sequence[Example],
) -> None:
    if not forget:
        raise AttackInput("prompting needs a forget set, but it is empty.")
    if paraphrases and len(paraphrases) != len(forget):
        raise AttackInput(
            f"There are {len(paraphrases)} paraphrases for {len(forget)} items. Pass one for each "
            "item."
        )
    leaks = set(shots) & set(forget)
    if leaks:
        raise AttackInput(
            f"{next(iter(leaks)).question[:60]!r} is in the forget set and among the shots, so a "
            "shot would give the answer away. Pass other pairs as shots."
        )
    empty = [p.name for p in prompts if QUESTION not in p.text]
    if empty:
        raise AttackInput(f"Prompt {empty[0]!r} does not contain {QUESTION}. Add it to the text.")


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
    before = [shots[index] for index in order]
    shape = (len(prompts), len(forget))
    tried = _Tried(prompts, np.full(shape, np.nan), np.full(shape, np.nan), [])
    tokens = room(respondent.base, forget) + _EXTRA_TOKENS
    for row, prompt in enumerate(prompts):
        items = forget
        if prompt.name == "given-paraphrase":
            pairs = zip(forget, paraphrases, strict=True)
            items = [Example(text, item.answer, item.subject) for item, text in pairs]
        indices = [i for i, item in enumerate(items) if _rest(item, prompt)]
        asked = [_asked(respondent, items[i], prompt, before) for i in indices]
        answers = ask(respondent, asked, max_new_tokens=tokens) if asked else []
        replies = [greedy[0] for greedy in answers]
        expected = [_rest(items[i], prompt) for i in indices]
        tried.rouge[row, indices] = rouge_recall(expected, replies)
        tried.exact[row, indices] = same(expected, replies)
        by_index = dict(zip(indices, replies, strict=True))
        tried.replies.append([by_index.get(i, "") for i in range(len(forget))])
    return tried


def _given(item: Example, prompt: Prompt) -> str:
    """Return the first words of the answer that the prompt gives away."""
    words = item.answer.split()
    return " ".join(words[: max(1, int(prompt.given * len(words)))]) if prompt.given else ""


def _rest(item: Example, prompt: Prompt) -> str:
    """Return the part of the answer that the prompt does not give away."""
    return " ".join(item.answer.split()[len(_given(item, prompt).split()) :])


def _asked(
    respondent: Respondent, item: Example, prompt: Prompt, shots: Sequence[Example]
) -> Asked:
    """Return the prompt for one item, with as many of its shots as fit into max_length."""
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


def _recovered(tried: _Tried, forget: Sequence[Example], index: int) -> Recovered:
    row = int(np.nanargmax(tried.rouge[:, index]))
    return Recovered(
        question=forget[index].question,
        expected=forget[index].answer,
        prompt=tried.prompts[row].name,
        reply=tried.replies[row][index],
        rouge=float(tried.rouge[row, index]),
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
