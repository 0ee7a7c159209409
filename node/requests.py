"""The request for a withdrawal: everything is checked before anything is on chain."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from rescind.contracts import (
    Consortium,
    ContractRefused,
    MemberStatus,
    Receipt,
    Rule,
    Withdrawal,
    WithdrawalMethod,
    WithdrawalState,
)
from rescind.core import ArtifactStore, ConsortiumParameters
from rescind.core.errors import ConfigError, DataError
from rescind.core.names import canonical_name
from rescind.daemon import Journal, load_account, open_consortium
from rescind.node.config import NodeConfig
from rescind.node.data_checks import check_lengths
from rescind.node.facts import open_journal
from rescind.node.retained import retained_id
from rescind.node.statistics_rows import read_rows
from rescind.node.subjects import Withdrawn, commit_subject
from rescind.node.withdrawal_facts import RequestFact

if TYPE_CHECKING:
    from rescind.training import Example, ReadOptions

METHODS = tuple(method.value for method in WithdrawalMethod)
DEFAULT_COUNTER_METHOD = {"subject": "npo", "organization": "undial"}
"""The unlearning method by scope, unless --with names another one of `rescind.unlearning.registry`.

An organization that withdraws everything has no data left to retain, and UNDIAL needs none.
"""


@dataclass(frozen=True)
class Request:
    """A withdrawal that an organization asks for.

    Attributes:
        method: A `WithdrawalMethod` value.
        subject: The data subject; None to withdraw everything of the organization.
        counter_method: Name of the unlearning method of a counter-training.
        settings: The method's settings that are not its defaults, as text.
        retain: File of pairs that a counter-training keeps.
    """

    method: str = WithdrawalMethod.REMOVAL.value
    subject: str | None = None
    counter_method: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    retain: Path | None = None


def request_withdrawal(config: NodeConfig, request: Request | None = None) -> dict[str, object]:
    """Put a request on chain.

    A data subject's name stays in the node's journal with its salt; the chain gets their hash.

    Args:
        config: The node's TOML file.
        request: What to withdraw; by default everything of the organization, by removal.

    Returns:
        The withdrawal's number, method, state and deadline, and the transaction's hash.

    Raises:
        ConfigError: The request cannot be made.
        DataError: The data file does not have what is to be forgotten, or the name is not valid.
        ContractRefused: The organization's status does not allow a request.
    """
    request = request or Request()
    if request.subject is not None:
        request = replace(request, subject=canonical_name(request.subject))
    kind = _checked(request)
    account = load_account(config.identity)
    consortium = open_consortium(config.chain, account, state=config.node.state_dir)
    _check_may_request(consortium, account.address, request)
    journal = open_journal(config.node.state_dir)
    if request.subject is not None or kind is WithdrawalMethod.COUNTER_TRAINING:
        _check_data(config, journal, request)
        _check_retained(config, consortium, request)
    fact = _fact(config, request, kind)
    # The salt is durable before its hash is on chain: without it the hash names no data subject.
    fact.save(journal)
    receipt = _send(consortium, account.address, fact.commitment, kind)
    # The newest block of a back end that is behind may not have the request yet.
    requested = consortium.at(receipt.block).withdrawals()
    own = [w for w in requested if w.organization == account.address]
    withdrawal = next(w for w in reversed(own) if w.subject == fact.commitment)
    replace(fact, withdrawal=withdrawal.id).save(journal)
    return {
        "withdrawal": withdrawal.id,
        "method": withdrawal.method.value,
        "state": withdrawal.state.value,
        "deadline": withdrawal.deadline,
        "transaction": receipt.tx_hash,
    }


def _fact(config: NodeConfig, request: Request, kind: WithdrawalMethod) -> RequestFact:
    commitment, salt = "", None
    if request.subject is not None:
        salt = secrets.token_bytes(32)
        commitment = commit_subject(request.subject, salt)
    return RequestFact(
        commitment=commitment,
        method=kind.value,
        subject=request.subject,
        salt=salt.hex() if salt else None,
        counter_method=counter_method(request)
        if kind is WithdrawalMethod.COUNTER_TRAINING
        else None,
        settings=dict(request.settings),
        retain=str(request.retain.resolve()) if request.retain else None,
        retain_id=retained_id(request.retain, config.data) if request.retain else "",
    )


def counter_method(request: Request) -> str:
    """Return the unlearning method of a counter-training: the requested or the default one."""
    scope = "organization" if request.subject is None else "subject"
    return request.counter_method or DEFAULT_COUNTER_METHOD[scope]


def forget_and_retain(
    own: list[Example],
    subject: str | None,
    retain: Path | None,
    options: ReadOptions | None = None,
) -> tuple[list[Example], list[Example]]:
    """Return the examples to forget, and those to retain.

    Args:
        own: The node's examples.
        subject: The data subject to forget; None for everything of the organization.
        retain: File of more examples to retain.
        options: How that file is read.

    Raises:
        DataError: There is nothing to forget or to retain, or a pair would have to be both.
    """
    from rescind.training import read_examples

    subject = None if subject is None else canonical_name(subject)
    forget = [e for e in own if subject is None or e.subject == subject]
    kept = [e for e in own if subject is not None and e.subject != subject]
    if not forget:
        # No names: the node logs this error, and logs go further than the data.
        known = len({e.subject for e in own})
        raise DataError(
            f"No row in your data belongs to the subject that was named; {len(own)} rows belong to "
            f"{known} others. Write the name as the data file does."
        )
    if subject is not None and not kept:
        raise DataError(
            "All rows in your data belong to the subject that was named. Request the removal of your "
            "organization instead, without --subject."
        )
    kept += read_examples(retain, options=options) if retain else []
    _check_disjoint(forget, kept)
    return forget, kept


def _check_disjoint(forget: list[Example], kept: list[Example]) -> None:
    pairs = {e.content for e in kept}
    both = [n for n, e in enumerate(forget, start=1) if e.content in pairs]
    if both:
        raise DataError(
            f"{len(both)} of the {len(forget)} pairs to forget are also pairs to retain, the first is "
            f"pair {both[0]} of those to forget. A shared pair cannot be both forgotten and "
            "retained. Remove it from one of them."
        )


def read_settings(kind: type, given: Mapping[str, str]) -> Any:
    """Return a method's settings with some of their defaults changed.

    Args:
        kind: The dataclass of settings.
        given: Values as text. A name with a dot, such as "guard.every", is a setting of a part.

    Raises:
        ConfigError: A name is unknown, or a value cannot be read.
    """
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for name in {full.partition(".")[0] for full in given}:
        if name not in hints:
            raise ConfigError(
                f"unknown setting {name!r}. Known settings: {', '.join(sorted(hints))}."
            )
        parts = {k.partition(".")[2]: v for k, v in given.items() if k.partition(".")[0] == name}
        values[name] = _setting(name, parts, hints[name])
    return kind(**values)


def _setting(name: str, parts: Mapping[str, str], hint: Any) -> Any:
    """Return the value of a setting from its parts; a setting without parts has the part ""."""
    if is_dataclass(hint):
        if "" in parts:
            raise ConfigError(f"setting {name!r} has parts: write {name}.PART=VALUE")
        return read_settings(hint, parts)  # type: ignore[arg-type]
    if "" not in parts:
        raise ConfigError(f"setting {name!r} has no parts: write {name}=VALUE")
    return _value(name, parts[""], hint)


def _value(name: str, text: str, hint: Any) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(hint)
    try:
        return adapter.validate_python(None) if text == "none" else adapter.validate_strings(text)
    except ValidationError as error:
        raise ConfigError(f"setting {name} is {text!r}: {error.errors()[0]['msg']}") from error


def chosen_method(name: str, given: Mapping[str, str], *, retain: bool, subject: bool) -> Any:
    """Return an unlearning method and its settings.

    Args:
        name: The method's name.
        given: Its settings that are not the defaults, as text.
        retain: Whether there are examples to retain.
        subject: Whether one data subject is to be forgotten, not the whole organization.

    Raises:
        ConfigError: The method or a setting is unknown, or does not fit the request.
    """
    from rescind.unlearning import find

    method = find(name)
    settings = read_settings(method.settings, given)
    if method.needs_retain and getattr(settings, "alpha", 1.0) > 0 and not retain:
        raise ConfigError(
            f"Method {name} needs pairs to retain. Give a file of them with --retain FILE."
        )
    if subject and not method.forgets_subjects:
        raise ConfigError(
            f"Method {name} withdraws everything of the organization, not one subject's part. "
            "Leave out --subject, or choose another method."
        )
    return method, settings


def _checked(request: Request) -> WithdrawalMethod:
    if request.method not in METHODS:
        raise ConfigError(
            f"unknown method {request.method!r}. Known methods: {', '.join(METHODS)}."
        )
    kind = WithdrawalMethod(request.method)
    if kind is WithdrawalMethod.REMOVAL and request.subject is not None:
        raise ConfigError(
            "A removal withdraws everything of your organization. To withdraw one data subject, "
            "request a replacement, a replay or a counter-training."
        )
    if kind is WithdrawalMethod.REPLACEMENT and request.subject is None:
        raise ConfigError("A replacement withdraws one data subject. Name it with --subject NAME.")
    counter = kind is WithdrawalMethod.COUNTER_TRAINING
    if not counter and (request.counter_method or request.settings or request.retain):
        raise ConfigError(
            "--with, --set and --retain belong to --method counter-training. Leave them out."
        )
    return kind


def _check_may_request(consortium: Consortium, address: str, request: Request) -> None:
    status = consortium.member(address).status
    whole_removal = request.method == WithdrawalMethod.REMOVAL.value
    still_open = _open_withdrawal(consortium, address)
    if still_open is not None:
        if still_open.method is WithdrawalMethod.REMOVAL:
            raise ConfigError(
                f"Your removal, withdrawal {still_open.id}, has already taken effect. No other "
                "withdrawal can follow it."
            )
        if whole_removal:
            return
        raise ConfigError(
            f"Your withdrawal {still_open.id} is still open. Wait for it to close before requesting "
            "another, or request the removal of your organization, which takes its place."
        )
    if status not in (MemberStatus.ACTIVE, MemberStatus.LEFT):
        raise ContractRefused(
            f"{address} is {status.value}. Only an active member, or one that left, can request a "
            "withdrawal.",
            "WrongStatus",
        )
    if not whole_removal and not consortium.rounds_of(address):
        raise ConfigError("You have not contributed to any model, so there is nothing to withdraw.")
    settings = consortium.settings()
    replaces = request.method == WithdrawalMethod.REPLACEMENT.value
    if len(settings.rules) > 1 and not (whole_removal or replaces):
        what = "statistics" if Rule.LATEST in settings.rules else "shared ranks"
        exact = ": both are exact here" if Rule.LATEST in settings.rules else ""
        raise ConfigError(
            f"In this consortium contributions hold {what}, and a {request.method} takes nothing "
            "out of them. Request a replacement for one data subject, or the removal of your "
            f"organization{exact}."
        )
    replays = request.method == WithdrawalMethod.REPLAY.value
    if replays and request.subject is None and not settings.chained:
        raise ConfigError(
            "In this consortium no round builds on other organizations' contributions, so there is "
            "nothing to train again. Request a removal, which is exact here."
        )


def _open_withdrawal(consortium: Consortium, address: str) -> Withdrawal | None:
    number = consortium.open_withdrawal(address)
    withdrawal = consortium.withdrawal(number) if number else None
    is_open = withdrawal is not None and withdrawal.state is not WithdrawalState.CLOSED
    return withdrawal if is_open else None


def _check_data(config: NodeConfig, journal: Journal, request: Request) -> None:
    from rescind.training import read_examples

    if _is_in_statistics(config, request):
        return
    own = read_examples(config.node.data, options=config.data) if config.node.data else []
    subjects, withdrawn = {e.subject for e in own}, Withdrawn.of(journal)
    excluded = {subject for subject in subjects if subject in withdrawn} - {request.subject}
    left = [e for e in own if e.subject not in excluded]
    _, retain = forget_and_retain(left, request.subject, request.retain, config.data)
    if request.method != WithdrawalMethod.COUNTER_TRAINING.value:
        return
    subject = request.subject is not None
    chosen_method(counter_method(request), request.settings, retain=bool(retain), subject=subject)


def _is_in_statistics(config: NodeConfig, request: Request) -> bool:
    """Return whether rows of statistics are the data subject's."""
    if request.subject is None:
        return False
    rows = [row.example for located in read_rows(config).values() for row in located]
    return any(row.subject == request.subject for row in rows)


def _check_retained(config: NodeConfig, consortium: Consortium, request: Request) -> None:
    """Check the lengths of rows to retain, if the node knows what was agreed on.

    The node has checked its own data. A row that is too long would be found in the training only, and
    the request would end as a removal of the organization.
    """
    store = ArtifactStore(config.node.state_dir / "store")
    agreed = consortium.settings().parameters_id
    if request.retain is None or not store.has(agreed):
        return
    from rescind.training.reading.examples import demand, read_all

    rows = demand(read_all(request.retain, config.data), request.retain)
    check_lengths(config, ConsortiumParameters.parse(store.get(agreed)), rows)


def _send(
    consortium: Consortium, address: str, commitment: str, method: WithdrawalMethod
) -> Receipt:
    if commitment:
        return consortium.request_subject_withdrawal(commitment, method)
    # A removal takes the place of an open withdrawal.
    still_open = consortium.open_withdrawal(address)
    return consortium.convert(still_open) if still_open else consortium.request_withdrawal(method)
