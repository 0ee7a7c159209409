"""The names by which requests choose a model: the routed one, a block, or the bare base."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rescind.core import SHARED
from rescind.serving.errors import ApiError, unknown_model
from rescind.serving.standing import ModelKey
from rescind.training.skills import Skills

if TYPE_CHECKING:
    from rescind.training.routers import Router

BASE = "base"
"""The owner of the answers of the bare base model."""
HEAD = "head"
"""The owner of the answers of heads, which are solved from the statistics of all organizations."""


@dataclass(frozen=True)
class ServedModel:
    """A model that requests can ask.

    Attributes:
        prefix: The consortium's name, as names of models begin.
        key: The model on chain.
        adapter_id: Artifact id of its adapter; empty for the base model alone.
        owners: Lowercase addresses of the organizations that have a block in it, sorted, or
            `rescind.core.SHARED` alone.
        organizations: Their names by lowercase address.
        skills: The heads of its statistics; None if it has none.
        router: The agreed router, solved from its statistics; None for the likelihood router.
    """

    prefix: str
    key: ModelKey
    adapter_id: str
    owners: tuple[str, ...]
    organizations: Mapping[str, str] = field(default_factory=dict)
    skills: Skills | None = field(default=None, compare=False, repr=False)
    router: Router | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The name of the routed model, with its number."""
        return f"{self.prefix}-{self.key.number}"

    @property
    def base_name(self) -> str:
        """The name of the bare base model."""
        return base_name(self.prefix)

    @property
    def is_shared(self) -> bool:
        """True if one adapter answers everything, so that there is nothing to choose."""
        return self.owners == (SHARED,)


@dataclass(frozen=True)
class Target:
    """The target of a request: the routed model, a block of it, or the bare base model.

    Attributes:
        kind: Which of them.
        owner: The block's owner.
    """

    kind: Literal["routed", "block", "base"]
    owner: str = ""


def prefix_of(name: str) -> str:
    """Return a consortium's name in the letters that names of models have.

    Example:
        >>> prefix_of("Hospitals of the North / 2")
        'hospitals-of-the-north-2'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "rescind"


def resolve(name: str, served: ServedModel) -> Target:
    """Return what a name of a model stands for.

    Args:
        name: The value of `model` in a request.
        served: The model that is served.

    Raises:
        ApiError: There is no such model, or it is not served any more.
    """
    if name == served.base_name:
        return Target("base")
    head, slash, block = name.partition("/")
    if head not in (served.prefix, served.name):
        raise unknown_model(_unknown(name, head, served))
    if not slash:
        return Target("routed")
    owner = _owner(block, served)
    if owner is None:
        raise unknown_model(
            f"Model {served.name} has no block of {block!r}. GET /v1/models lists its blocks: the "
            "organization was withdrawn, never contributed, or shares its name with another one, "
            "and is then asked by its address."
        )
    return Target("block", owner)


def _owner(block: str, served: ServedModel) -> str | None:
    if block.lower() in served.owners and not served.is_shared:
        return block.lower()
    named = [each for each in served.owners if served.organizations.get(each) == block]
    return named[0] if len(named) == 1 else None


def _unknown(name: str, head: str, served: ServedModel) -> str:
    number = re.fullmatch(rf"{re.escape(served.prefix)}-([0-9]+)", head)
    if number and int(number[1]) < served.key.number:
        return (
            f"Model {number[1]} is not served any more: model {served.key.number} took its place "
            f"on chain. Ask {served.name!r}, or {served.prefix!r} for the model in use."
        )
    if number:
        return (
            f"Model {number[1]} is not served: the model in use is {served.key.number}. Ask "
            f"{served.name!r}, or {served.prefix!r} for the model in use."
        )
    return f"There is no model {name!r}. GET /v1/models lists the models of this server."


def stated(name: str, served: ServedModel) -> str:
    """Return the name that an answer states: with the number of the model that answered."""
    head, slash, block = name.partition("/")
    return f"{served.name}{slash}{block}" if head == served.prefix else name


def listing(prefix: str, served: ServedModel | None, created: int) -> list[dict[str, Any]]:
    """Return the models that requests can name, as OpenAI lists them.

    Args:
        prefix: The consortium's name, as names of models begin.
        served: The model that is served; None leaves the bare base model.
        created: When it was loaded, Unix seconds.
    """
    base = _card(base_name(prefix), prefix, created, None)
    if served is None:
        return [base]
    facts = {"model": served.key.number, "adapter": served.adapter_id or None}
    cards = []
    for name, organization, address in _listed(served):
        own = {"organization": organization, "address": address} if address else {}
        card = _card(name, organization or prefix, created, served.base_name)
        cards.append(card | {"rescind": facts | own})
    tasks = _tasks(served.skills) if served.skills else []
    for card in cards[:2] if tasks else ():
        card["rescind"]["tasks"] = tasks
    cards[0]["root"] = served.name
    return [*cards, base]


def _tasks(skills: Skills) -> list[dict[str, Any]]:
    """Return what heads answer: the form of the questions, and the labels that have rows."""
    return [
        {
            "task": name,
            "prompt": skill.task.prompt,
            "labels": list(skill.labels),
            "rows": int(skill.counts.sum()),
            "head": skill.head.id,
        }
        for name, skill in skills.skills.items()
        if skill.head is not None
    ]


def _listed(served: ServedModel) -> Iterator[tuple[str, str, str]]:
    """Yield name, organization and address of each model but the base."""
    yield served.prefix, "", ""
    yield served.name, "", ""
    if not served.is_shared:
        repeated = Counter(served.organizations.get(owner, "") for owner in served.owners)
        for owner in served.owners:
            organization = served.organizations.get(owner, "")
            if organization and repeated[organization] == 1:
                yield f"{served.name}/{organization}", organization, owner
            yield f"{served.name}/{owner}", organization, owner


def _card(name: str, owner: str, created: int, parent: str | None) -> dict[str, Any]:
    facts = {"id": name, "object": "model", "created": created, "owned_by": owner}
    return facts | {"root": name, "parent": parent}


def base_name(prefix: str) -> str:
    """Return the name of the bare base model of a consortium."""
    return f"{prefix}-{BASE}"


def checked(name: object) -> str:
    """Return the value of `model` in a request.

    Raises:
        ApiError: It is missing or not a text.
    """
    if isinstance(name, str) and name:
        return name
    raise ApiError(400, "Name a model: GET /v1/models lists them.", "missing_model", "model")
