import doctest
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind.core import json_text
from rescind.core.errors import DataError
from rescind.core.json_lines import json_lines
from rescind.core.json_text import parse_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_the_examples_of_the_docstring_hold() -> None:
    assert doctest.testmod(json_text).failed == 0


@given(JSON)
def test_what_the_standard_library_writes_is_read_alike(value: object) -> None:
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        assert json.dumps(parse_json(text)) == json.dumps(json.loads(text))
        assert json.dumps(parse_json(text.encode())) == json.dumps(json.loads(text))


@pytest.mark.parametrize(
    "text", ["", "NaN", "-Infinity", "{", '"\\ud83d"', '{"a": 1,}', b"\xff", '"\ud800"', "1 2"]
)
def test_what_is_not_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


def test_a_row_with_half_a_character_is_named_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"question": "a"}\n{"question": "Caf\\ud83d?"}\n')
    with pytest.raises(DataError, match=r"data\.jsonl:2: the line is not a JSON object"):
        list(json_lines(path))


NESTED = """
import sys
from pathlib import Path
from rescind.contracts import Deployment
from rescind.core.errors import RescindError
sys.setrecursionlimit(100_000)  # as py_ecc does when it is imported
from rescind.audit.certificate import read_certificate
from rescind.agents.policy_file import PolicyFile
from rescind.core.json_lines import json_lines
from rescind.ledger.disclosure import parse
from rescind.withdrawals.evidence import read_report
path, data = Path(sys.argv[1]), b"[" * 50_000
readers = [read_certificate, PolicyFile.read, Deployment.load]
calls = [(each, path) for each in readers] + [(parse, data), (read_report, data)]
for read, given in [*calls, (lambda name: list(json_lines(name)), path)]:
    try:
        read(given)
    except RescindError as error:
        assert "ecursion" in str(error), error
        print("refused")
"""


def test_a_text_of_brackets_does_not_end_the_process(tmp_path: Path) -> None:
    """The standard library's reader overflows the stack of C: exit status -11."""
    (tmp_path / "nested").write_bytes(b"[" * 50_000)
    done = subprocess.run(
        [sys.executable, "-c", NESTED, tmp_path / "nested"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["refused"] * 6
