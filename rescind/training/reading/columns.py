"""The meaning of a row's columns: a declared mapping, or a known set of columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rescind.core.names import NameInvalid, canonical_name
from rescind.training.data import Example, Turn
from rescind.training.reading.conversations import conversation, examples_of
from rescind.training.reading.options import ReadOptions
from rescind.training.reading.rows import Row, shortened
from rescind.training.reading.templates import FILE, ROW, Template, ValueMissing, as_text

KNOWN: dict[str, tuple[str, ...]] = {
    "messages": ("messages",),
    "conversations": ("conversations",),
    "prompt": ("prompt", "completion"),
    "instruction": ("instruction", "output"),
    "question": ("question", "answer"),
    "text": ("text",),
}
"""The sets of columns that are recognized, by their first. docs/data.md lists them."""
_OPTIONAL = {
    "prompt": ("system",),
    "instruction": ("input", "system"),
    "question": ("system", "turns"),
}
_RECOGNIZED = {
    name for names in (*KNOWN.values(), *_OPTIONAL.values(), ("subject",)) for name in names
}
_LISTED = 12


@dataclass(frozen=True)
class Plan:
    """How the rows with a set of columns are read.

    Attributes:
        read: Returns the examples of a row, for the canonical name of its subject.
        used: The columns that are read.
    """

    read: Callable[[Row, str], list[Example]]
    used: frozenset[str]


class Columns:
    """The mapping from rows to examples.

    Attributes:
        unused: Columns of the rows so far that nothing was read from.
    """

    def __init__(self, options: ReadOptions) -> None:
        self._options = options
        self._subject = Template.parse(options.subject or "subject")
        self._declared = options.columns
        self._plans: dict[tuple[str, ...], Plan | None] = {}
        self._canonical: dict[str, str] = {}
        self.unused: dict[str, None] = {}

    def examples(self, row: Row) -> tuple[str, list[Example]]:
        """Return the subject's name as the row spells it, and the examples of the row.

        Raises:
            ValueError: A value is missing or of the wrong kind, or the columns are not recognized.
        """
        row = Row(row.place, _known_case(row.values, self._declared))
        plan = self._plan(row)
        spelled = self._spelled(row)
        if spelled not in self._canonical:
            try:
                self._canonical[spelled] = canonical_name(spelled)
            except NameInvalid as error:
                raise ValueError(str(error)) from error
        return spelled, plan.read(row, self._canonical[spelled])

    def _spelled(self, row: Row) -> str:
        try:
            return self._subject.text(row.values, row.place)
        except ValueMissing as error:
            if self._options.default_subject is not None:
                return self._options.default_subject
            if self._options.subject is not None:
                raise
            raise ValueMissing(
                f"'subject' is missing or empty. The columns are {_listed(row.values)}. Set subject "
                'in [data]: a column, or a template such as "{first} {last}"; or default_subject, '
                "one name for all rows without"
            ) from error

    def _plan(self, row: Row) -> Plan:
        names = tuple(row.values)
        if names in self._plans and self._plans[names] is not None:
            plan = self._plans[names]
            assert plan is not None
            return plan
        plan, ambiguous = self._planned(row)
        # What is ambiguous by its names may not be by the values of each row.
        self._plans[names] = None if ambiguous else plan
        used = plan.used | {column.split(".")[0] for column in self._subject.columns}
        self.unused.update(dict.fromkeys(name for name in names if name and name not in used))
        return plan

    def _planned(self, row: Row) -> tuple[Plan, bool]:
        options = self._options
        if options.question is not None and options.answer is not None:
            return _pairs(options.question, options.answer, options.system), False
        if options.text is not None:
            return _documents(options.text), False
        if options.messages is not None:
            return _conversations(options.messages), False
        matches = _matches(set(row.values))
        ambiguous = len(matches) > 1
        if ambiguous:
            present = {name for name, value in row.values.items() if value is not None}
            matches = _matches(present)
        if len(matches) == 1:
            return _known(matches[0], options), ambiguous
        raise ValueError(_unrecognized(row.values, matches))


def _known_case(values: Mapping[str, Any], declared: frozenset[str]) -> Mapping[str, Any]:
    """Return a row with known columns in lower case, such as "question" for "Question"."""
    lower = {name: name.casefold() for name in values if name not in declared}
    changed = {
        name: small
        for name, small in lower.items()
        if small != name and small in _RECOGNIZED and small not in values
    }
    if not changed or len(set(changed.values())) < len(changed):
        return values
    return {changed.get(name, name): value for name, value in values.items()}


def _matches(names: set[str]) -> list[str]:
    return [kind for kind, columns in KNOWN.items() if names.issuperset(columns)]


def _unrecognized(values: Mapping[str, Any], matches: list[str]) -> str:
    sets = [" + ".join(KNOWN[kind]) for kind in (matches or KNOWN)]
    columns = _listed(values)
    if matches:
        return (
            f"the columns {columns} can be read in {len(matches)} ways: {' or '.join(sets)}. Set "
            'what is meant in [data], for example messages = "messages", text = "text", or '
            'question = "COLUMN" and answer = "COLUMN"'
        )
    return (
        f"the columns {columns} are none of the known sets ({', '.join(sets)}). Set question and "
        "answer, or text, or messages in [data] to the columns that are meant, and subject"
    )


def _listed(values: Mapping[str, Any]) -> str:
    names = [shortened(name) for name in values if name]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) + more) if names else "(none)"


def _known(kind: str, options: ReadOptions) -> Plan:
    if kind in ("messages", "conversations"):
        return _conversations(kind)
    if kind == "text":
        return _documents("text")
    system = options.system or "{system?}"
    if kind == "prompt":
        return _prompts(system)
    if kind == "instruction":
        return _instructions(system)
    return _pairs("question", "answer", system, turns="turns")


def _pairs(question: str, answer: str, system: str | None, turns: str | None = None) -> Plan:
    asked, replied = Template.parse(question), Template.parse(answer)
    said = Template.parse(system) if system is not None else None

    def read(row: Row, subject: str) -> list[Example]:
        before = _system(said, row)
        if turns is not None and row.values.get(turns) not in (None, []):
            before += conversation(row.values[turns], turns)
        return [
            Example(
                asked.text(row.values, row.place),
                replied.text(row.values, row.place),
                subject,
                before,
            )
        ]

    used = [*asked.columns, *replied.columns, *(said.columns if said else []), turns or ""]
    return Plan(read, _first(used))


def _prompts(system: str) -> Plan:
    said, plain = Template.parse(system), _pairs("prompt", "completion", system)

    def read(row: Row, subject: str) -> list[Example]:
        prompt, completion = row.values["prompt"], row.values["completion"]
        if not isinstance(prompt, list) and not isinstance(completion, list):
            return plain.read(row, subject)
        if not isinstance(prompt, list) or not isinstance(completion, list):
            raise ValueError("'prompt' and 'completion' must both be text, or both be messages")
        before = conversation(prompt, "prompt")
        turns = _system(said, row) + before + conversation(completion, "completion")
        examples = examples_of(turns, "completion", subject)
        # What the prompt holds was said before; only the completion is learned.
        answers = sum(turn.role == "assistant" for turn in before)
        if not examples[answers:]:
            raise ValueError("'completion' has no message of the assistant")
        return examples[answers:]

    return Plan(read, plain.used)


def _instructions(system: str) -> Plan:
    said = Template.parse(system)

    def read(row: Row, subject: str) -> list[Example]:
        question = Template.parse("instruction").text(row.values, row.place)
        given = row.values.get("input")
        extra = "" if given is None else as_text(given, "input")
        question = f"{question}\n\n{extra}" if extra.strip() else question
        answer = Template.parse("output").text(row.values, row.place)
        return [Example(question, answer, subject, _system(said, row))]

    return Plan(read, _first(["instruction", "input", "output", *said.columns]))


def _documents(text: str) -> Plan:
    template = Template.parse(text)

    def read(row: Row, subject: str) -> list[Example]:
        return [Example("", template.text(row.values, row.place), subject, document=True)]

    return Plan(read, _first(template.columns))


def _conversations(messages: str) -> Plan:
    template = Template.parse(messages)

    def read(row: Row, subject: str) -> list[Example]:
        turns = conversation(template.value(row.values, row.place), messages)
        return examples_of(turns, messages, subject)

    return Plan(read, _first(template.columns))


def _system(template: Template | None, row: Row) -> tuple[Turn, ...]:
    if template is None:
        return ()
    value = template.value(row.values, row.place)
    text = "" if value is None else as_text(value, template.source)
    return (Turn("system", text),) if text.strip() else ()


def _first(columns: list[str]) -> frozenset[str]:
    """Return the columns that paths begin with, and the paths themselves."""
    named = {column for column in columns if column not in ("", ROW, FILE)}
    return frozenset(named | {column.split(".")[0] for column in named})
