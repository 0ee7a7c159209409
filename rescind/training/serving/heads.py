"""Heads of a served model: solved from its summed statistics, they answer questions of agreed tasks.

A head gives scores of labels and no likelihood of tokens. So where likelihoods are measured, such a
question goes to the bare base model, and `evaluate` leaves it out of the perplexity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rescind.core import STATISTICS, ConsortiumParameters, Totals, block
from rescind.core.errors import DataError
from rescind.core.features import HiddenSource
from rescind.core.statistics_tensors import solvable_statistics
from rescind.training.skills import Skill, SkillAnswer, Skills
from rescind.training.text.question import Question, question_text


def skills_of(
    parameters: ConsortiumParameters,
    totals: Totals,
    members: Mapping[str, int] | None = None,
    hidden: HiddenSource | None = None,
) -> Skills | None:
    """Return the skills of a model; None if it holds no statistics.

    Args:
        parameters: What the consortium agreed on.
        totals: The model's tensors by qualified name. A caller that found the statistics not to
            open leaves them out.
        members: The organizations in the sum of statistics, by the chain
            (`rescind.withdrawals.members_in_sum`). Needed only where noise is agreed.
        hidden: Computes hidden states, where a task's features need them.

    Raises:
        DataError: Noise is agreed, and `members` is missing.
        NotSolvable: No head can be solved from the statistics.
    """
    agreed, tensors = parameters.statistics, block(totals, STATISTICS)
    if agreed is None or not tensors:
        return None
    if agreed.noise is not None and members is None:
        raise DataError(
            "The statistics have noise, so their heads depend on how many organizations are in the "
            "sum. Pass those that the chain has."
        )
    sums = solvable_statistics(agreed, tensors, len(members or ()))
    return Skills(
        {
            name: Skill.of(name, task, sums[name], agreed.ridge)
            for name, task in agreed.tasks.items()
        },
        hidden,
    )


def answers_of_heads(
    skills: Skills | None, questions: Sequence[Question]
) -> dict[int, SkillAnswer]:
    """Return what heads answer, by the index of the question.

    Questions of no task, and those of a task without rows, are left out. Of a conversation the last
    question counts. A document is not a question.
    """
    answers: dict[int, SkillAnswer] = {}
    if skills is None:
        return answers
    texts = texts_of_heads(skills, questions)
    for name in dict.fromkeys(task for task, _ in texts.values()):
        own = {index: text for index, (task, text) in texts.items() if task == name}
        given = skills.skills[name].answers(list(own.values()), skills.hidden)
        answers |= zip(own, given, strict=True)
    return answers


def texts_of_heads(
    skills: Skills | None, questions: Sequence[Question]
) -> dict[int, tuple[str, str]]:
    """Return the task and the text of each question that a head answers, by its index."""
    texts: dict[int, tuple[str, str]] = {}
    if skills is None:
        return texts
    for index, question in enumerate(questions):
        is_document = not isinstance(question, str) and question.document
        skill_and_text = None if is_document else skills.find(question_text(question))
        if skill_and_text is not None and skill_and_text[0].head is not None:
            texts[index] = (skill_and_text[0].name, skill_and_text[1])
    return texts
