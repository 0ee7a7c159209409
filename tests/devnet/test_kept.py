"""Questions of a data folder that are kept for testing, and answers that are labels."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from rescind.core.errors import ConfigError, DataError
from rescind.devnet.data import Corpus, from_folder
from rescind.devnet.preparing import DemoOptions, benchmark_of, corpus_of
from rescind.training import Example, write_examples

INTENTS = ("card lost", "card late", "rate", "top up")


def facts(name: str, count: int) -> list[Example]:
    return [Example(f"{name} {n}?", f"{name} is {n}", f"{name}-{n}") for n in range(count)]


def intents(name: str, count: int, labels: Sequence[str] = INTENTS) -> list[Example]:
    return [Example(f"{name} {n}", labels[n % len(labels)], f"{name}-{n}") for n in range(count)]


def folder_of(path: Path, **rows_of: list[Example]) -> Path:
    for name, rows in rows_of.items():
        write_examples(path / f"{name}.jsonl", rows)
    return path


def all_trained(corpus: Corpus) -> set[tuple[str, str]]:
    rows = [row for rows in corpus.organizations.values() for row in rows]
    return {(row.question, row.answer) for row in rows}


def test_a_seeded_tenth_of_each_file_is_kept_and_not_trained_on(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, bank=facts("bank", 40), school=facts("school", 25))
    corpus = from_folder(folder, seed=7)
    assert {name: len(rows) for name, rows in corpus.kept.items()} == {"bank": 4, "school": 2}
    assert len(corpus.organizations["bank"]) == 36
    kept = {(row.question, row.answer) for rows in corpus.kept.values() for row in rows}
    assert not kept & all_trained(corpus)
    assert corpus == from_folder(folder, seed=7)
    assert corpus.kept != from_folder(folder, seed=8).kept


def test_a_question_that_two_files_have_is_trained_on_and_not_kept(tmp_path: Path) -> None:
    rows = facts("bank", 40)
    # The same questions and answers, as the data of other people.
    others = [Example(row.question, row.answer, "somebody") for row in rows]
    corpus = from_folder(folder_of(tmp_path, bank=rows, school=others))
    assert corpus.kept == {}
    assert len(corpus.organizations["bank"]) == 40


def test_a_file_of_few_questions_keeps_none(tmp_path: Path) -> None:
    corpus = from_folder(folder_of(tmp_path, bank=facts("bank", 4), school=facts("school", 5)))
    assert list(corpus.kept) == ["school"]
    assert benchmark_of(corpus) == list(corpus.kept["school"])


def test_a_test_takes_the_place_of_the_tenth(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "data", bank=facts("bank", 40), school=facts("school", 40))
    asked = [*facts("bank", 3), *facts("new", 5)]
    options = DemoOptions(data=folder, test=folder_of(tmp_path / "test", bank=asked))
    corpus, _ = corpus_of(options, 0)
    assert len(corpus.organizations["bank"]) == 40
    assert corpus.kept == {"bank": tuple(facts("new", 5))}
    assert any("3 questions are in the training data too" in text for text in corpus.remarks)
    one = from_folder(folder, test=tmp_path / "test" / "bank.jsonl")
    assert one.kept == corpus.kept


def test_a_test_without_a_question_of_its_own_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "data", bank=facts("bank", 9), school=facts("school", 9))
    with pytest.raises(DataError, match="has no question to ask"):
        from_folder(folder, test=folder)
    with pytest.raises(ConfigError, match=r"a test is for the data of --data"):
        corpus_of(DemoOptions(test=folder), 0)


def test_answers_that_repeat_are_labels_of_a_skill(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        bank=intents("bank", 60, INTENTS[:3]),
        school=intents("school", 40, INTENTS[2:]),
        facts=facts("facts", 30),
    )
    corpus = from_folder(folder)
    skill = corpus.skill
    assert skill is not None
    assert skill.labels == tuple(sorted(INTENTS))
    assert list(skill.organizations) == ["bank", "school"]
    assert len(skill.organizations["bank"]) == len(corpus.organizations["bank"]) == 54
    kept = {row.question for name in ("bank", "school") for row in corpus.kept[name]}
    assert {row.text for row in skill.test} == kept


def test_a_label_that_is_misspelled_once_is_left_out(tmp_path: Path) -> None:
    rows = [*intents("bank", 60), Example("bank 99", "card lots", "x")]
    skill = from_folder(folder_of(tmp_path, bank=rows, school=intents("school", 40))).skill
    assert skill is not None
    assert skill.labels == tuple(sorted(INTENTS))


def test_facts_and_too_many_labels_are_no_skill(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", bank=facts("bank", 40), school=facts("school", 40))
    assert from_folder(folder).skill is None
    many = [f"label {n}" for n in range(201)]
    rows = intents("bank", 10 * len(many), many)
    folder = folder_of(tmp_path / "b", bank=rows, school=intents("school", 2010, many))
    assert from_folder(folder).skill is None
