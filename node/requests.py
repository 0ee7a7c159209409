"""Asking for a contribution to be taken back: everything is checked before anything is on chain."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from rescind.contracts import (
    Consortium,
    ContractRefused,
    MemberStatus,
    ModelKind,
    Receipt,
    WithdrawalState,
)
from rescind.core.errors import ConfigError, DataError
from rescind.daemon import Journal, load_account, open_consortium
from rescind.node.config import NodeConfig
from rescind.node.subjects import Withdrawn, commit_subject, request_key

if TYPE_CHECKING:
    from rescind.training import Example

METHODS = tuple(kind.value for kind in ModelKind if kind is not ModelKind.ROUND)
DEFAULT_COUNTER_METHOD = {"subject": "npo", "organization": "undial"}
"""By what is to be forgotten: an organization has nothing of its own left to keep, and UNDIAL needs
nothing. Any other method of unlearning.registry by --with."""


@dataclass(frozen=True)
class Request:
    """`subject`: one data subject, or None for everything of the organization. `counter_method`,
    `settings`, `retain`: of a counter-training; `retain` a file of pairs to be kept."""

    method: str = ModelKind.REMOVAL.value
    subject: str | None = None
    counter_method: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    retain: Path | None = None


def request_withdrawal(config: NodeConfig, request: Request | None = None) -> dict[str, object]:
    """Put a request on chain. The name of a data subject goes into the node's journal with its salt;
    the chain gets their hash. Raises ConfigError, DataError, or ContractRefused."""
    it = request or Request()
    kind = _checked(it)
    account = load_account(config.identity)
    consortium = open_consortium(config.chain, account)
    _may_ask(consortium, account.address, it)
    journal = Journal(config.node.state_dir / "node.db")
    if it.subject is not None or kind is ModelKind.COUNTER_TRAINING:
        _check_data(config, journal, it)
    salt = secrets.token_bytes(32)
    commitment = commit_subject(it.subject, salt) if it.subject is not None else ""
    note = {
        "subject": it.subject,
        "salt": salt.hex() if commitment else None,
        "method": kind.value,
        "counter_method": counter_method(it) if kind is ModelKind.COUNTER_TRAINING else None,
        "settings": dict(it.settings),
        "retain": str(it.retain.resolve()) if it.retain else None,
        "withdrawal": None,
    }
    journal.set(request_key(commitment), note)
    receipt = _ask(consortium, commitment, kind)
    mine = [w for w in consortium.withdrawals() if w.organization == account.address]
    made = next(w for w in reversed(mine) if w.subject == commitment)
    journal.set(request_key(commitment), {**note, "withdrawal": made.id})
    return {
        "withdrawal": made.id,
        "method": made.method.value,
        "state": made.state.value,
        "deadline": made.deadline,
        "transaction": receipt.tx_hash,
    }


def counter_method(it: Request) -> str:
    scope = "organization" if it.subject is None else "subject"
    return it.counter_method or DEFAULT_COUNTER_METHOD[scope]


def forget_and_retain(
    own: list[Example], subject: str | None, retain: Path | None
) -> tuple[list[Example], list[Example]]:
    """What is to be forgotten, and what is to be kept of one's own and of a file.

    Raises DataError when there is nothing to forget, or when a pair would have to be both.
    """
    from rescind.training import read_examples

    forget = [e for e in own if subject is None or e.subject == subject]
    kept = [e for e in own if subject is not None and e.subject != subject]
    if not forget:
        known = ", ".join(sorted({e.subject for e in own})[:5])
        raise DataError(f"no row of one's data is of subject {subject!r}; there is {known}, ...")
    if subject is not None and not kept:
        raise DataError(
            f"everything of one's data is of subject {subject!r}: ask for the removal of the "
            "organization instead"
        )
    kept += read_examples(retain) if retain else []
    pairs = {(e.question, e.answer): e for e in kept}
    both = [e for e in forget if (e.question, e.answer) in pairs]
    if both:
        other = pairs[both[0].question, both[0].answer].subject
        raise DataError(
            f"{len(both)} pairs of {subject or 'the organization'} are also to be kept, "
            f"{both[0].question[:60]!r} for one, of {other!r}: what is shared cannot be forgotten "
            "and kept"
        )
    return forget, kept


def read_settings(kind: type, given: Mapping[str, str]) -> Any:
    """A method's settings with some of their defaults changed; "guard.every" is a setting within one.

    Raises ConfigError.
    """
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for name in {full.partition(".")[0] for full in given}:
        if name not in hints:
            raise ConfigError(f"unknown setting {name!r}; there is {', '.join(sorted(hints))}")
        inner = {k.partition(".")[2]: v for k, v in given.items() if k.partition(".")[0] == name}
        nested = is_dataclass(hints[name])
        if nested != all(inner):
            raise ConfigError(
                f"setting {name!r} has parts: write {name}.PART=VALUE"
                if nested
                else f"setting {name!r} has no parts"
            )
        values[name] = (
            read_settings(hints[name], inner) if nested else _value(name, inner[""], hints[name])
        )
    return kind(**values)


def _value(name: str, text: str, hint: Any) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(hint)
    try:
        return adapter.validate_python(None) if text == "none" else adapter.validate_strings(text)
    except ValidationError as error:
        raise ConfigError(f"setting {name} is {text!r}: {error.errors()[0]['msg']}") from error


def chosen_method(name: str, given: Mapping[str, str], *, retain: bool, subject: bool) -> Any:
    """A method of counter-training with its settings. Raises ConfigError when it does not go with what
    is to be forgotten and kept."""
    from rescind.unlearning import find

    method = find(name)
    settings = read_settings(method.settings, given)
    if method.needs_retain and getattr(settings, "alpha", 1.0) > 0 and not retain:
        raise ConfigError(
            f"method {name} needs pairs that are to be kept: give a file of them with --retain"
        )
    if subject and not method.forgets_subjects:
        raise ConfigError(
            f"method {name} takes back everything of the organization, not one subject's part"
        )
    return method, settings


def _checked(it: Request) -> ModelKind:
    if it.method not in METHODS:
        raise ConfigError(f"unknown method {it.method!r}: one of {', '.join(METHODS)}")
    kind = ModelKind(it.method)
    if kind is ModelKind.REMOVAL and it.subject is not None:
        raise ConfigError(
            "a removal takes back everything of the organization: for one subject ask for a "
            "replacement, a replay or a counter-training"
        )
    if kind is ModelKind.REPLACEMENT and it.subject is None:
        raise ConfigError("a replacement is for one data subject: name it with --subject")
    counter = kind is ModelKind.COUNTER_TRAINING
    if not counter and (it.counter_method or it.settings or it.retain):
        raise ConfigError("--with, --set and --retain belong to a counter-training")
    return kind


def _may_ask(consortium: Consortium, me: str, it: Request) -> None:
    status = consortium.member(me).status
    if status not in (MemberStatus.ACTIVE, MemberStatus.LEFT):
        raise ContractRefused(
            f"{me} is {status.value}: only an active member, or one that left, can ask",
            "WrongStatus",
        )
    still_open = [
        w
        for w in consortium.withdrawals()
        if w.organization == me and w.state is not WithdrawalState.CLOSED
    ]
    whole = it.method in (ModelKind.REMOVAL.value, ModelKind.REPLAY.value) and it.subject is None
    if still_open and not whole:
        raise ConfigError(
            f"withdrawal {still_open[0].id} of one's own is still open: wait until it is closed"
        )
    if it.method != ModelKind.REMOVAL.value and not consortium.rounds_of(me):
        raise ConfigError("one has contributed to no model: there is nothing to take back")


def _check_data(config: NodeConfig, journal: Journal, it: Request) -> None:
    from rescind.training import read_examples

    own = read_examples(config.node.data)
    known, withdrawn = {e.subject for e in own}, Withdrawn.of(journal)
    gone = {subject for subject in known if subject in withdrawn} - {it.subject}
    left = [e for e in own if e.subject not in gone]
    _, retain = forget_and_retain(left, it.subject, it.retain)
    if it.method != ModelKind.COUNTER_TRAINING.value:
        return
    subject = it.subject is not None
    chosen_method(counter_method(it), it.settings, retain=bool(retain), subject=subject)


def _ask(consortium: Consortium, commitment: str, kind: ModelKind) -> Receipt:
    if commitment:
        return consortium.request_subject_withdrawal(commitment, kind)
    return consortium.request_withdrawal(kind)
