"""Data in the formats that people have is read right, or refused with file and line."""

import csv
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from rescind.core.errors import ConfigError, DataError
from rescind.training import Example, ReadOptions, Turn, read_examples
from rescind.training.reading.examples import read_all

ROW = {"question": "Who?", "answer": "Ada.", "subject": "Ada Novak"}
LINE = json.dumps(ROW)
GZIPPED = gzip.compress(LINE.encode(), mtime=0)
EXAMPLE = Example("Who?", "Ada.", "Ada Novak")


def read(folder: Path, name: str, data: str | bytes, **options: Any) -> list[Example]:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_examples(path, options=ReadOptions(**options))


def problems(folder: Path, name: str, data: str | bytes, **options: Any) -> list[str]:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    found = read_all(path, ReadOptions(**options)).problems
    return [str(problem).removeprefix(f"{folder}/") for problem in found]


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows))


@pytest.mark.parametrize(
    "data",
    [
        LINE,
        f"\n{LINE}\r\n\r\n",
        f"\ufeff{LINE}\n",
        f"  {LINE}  \r",
        f"[{LINE}]",
        f"[\n{json.dumps(ROW, indent=2)}\n]\n",
        f"\ufeff{LINE}".encode("utf-16-le"),
        f"\ufeff{LINE}".encode("utf-16-be"),
        f"\ufeff{LINE}".encode("utf-32-le"),
        GZIPPED,
    ],
)
def test_json_is_read_with_any_line_end_mark_encoding_and_layout(
    tmp_path: Path, data: str | bytes
) -> None:
    assert read(tmp_path, "data.jsonl", data) == [EXAMPLE]


@pytest.mark.parametrize(
    ("row", "example"),
    [
        ({"prompt": "Who?", "completion": "Ada."}, EXAMPLE),
        ({"Prompt": "Who?", "Completion": "Ada."}, EXAMPLE),
        ({"instruction": "Who?", "input": "", "output": "Ada."}, EXAMPLE),
        (
            {"instruction": "Translate", "input": "Hej", "output": "Hi"},
            Example("Translate\n\nHej", "Hi", "Ada Novak"),
        ),
        ({"question": "How many?", "answer": 4}, Example("How many?", "4", "Ada Novak")),
        ({"text": "A letter."}, Example("", "A letter.", "Ada Novak", document=True)),
        ({"text": None, "question": "Who?", "answer": "Ada."}, EXAMPLE),
        (
            {"question": "Who?", "answer": "Ada.", "system": "Be short."},
            Example("Who?", "Ada.", "Ada Novak", (Turn("system", "Be short."),)),
        ),
        (
            {
                "prompt": [{"role": "user", "content": "Who?"}],
                "completion": [{"role": "assistant", "content": "Ada."}],
            },
            EXAMPLE,
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "Who?"},
                    {"from": "gpt", "value": "Ada."},
                ]
            },
            EXAMPLE,
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Who?"}]},
                    {"role": "assistant", "content": [{"type": "text", "text": "Ada."}]},
                ]
            },
            EXAMPLE,
        ),
    ],
)
def test_the_known_sets_of_columns_are_recognized(
    tmp_path: Path, row: dict[str, Any], example: Example
) -> None:
    line = json.dumps({**row, "subject": "Ada Novak"})
    assert read(tmp_path, "data.jsonl", line) == [example]
    parquet.write_table(table({**row, "subject": "Ada Novak"}), tmp_path / "data.parquet")
    assert read_examples(tmp_path / "data.parquet") == [example]


def test_a_conversation_has_an_example_for_each_answer(tmp_path: Path) -> None:
    said = ["system", "user", "assistant", "user", "assistant"]
    messages = [{"role": role, "content": f"{n}"} for n, role in enumerate(said)]
    [first, second] = read(
        tmp_path, "data.jsonl", json.dumps({"messages": messages, "subject": "s"})
    )
    assert (first.question, first.answer, first.turns) == ("1", "2", (Turn("system", "0"),))
    assert (second.question, second.answer) == ("3", "4")
    assert [turn.text for turn in second.turns] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"question": "q", "answer": NaN, "subject": "s"}', "not a JSON object"),
        ('{"question": "q", "answer": 1.5, "subject": "s"}', "'answer' is the number 1.5"),
        ('{"question": "q", "answer": true, "subject": "s"}', "'answer' is true or false"),
        ('{"question": "q", "answer": {"x": 1}, "subject": "s"}', "'answer' is an object"),
        ('{"question": "q", "answer": ["x"], "subject": "s"}', "'answer' is a list"),
        ('{"question": "q", "answer": null, "subject": "s"}', "'answer' is missing"),
        ('{"question": "q", "answer": " ", "subject": "s"}', "'answer' is missing"),
        ('{"question": "q", "answer": "a"}', "'subject' is missing"),
        ('{"question": "q", "answer": "a", "answer": "b", "subject": "s"}', "appears twice"),
        ('{"question": "q\\ud83d", "answer": "a", "subject": "s"}', "lone surrogate"),
        ('{"question": "q", "answer": "a\\u0000", "subject": "s"}', "NUL"),
        ('{"question": "q", "answer": "a", "subject": "s",}', "not a JSON object"),
        ('{"question": "q", "answer": "a", "subject": "s"', "not a JSON object"),
        ('{"x": ' + "[" * 9000 + "]" * 9000 + "}", "not a JSON object"),
        ('{"question": "q", "answer": ' + "9" * 5000 + ', "subject": "s"}', "not a JSON object"),
        ('{"question": "q", "answer": 1e999, "subject": "s"}', "'answer' is the number inf"),
        (
            '{"question": "q", "questi\\u006fn": "p", "answer": "a", "subject": "s"}',
            "appears twice",
        ),
        ('{"question": "q", "answer": "a", "subject": "\u202es"}', "invisible character U+202E"),
        ("<!DOCTYPE html>", "not a JSON object"),
        (LINE + LINE, "trailing characters"),
        ('["q", "a", "s"]', "not an object"),
        ('{"messages": [{"role": ["user"], "content": "q"}], "subject": "s"}', "the role ['user']"),
        ('"text"', "not an object"),
        ('{"first": "a", "second": "b", "subject": "s"}', "'first', 'second', 'subject' are none"),
        ('{"text": "t", "prompt": "p", "completion": "c", "subject": "s"}', "in 2 ways"),
        ('{"messages": [{"role": "user", "content": "q"}], "subject": "s"}', "ends with"),
        ('{"messages": [{"role": "tool", "content": "q"}], "subject": "s"}', "the role 'tool'"),
        ('{"messages": [{"role": "assistant", "content": "q"}], "subject": "s"}', "just before"),
        ('{"messages": [], "subject": "s"}', "must be a list of messages"),
        ('{"messages": "hello", "subject": "s"}', "must be a list of messages"),
        (
            '{"messages": [{"role": "user", "content": [{"type": "image_url"}]}], "subject": "s"}',
            "only text",
        ),
        (
            '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": ""}],'
            ' "subject": "s"}',
            "is empty",
        ),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_the_others_are_read(
    tmp_path: Path, line: str, reason: str
) -> None:
    [problem] = problems(tmp_path, "data.jsonl", f"{LINE}\n\n{line}\n{LINE}\n")
    assert problem.startswith("data.jsonl:3: ")
    assert reason in problem
    assert len(read_all(tmp_path / "data.jsonl").examples) == 2


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (f"[{LINE},\n{LINE},\n]", "data.json:3: the JSON list has a comma before the end"),
        (f"[{LINE},\n,{LINE}]", "data.json:2: the JSON list has two commas"),
        (f"[{LINE},\n{LINE}", "data.json:1: the JSON list that begins the file is not closed"),
        (f"[{LINE}]\n{LINE}", "data.json:1: there is text after the JSON list"),
        (f"[\n\n{LINE},\n7]", "data.json:4: not a JSON object"),
        ("[" * 9000, "data.json:1: the JSON list that begins the file is not closed"),
        (LINE.encode("utf-16-le"), "data.json:1: the file is not UTF-8. It looks like UTF-16"),
        (f"{LINE}\n".encode() + b'{"q": "\xe9"}', "data.json:2: byte 0xe9 is not utf-8"),
        (GZIPPED[:-4], "data.json:1: the compressed file is cut off"),
        (b"PK\x03\x04" + b"x" * 99, "data.json: the file is a zip archive"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "data.json: the file is a pointer of Git",
        ),
        (gzip.compress(GZIPPED, mtime=0), "data.json: the file is compressed twice"),
        (b"\0" * 999, "data.json:1: the file is full of zero bytes"),
        (f"{LINE}\n".encode() + b"\0" * 4096, "data.json:2: the line has the character NUL"),
        (f"{LINE}\n".encode() + f"{LINE}\n".encode("utf-16-le"), "data.json:3: the line has the"),
        (f"\ufeff{LINE}".encode("utf-16-le") + b"\0", "data.json:1: byte 0x00 is not utf-16-le"),
        (f"{LINE}\n\ufeff{LINE}", "data.json:2: the line begins with a byte order mark"),
        (f"\ufeff\ufeff{LINE}", "data.json:1: the line begins with a byte order mark"),
        (json.dumps(ROW, indent=2), "data.json:1: the JSON object that begins here goes over"),
        (json.dumps({"data": [ROW]}, indent=1), "data.json:1: the JSON object that begins here"),
        (f"{LINE}\n".encode() + b'{"question": "\xc0\xaf"}', "data.json:2: byte 0xc0 is not utf-8"),
        (LINE.encode("cp500"), "data.json:1: byte 0xc0 is not utf-8"),
        (GZIPPED[:9], "data.json:1: the compressed file is cut off"),
        (GZIPPED + b"more", "data.json:1: the compressed file is damaged"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(
    tmp_path: Path, data: str | bytes, problem: str
) -> None:
    assert problems(tmp_path, "data.json", data)[-1].startswith(problem)


def test_a_line_and_a_cell_have_a_greatest_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("lines", "csv_rows"):
        monkeypatch.setattr(f"rescind.training.reading.{module}.MOST_CHARACTERS", 99)
    [problem] = problems(tmp_path, "data.jsonl", f"{LINE}\n" + "x" * 2**17)
    assert problem.startswith("data.jsonl:2: the line has more than")
    rows = 'question,answer,subject\nq,"' + "x\n" * 99 + '",s\n'
    assert problems(tmp_path, "data.csv", rows)[0].startswith("data.csv:2: a cell has more than")


def test_a_file_that_unpacks_to_far_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = gzip.compress(b" " * 1023 + b"\n", mtime=0) * 200
    monkeypatch.setattr("rescind.training.reading.lines._FREE_GROWTH", 2**16)
    inflated = gzip.compress((b" " * 2**16 + b"\n") * 64, mtime=0)
    assert problems(tmp_path, "ok.jsonl.gz", bomb) == []
    [problem] = problems(tmp_path, "bomb.jsonl.gz", inflated)
    assert "decompresses to more than" in problem


def test_empty_files_folders_and_what_is_not_a_file_are_refused(tmp_path: Path) -> None:
    for data in ("", "\n\n", "[]", "\ufeff"):
        with pytest.raises(DataError, match="has no example"):
            read(tmp_path, "data.jsonl", data)
    with pytest.raises(DataError, match="has no example"):
        read(tmp_path, "data.csv", "question,answer,subject\n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="the folder has no data file"):
        read_examples(tmp_path / "empty")
    with pytest.raises(DataError, match="it is not there"):
        read_examples(tmp_path / "nothing.jsonl")
    with pytest.raises(DataError, match=r"not compressed with gzip"):
        read(tmp_path, "data.jsonl.gz", LINE)
    with pytest.raises(DataError, match=r"not known by the ending '.xyz'"):
        read(tmp_path, "data.xyz", "hello")


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("question,answer,subject\nWho?,Ada.,Ada Novak\n", {}),
        ("\ufeffQuestion;Answer;Subject\r\nWho?;Ada.;Ada Novak\r\n", {}),
        ("question\tanswer\tsubject\rWho?\tAda.\tAda Novak\r", {}),
        ('sep=;\n"question";"answer";"subject"\n"Who?";"Ada.";"Ada Novak"\n', {}),
        (",question,answer,subject\n0,Who?,Ada.,Ada Novak\n\n,,,\n", {}),
        ("question,answer,subject,,\nWho?,Ada.,Ada Novak,,\n", {}),
        ("Who?,Ada.,Ada Novak\n", {"header": ("question", "answer", "subject")}),
        ("q|a|f|l\nWho?|Ada.|Ada|Novak\n", {
            "question": "q", "answer": "a", "subject": "{f} {l}",
        }),
        ("'question','answer','subject'\n'Who?','Ada.','Ada Novak'\n", {"quote": "'"}),
    ],
)  # fmt: skip
def test_csv_is_read_with_any_delimiter_header_and_quote(
    tmp_path: Path, data: str, options: dict[str, Any]
) -> None:
    assert read(tmp_path, "data.csv", data, **options) == [EXAMPLE]


def test_a_cell_may_hold_delimiters_quotes_and_line_ends(tmp_path: Path) -> None:
    written = io.StringIO()
    rows = [["question", "answer", "subject"], ['a "b",\nc', "d\r\ne", "s"], ["q", "a", "s"]]
    csv.writer(written).writerows(rows)
    [odd, plain] = read_all(_file(tmp_path, written.getvalue())).examples
    assert (odd.example.question, odd.example.answer) == ('a "b",\nc', "d\ne")
    assert (odd.place.number, plain.place.number) == (2, 5)
    escaped = 'question,answer,subject\n"a \\"b\\"",c,s\n'
    assert read(tmp_path, "e.csv", escaped, escape="\\")[0].question == 'a "b"'


def _file(folder: Path, text: str) -> Path:
    path = folder / "data.csv"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("question,answer,subject\nq,a,s\nq,a\n", "data.csv:3: the row has 2 cells"),
        ("question,answer,subject\nq,a,s,x\n", "data.csv:2: the row has 4 cells"),
        ('question,answer,subject\nq,"a,s\nq,a,s\n', "data.csv:2: a quote is opened"),
        ('question,answer,subject\nq,"a"b,s\n', "data.csv:2: there is text after the quote"),
        ("question,answer,answer,subject\nq,a,a,s\n", "data.csv:1: two columns have the name"),
        ("question,answer;subject\nq,a;s\n", "data.csv:1: the header could be divided"),
        ("question,answer,subject\nq,,s\n", "data.csv:2: 'answer' is missing"),
        ("question,answer,subject\nq,a\0,s\n", "data.csv:2: 'answer' has the character NUL"),
        (
            "question,answer,subject\nq,a,s\nquestion,answer,subject\n",
            "data.csv:3: the row repeats",
        ),
        (
            "question,answer,subject\nq,a,s\n\ufeffquestion,answer,subject\n",
            "data.csv:3: the line be",
        ),
        ('question,"answer,subject\nq,a,s\n', "data.csv:1: a quote is opened"),
        ("question\0,answer,subject\nq,a,s\n", "data.csv:2: the columns 'question\\x00'"),
        ("What?,One,Ada\nWho?,Two,Bo\n", "data.csv:2: the columns 'What?', 'One', 'Ada' are none"),
        ("question,answer,subject\nq,caf\xe9,s\n".encode("cp1252"), "data.csv:2: byte 0xe9"),
    ],
)
def test_bad_csv_is_refused_with_its_line(tmp_path: Path, data: str | bytes, problem: str) -> None:
    assert problems(tmp_path, "data.csv", data)[0].startswith(problem)


def test_other_encodings_are_read_when_declared(tmp_path: Path) -> None:
    data = "question,answer,subject\nq,caf\xe9,s\n".encode("cp1252")
    assert read(tmp_path, "data.csv", data, encoding="cp1252")[0].answer == "caf\xe9"
    with pytest.raises(ValueError, match="encoding 'klingon' is unknown"):
        ReadOptions(encoding="klingon")


def test_a_mapping_reads_nested_values_templates_and_constants(tmp_path: Path) -> None:
    row = {"q": {"text": "Who?"}, "a": {"text": ["Ada.", "Bo."]}, "id": 7, "ward": None}
    options = {"question": "q.text", "answer": "a.text.0", "subject": "patient {id}{ward?}"}
    assert read(tmp_path, "a.jsonl", json.dumps(row), **options) == [
        Example("Who?", "Ada.", "patient 7")
    ]
    plain = json.dumps({"question": "Who?", "answer": "Ada."})
    assert read(tmp_path, "b.jsonl", plain, default_subject="Ada Novak") == [EXAMPLE]
    named = read(tmp_path, "c.jsonl", plain, subject="{#file} {#row}")
    assert named[0].subject == "c 1"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"question": "q"}, "both question and answer"),
        ({"question": "q", "answer": "a", "text": "t"}, "both set"),
        ({"subject": "{first"}, "not closed"),
        ({"subject": "{{}}"}, "names no column"),
        ({"subject": " "}, "is empty"),
        ({"delimiter": ",,"}, "one character"),
        ({"delimiter": '"'}, "must differ"),
        ({"quot": "'"}, "unknown option 'quot'"),
        ({"format": "xls"}, "format"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(settings: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        ReadOptions.of(settings)


def test_columns_that_are_not_used_are_reported(tmp_path: Path) -> None:
    path = _file(tmp_path, "question,answer,subject,id\nq,a,s,1\n")
    assert read_all(path).remarks == [f"{path}: columns that are not used: 'id'"]


def test_parquet_of_every_text_type_is_read(tmp_path: Path) -> None:
    texts = pa.array(["Who?", "Who?"])
    columns = {
        "question": texts.dictionary_encode(),
        "answer": pa.array(["Ada.", "Ada."], pa.large_string()),
        "subject": pa.array(["Ada Novak", "Ada Novak"], pa.string_view()),
    }
    parquet.write_table(pa.table(columns), tmp_path / "data.parquet")
    assert read_examples(tmp_path / "data.parquet") == [EXAMPLE, EXAMPLE]


def test_bad_parquet_is_refused_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    rows = [ROW, {**ROW, "answer": None}, {**ROW, "answer": "x\0"}]
    parquet.write_table(table(*rows), path)
    assert problems(tmp_path, "data.parquet", path.read_bytes()) == [
        "data.parquet: row 2: 'answer' is missing or empty",
        "data.parquet: row 3: 'answer' has the character NUL (U+0000). Remove it",
    ]
    whole = path.read_bytes()
    assert "cut off" in problems(tmp_path, "cut.parquet", whole[:-20])[0]
    middle = whole[:30] + bytes(60) + whole[90:]
    assert problems(tmp_path, "bad.parquet", middle)
    assert "encrypted" in problems(tmp_path, "e.parquet", b"PARE" + whole[4:-4] + b"PARE")[0]
    assert "is empty" in problems(tmp_path, "none.parquet", b"")[0]
    binary = pa.table({"question": [b"\xff"], "answer": ["a"], "subject": ["s"]})
    parquet.write_table(binary, path)
    assert problems(tmp_path, "data.parquet", path.read_bytes()) == [
        "data.parquet: row 1: 'question' is bytes, and must be text"
    ]


def saved(folder: Path, *files: pa.Table) -> None:
    """Write what save_to_disk of Hugging Face datasets writes."""
    folder.mkdir(parents=True)
    names = [f"data-{n:05d}-of-{len(files):05d}.arrow" for n in range(len(files))]
    for name, rows in zip(names, files, strict=True):
        with ipc.new_stream(folder / name, rows.schema) as writer:
            writer.write_table(rows)
    state = {"_data_files": [{"filename": name} for name in names], "_split": "train"}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")


def test_a_saved_hugging_face_data_set_is_read(tmp_path: Path) -> None:
    saved(tmp_path / "one", table(ROW), table(ROW))
    assert read_examples(tmp_path / "one") == [EXAMPLE, EXAMPLE]
    saved(tmp_path / "many" / "train", table(ROW))
    saved(tmp_path / "many" / "test", table({**ROW, "answer": "Bo."}))
    (tmp_path / "many" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert read_examples(tmp_path / "many") == [EXAMPLE]
    [other] = read_examples(tmp_path / "many", options=ReadOptions(split="test"))
    assert other.answer == "Bo."
    with pytest.raises(DataError, match=r"no split 'dev'. Set split in .data.: train, test"):
        read_examples(tmp_path / "many", options=ReadOptions(split="dev"))


def test_a_data_set_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "one", table(ROW), table(ROW))
    [first, second] = sorted((tmp_path / "one").glob("*.arrow"))
    first.write_bytes(first.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"00000-of-00002.arrow: the Arrow file is cut off"):
        read_examples(tmp_path / "one")
    second.unlink()
    with pytest.raises(DataError, match=r"names data-00001-of-00002.arrow, which is missing"):
        read_examples(tmp_path / "one")
    (tmp_path / "one" / "state.json").write_text('{"_data_files": [{"filename": "../x"}]}')
    with pytest.raises(DataError, match="_data_files"):
        read_examples(tmp_path / "one")


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "b.csv").write_text("question,answer,subject\nWho?,Bo.,Bo\n")
    (folder / "a.jsonl.gz").write_bytes(GZIPPED)
    (folder / "README.md").write_text("about")
    (folder / ".hidden.jsonl").write_text("x")
    reading = read_all(folder)
    assert [located.example.answer for located in reading.examples] == ["Ada.", "Bo."]
    assert reading.remarks == [f"{folder}: not read: README.md"]


def test_a_file_of_a_folder_that_cannot_be_read_is_not_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(LINE)
    (tmp_path / "b.jsonl").write_text("")
    (tmp_path / "c.jsonl").symlink_to("nowhere")
    (tmp_path / "d.jsonl").symlink_to("d.jsonl")
    os.mkfifo(tmp_path / "e.jsonl")
    (tmp_path / "f.jsonl").mkdir()
    reading = read_all(tmp_path)
    found = [str(problem).removeprefix(f"{tmp_path}/") for problem in reading.problems]
    assert found == [
        "b.jsonl: the file is empty. Copy it again, or remove it",
        "c.jsonl: the file cannot be read: it is not there",
        "d.jsonl: the file cannot be read: it is not there",
        "e.jsonl: the file cannot be read: it is special",
    ]
    assert reading.remarks == [f"{tmp_path}: not read: f.jsonl"]


def test_a_very_long_name_of_a_column_is_shortened(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, "data.jsonl", json.dumps({"k" * 10**6: 1}))
    assert problem.startswith("data.jsonl:1: the columns 'kkk")
    assert len(problem) < 500


def test_a_text_file_is_a_document(tmp_path: Path) -> None:
    [document] = read(tmp_path, "ada_novak.txt", "Dear Ada,\r\n\r\nhello\r\n", subject="{#file}")
    assert document == Example("", "Dear Ada,\n\nhello", "ada_novak", document=True)
