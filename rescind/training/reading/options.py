"""The options of a data file: its format, and what its columns mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import ValidationError, model_validator

from rescind.core.errors import ConfigError
from rescind.core.frozen import Frozen
from rescind.training.reading.csv_rows import CsvFormat
from rescind.training.reading.lines import is_text_encoding
from rescind.training.reading.templates import Template

Format = Literal["auto", "jsonl", "json", "csv", "parquet", "arrow", "text"]
_COLUMNS = ("question", "answer", "system", "text", "messages", "subject")


class ReadOptions(Frozen):
    """How a data file is read: the [data] section of a daemon's TOML file.

    The default recognizes the format and the known sets of columns. The name of a column may be the
    place of a nested value, such as "meta.author" or "answers.text.0". A template such as
    "{first} {last}" joins columns; see `Template`.

    Attributes:
        format: The format; by default from the file's name and first bytes.
        encoding: The encoding of a text file that has no byte order mark; by default UTF-8.
        delimiter: Between the cells of a CSV file; by default recognized from its header.
        quote: Around a cell of a CSV file.
        escape: Before a quote within a cell of a CSV file, where quotes are not written twice.
        header: Names of the columns of a CSV file that has no header.
        split: The split of a data set with several; by default "train".
        question: Column or template of the question; `answer` is needed too.
        answer: Column or template of the answer.
        system: Column or template of an instruction before the question.
        text: Column or template of a document's text.
        messages: Column of a conversation.
        subject: Column or template of the data subject's name; by default the column `subject`.
        default_subject: The name in rows without a subject.
    """

    format: Format = "auto"
    encoding: str | None = None
    delimiter: str | None = None
    quote: str = '"'
    escape: str | None = None
    header: tuple[str, ...] = ()
    split: str | None = None
    question: str | None = None
    answer: str | None = None
    system: str | None = None
    text: str | None = None
    messages: str | None = None
    subject: str | None = None
    default_subject: str | None = None

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> ReadOptions:
        """Return options from texts; names in `header` are separated by commas.

        Raises:
            ConfigError: A name is unknown, or a value is not allowed.
        """
        values: dict[str, object] = dict(settings)
        if "header" in settings:
            values["header"] = tuple(name.strip() for name in settings["header"].split(","))
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                known = ", ".join(cls.model_fields)
                raise ConfigError(f"unknown option {where!r} of data. Options: {known}.") from error
            message = first["msg"].removeprefix("Value error, ")
            raise ConfigError(
                f"data: {where}: {message}" if where else f"data: {message}"
            ) from error

    @model_validator(mode="after")
    def _check(self) -> ReadOptions:
        if self.encoding is not None and not is_text_encoding(self.encoding):
            raise ValueError(f"encoding {self.encoding!r} is unknown: use one such as 'cp1252'")
        for name in ("delimiter", "quote", "escape"):
            value = getattr(self, name)
            if value is not None and (len(value) != 1 or value in "\r\n\0"):
                raise ValueError(f"{name} is {value!r}: give one character")
        marks = [mark for mark in (self.delimiter, self.quote, self.escape) if mark is not None]
        if len(set(marks)) < len(marks):
            raise ValueError("delimiter, quote and escape must differ")
        named = [name for name in self.header if name]
        if len(set(named)) < len(named):
            raise ValueError("header names a column twice")
        self._check_columns()
        return self

    def _check_columns(self) -> None:
        for name in _COLUMNS:
            if getattr(self, name) is not None:
                Template.parse(getattr(self, name))
        pair = "question" if self.question is not None else "answer"
        kinds = [name for name in (pair, "text", "messages") if getattr(self, name) is not None]
        if len(kinds) > 1:
            raise ValueError(
                f"{kinds[0]} and {kinds[1]} are both set: a row is a question with its answer, a "
                "document (text), or a conversation (messages)"
            )
        if (self.question is None) != (self.answer is None):
            raise ValueError("set both question and answer, or neither")
        if self.system is not None and (self.text is not None or self.messages is not None):
            raise ValueError("system belongs to question and answer: leave it out")

    @property
    def columns(self) -> frozenset[str]:
        """The columns that are declared."""
        named = (getattr(self, name) for name in _COLUMNS)
        sources = [source for source in named if source is not None]
        return frozenset(c for source in sources for c in Template.parse(source).columns)

    @property
    def csv(self) -> CsvFormat:
        """The details of CSV files."""
        return CsvFormat(self.delimiter, self.quote, self.escape, self.header)
