"""README.md of exported heads: what they answer, and how to score a text with numpy alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rescind.core import ConsortiumParameters
from rescind.core.features import hidden_maps
from rescind.training.export import score_text
from rescind.training.export.origin import Origin
from rescind.training.skills import Skill


def heads_card(skills: Sequence[Skill], parameters: ConsortiumParameters, origin: Origin) -> str:
    """Return the card of a folder of heads.

    Args:
        skills: The skills whose heads are in the folder.
        parameters: What the consortium agreed on.
        origin: The model that the heads are solved from.
    """
    number = "" if origin.model_id is None else f" of model {origin.model_id}"
    return f"""\
# Heads{number}

Classifiers that are solved from the summed statistics of all organizations in the model, written by Rescind. A question of
a task's form is answered with the label of the highest score. The base model and the blocks are not needed for it.

{_tasks(skills)}
## Use

The weights are integers in units of 2^-scale_bits, of shape (features, labels). Features are made of the text alone, that is, of
{{text}} in the form of the question. The metadata of each file has `rescind.task`, `.prompt`, `.labels`, `.rows` (of each label:
one without rows is never an answer), `.features`, `.ridge`, `.scale_bits`, `.head` (below) and the origin of the model.

{_use(skills)}
```python
{Path(score_text.__file__).read_text(encoding="utf-8").rstrip()}
```

`rescind.head` is the SHA-256 of the weights as an artifact: the name of the head in certificates and in the header
`x-rescind-head` of `rescind serve`. Everybody who has the model's adapter solves the same integers from it. With a file whose
weights are other ones, the code above ends with an error.

## Origin

| | |
|---|---|
| consortium | {_cell(parameters.name)} |
| model | {"not on a chain" if origin.model_id is None else origin.model_id} |
| artifact id of the published adapter | {f"`{origin.adapter_id}`" if origin.adapter_id else "-"} |
| in use when it was exported | {"yes" if origin.in_use else "no"} |
| id of the agreed parameters | `{origin.parameters_id or parameters.id}` |

An organization or a person can withdraw. Then the sums change and with them the heads, and this copy must be deleted.
{_check(origin)}"""


def _use(skills: Sequence[Skill]) -> str:
    hidden = [skill.name for skill in skills if any(hidden_maps(skill.task.features))]
    plain = [skill.name for skill in skills if skill.name not in hidden]
    parts = []
    if plain:
        parts.append(
            "With Python and numpy alone, save this as `score_text.py`, and run "
            f"`python score_text.py {plain[0]}.safetensors 'TEXT'`. It prints the best labels:\n"
        )
    if hidden:
        parts.append(
            f"The features of {_listed(hidden)} are hidden states of the base model: compute them "
            "with `rescind.training.features`"
            + (".\n" if plain else ". For other features the code would be:\n")
        )
    return "\n".join(parts)


def _tasks(skills: Sequence[Skill]) -> str:
    lines = [
        "| task | form of its questions | labels with rows | rows | head |",
        "|---|---|---|---|---|",
    ]
    for skill in skills:
        head = skill.head.id if skill.head else "-"
        lines.append(
            f"| {skill.name} | {_cell(skill.task.prompt)} | {len(skill.labels)} of "
            f"{len(skill.task.labels)} | {int(skill.counts.sum())} | `{head}` |"
        )
    return "\n".join(lines) + "\n"


def _check(origin: Origin) -> str:
    if origin.model_id is None or not origin.contracts:
        return "This export does not name a model on a chain.\n"
    return f"""\
Ask the chain, through any Ethereum node, from time to time: `rescind audit models --rpc URL --contracts contracts.json`
must show model {origin.model_id} in use.
"""


def _cell(text: str) -> str:
    """Return text that others chose as a cell of a table."""
    return json.dumps(text, ensure_ascii=False).replace("|", "\\|").replace("<", "&lt;")


def _listed(names: Sequence[str]) -> str:
    return " and ".join(", ".join(names).rsplit(", ", 1))
