"""Report phrases that the style guide bans: python scripts/check_prose.py [FILE ...]

Without files it checks every tracked Python file (docstrings, comments and string literals, but not
code) and every page (text, but not tables, quotations and code). CONTRIBUTING.md has the rules and
what to write instead.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

ADVICE: dict[str, str] = {
    r"\bone's\b|\boneself\b": "write 'your' or name the party",
    r"\bwhoever\b": "name the party: 'the member that ...', 'anyone who ...'",
    r"\banew\b": "write 'again'",
    r"(?<![Tt]here)\s+is no (?!longer\b|more\b|less\b|one\b)[a-z]+\b": "write 'is not a ...'",
    r"\bsay\)": "write 'for example'",
    r"\bas nothing\b": "say what it is treated as",
    r"\bof itself\b": "write 'by itself' or leave it out",
    r"\b[Nn]obody\b": "write 'no member' or 'no one'",
}
DOCSTRING_ADVICE = {
    r"^(What|Who|Whose|Whom|Whether)\b": "begin with a verb in the imperative or a noun",
}

# Their text is what a model is trained on or a test feeds in. Only docstrings are prose for a reader.
DATA = (
    "benchmarks/",
    "devnet/people.py",
    "devnet/messages.py",
    "devnet/data.py",
    "scripts/check_prose.py",
    "tests/",
)
GENERATED = ("rescind/wire/generated/",)


# Python 3.12 and later split an f-string into tokens of their own.
_TEXT = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


@dataclass(frozen=True)
class Finding:
    """A banned phrase at a place."""

    path: str
    line: int
    phrase: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: '{self.phrase}': {self.advice}"


def findings(path: str, source: str) -> Iterator[Finding]:
    """Yield the banned phrases of one file, in the order of its lines."""
    if path.endswith(".md"):
        yield from _scan(path, 1, _prose_of(source), ADVICE)
        return
    docstring_lines = _docstring_lines(source)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _TEXT:
            continue
        if not path.startswith(DATA):
            yield from _scan(path, token.start[0], token.string, ADVICE)
        if token.start[0] in docstring_lines:
            yield from _scan(path, token.start[0], token.string.lstrip("rR\"'"), DOCSTRING_ADVICE)


def _docstring_lines(source: str) -> set[int]:
    # Those of attributes are expressions after an assignment.
    return {
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def _prose_of(page: str) -> str:
    """Return a page with tables, code and quotations left blank, line for line."""
    blank = re.compile(r'^```.*?^ *```|^\|.*?$|`[^`\n]*`|"[^"]*"', re.MULTILINE | re.DOTALL)
    return blank.sub(lambda match: "\n" * match.group().count("\n"), page)


def _scan(path: str, first_line: int, text: str, advice: dict[str, str]) -> Iterator[Finding]:
    for pattern, remedy in advice.items():
        for match in re.finditer(pattern, text):
            line = first_line + text.count("\n", 0, match.start())
            yield Finding(path, line, " ".join(match.group(0).split()), remedy)


def _tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [
        path
        for path in listed.stdout.splitlines()
        if not path.startswith(GENERATED)
        and not (path.endswith(".md") and path.startswith(DATA))
        and (ROOT / path).is_file()
    ]


def main(paths: list[str]) -> int:
    found = [
        finding
        for path in paths or _tracked()
        for finding in findings(path, (ROOT / path).read_text(encoding="utf-8"))
    ]
    for finding in found:
        sys.stdout.write(f"{finding}\n")
    if found:
        sys.stdout.write(f"{len(found)} banned phrases: see the plain English rules\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
