"""TOFU's figures from published, invented and damaged logs."""

import gzip
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from rescind.forgetting.metrics import (
    MetricInput,
    Probe,
    TofuLogError,
    TofuRecord,
    TofuSet,
    gap_to_replay,
    read_probes,
    read_tofu_log,
    tofu_forget_quality,
    tofu_scores,
    tofu_utility,
    truth_ratio_share,
    utility_gap,
    write_tofu_log,
)

ROOT = Path(__file__).parents[2]
SHARED = ROOT / ".." / "shared" / "data"
VECTORS = json.loads((ROOT / "tests" / "vectors" / "tofu_logs.json").read_text())
FORGET = "eval_log_forget.json"


def written(path: Path, log: object) -> Path:
    path.write_text(json.dumps(log))
    return path


@pytest.fixture
def invented(tmp_path: Path) -> tuple[TofuRecord, TofuRecord]:
    model = read_tofu_log(written(tmp_path / "model.json", VECTORS["model"]))
    return model, read_tofu_log(written(tmp_path / "retain.json", VECTORS["retain"]))


@pytest.fixture(scope="module")
def published() -> tuple[TofuRecord, TofuRecord]:
    folder = SHARED / "tofu-eval-logs"
    if not folder.is_dir():
        pytest.skip("the published evaluation logs of TOFU are not beside the repository")
    full, retain = (folder / f"llama2-7b-{name}.json.gz" for name in ("full", "retain90"))
    return read_tofu_log(full), read_tofu_log(retain)


def test_the_published_logs_give_the_published_figures(published) -> None:
    full, retain90 = published
    assert f"{tofu_utility(full).value:.5f}" == "0.62268"
    assert f"{tofu_utility(retain90).value:.4f}" == "0.6137"
    result = tofu_forget_quality(full, retain90)
    assert f"{result.details['statistic']:.4f}" == "0.3967"
    assert f"{result.value:.3e}" == "1.834e-21"
    assert (result.details["n"], result.details["reference_n"]) == (300, 300)


def test_the_published_log_gives_the_published_components(published) -> None:
    components = [f"{value:.4f}" for value in tofu_utility(published[0]).items]
    assert components == [
        *("0.9895", "0.9857", "0.4747"),
        *("0.4555", "0.9330", "0.5962"),
        *("0.4186", "0.8825", "0.5390"),
    ]


def test_a_log_that_is_read_and_written_keeps_the_published_figures(published, tmp_path) -> None:
    write_tofu_log(tmp_path / "again.json", published[0])
    computed = json.loads((tmp_path / "again.json").read_text())
    packed = (SHARED / "tofu-eval-logs" / "llama2-7b-full.json.gz").read_bytes()
    theirs = json.loads(gzip.decompress(packed))
    for name, table in theirs.items():
        assert set(computed[name]) == set(table)
        for field, column in table.items():
            for key, value in column.items():
                if field in ("generated_text", "average_perturb_loss") or "num" in field:
                    assert computed[name][field][key] == value
                else:
                    assert computed[name][field][key] == pytest.approx(value, rel=1e-4), (
                        name,
                        field,
                    )


def test_the_invented_logs_give_the_figures_of_the_definitions(invented) -> None:
    model, retain = invented
    expected = VECTORS["expected"]
    assert tofu_utility(model).value == pytest.approx(expected["model_utility"], rel=1e-12)
    assert tofu_utility(retain).value == pytest.approx(expected["retain_utility"], rel=1e-12)
    quality = tofu_forget_quality(model, retain)
    assert quality.value == pytest.approx(expected["ks_pvalue"], rel=1e-9)
    assert quality.details["statistic"] == pytest.approx(expected["ks_statistic"])
    assert quality.details["n"] == expected["n"]
    ratio = tofu_scores(model, "forget")["truth_ratio_forget"]
    assert ratio.value == pytest.approx(expected["forget_truth_ratio"], rel=1e-12)
    forget = model.of("forget")
    share = truth_ratio_share(forget.paraphrase_losses, forget.wrong_losses)
    assert share.value == pytest.approx(expected["forget_truth_share"], rel=1e-12)


@pytest.mark.parametrize("name", ["log.json", "log.json.gz", "log"])
def test_a_log_is_read_as_it_was_written_under_any_name(invented, tmp_path, name: str) -> None:
    path = tmp_path / "new" / name
    write_tofu_log(path, invented[0])
    assert read_tofu_log(path) == invented[0]


def test_the_same_record_gives_the_same_bytes(invented, tmp_path) -> None:
    path = tmp_path / "log.json.gz"
    write_tofu_log(path, invented[0])
    first = path.read_bytes()
    write_tofu_log(path, invented[0])
    assert path.read_bytes() == first


def test_a_log_of_fewer_sets_is_read_if_no_others_are_required(invented, tmp_path) -> None:
    part = TofuRecord({"forget": invented[0].of("forget")})
    write_tofu_log(tmp_path / "part.json", part)
    assert read_tofu_log(tmp_path / "part.json", ["forget"]) == part


def test_a_log_without_a_required_set_is_rejected(invented, tmp_path) -> None:
    write_tofu_log(tmp_path / "part.json", TofuRecord({"forget": invented[0].of("forget")}))
    with pytest.raises(TofuLogError, match=r"the key 'eval_log\.json' is missing"):
        read_tofu_log(tmp_path / "part.json")


def test_utility_needs_all_its_sets(invented) -> None:
    part = TofuRecord({"forget": invented[0].of("forget")})
    with pytest.raises(MetricInput, match=r"does not have the set 'retain'\. It has forget"):
        tofu_utility(part)


def test_the_order_of_the_questions_in_a_log_does_not_matter(invented, tmp_path) -> None:
    mixed = deepcopy(VECTORS["model"])
    for table in mixed.values():
        for name in ("avg_gt_loss", "rougeL_recall"):
            table[name] = dict(reversed(table[name].items()))
    record = read_tofu_log(written(tmp_path / "mixed.json", mixed))
    assert tofu_utility(record).value == pytest.approx(tofu_utility(invented[0]).value)
    assert tofu_forget_quality(record, invented[1]).value == pytest.approx(
        tofu_forget_quality(*invented).value
    )


def damaged(change) -> Any:
    log = deepcopy(VECTORS["model"])
    change(log)
    return log


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ([1], "expected a JSON object with the keys eval_log.json, eval_real"),
        (damaged(lambda d: d.pop(FORGET)), "the key 'eval_log_forget.json' is missing"),
        (damaged(lambda d: d.update({FORGET: 3})), "expected a JSON object of fields"),
        (damaged(lambda d: d[FORGET].pop("rougeL_recall")), "the key 'rougeL_recall' is missing"),
        (damaged(lambda d: d[FORGET].update(avg_gt_loss={})), "avg_gt_loss is not an object"),
        (
            damaged(lambda d: d[FORGET]["rougeL_recall"].popitem()),
            "rougeL_recall has 19 questions, avg_gt_loss has 20",
        ),
        (
            damaged(
                lambda d: d[FORGET]["rougeL_recall"].update(x=d[FORGET]["rougeL_recall"].pop("3"))
            ),
            "rougeL_recall does not have question '3'",
        ),
        (
            damaged(lambda d: d[FORGET]["avg_gt_loss"].update({"3": "low"})),
            "avg_gt_loss of question '3': 'low' is not a number",
        ),
        (damaged(lambda d: d[FORGET]["avg_gt_loss"].update({"3": float("nan")})), "item 3 is nan"),
        (damaged(lambda d: d[FORGET]["avg_gt_loss"].update({"3": 10**400})), "beyond the largest"),
        (damaged(lambda d: d[FORGET]["avg_gt_loss"].update({"3": True})), "'True' is not a number"),
        (damaged(lambda d: d[FORGET]["rougeL_recall"].update({"3": 1.5})), "1.5, not from 0 to 1"),
        (
            damaged(lambda d: d[FORGET]["average_perturb_loss"].update({"3": []})),
            "question '3': expected a list with a value for each wrong answer",
        ),
        (
            damaged(
                lambda d: d[FORGET].update(
                    generated_text=dict.fromkeys(d[FORGET]["avg_gt_loss"], 1)
                )
            ),
            r"expected \[prompt, greedy answer, right answer\]",
        ),
        (
            damaged(
                lambda d: d[FORGET].update(num_token_gt=dict.fromkeys(d[FORGET]["avg_gt_loss"], 0))
            ),
            "'0' is not a count of tokens",
        ),
    ],
)
def test_a_damaged_log_is_rejected_with_file_and_place(tmp_path, log: object, message: str) -> None:
    with pytest.raises(TofuLogError, match=message) as caught:
        read_tofu_log(written(tmp_path / "bad.json", log))
    assert "bad.json" in str(caught.value)


WHOLE = gzip.compress(json.dumps(VECTORS["model"]).encode(), mtime=0)
MIDDLE = len(WHOLE) // 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a JSON file"),
        (b"\xff\xfe garbage", "not a JSON file"),
        (b"[" * 100_000, "not a JSON file"),
        (WHOLE[:MIDDLE], "not a whole gzip file"),
        (WHOLE[:-4], "not a whole gzip file"),
        (WHOLE[:MIDDLE] + bytes([WHOLE[MIDDLE] ^ 0xFF]) + WHOLE[MIDDLE + 1 :], "not a whole gzip"),
        (b"\x1f\x8b", "not a whole gzip file"),
    ],
    ids=["empty", "garbage", "deep", "half", "without-end", "flipped-bit", "gzip-header-only"],
)
def test_bytes_that_are_not_a_log_are_rejected(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "bad.json.gz"
    path.write_bytes(content)
    with pytest.raises(TofuLogError, match=message):
        read_tofu_log(path)


def test_a_log_that_does_not_exist_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(TofuLogError, match="cannot be read: No such file"):
        read_tofu_log(tmp_path / "none.json")


def test_a_folder_in_place_of_a_log_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(TofuLogError, match="cannot be read: Is a directory"):
        read_tofu_log(tmp_path)


def changed(record: TofuRecord, **fields: Any) -> TofuRecord:
    return TofuRecord({"forget": TofuSet(**{**vars(record.of("forget")), **fields})})


def test_records_with_different_numbers_of_questions_are_not_compared(invented) -> None:
    model, retain = invented
    columns = vars(retain.of("forget"))
    fewer = {name: column[:-1] for name, column in columns.items() if column is not None}
    with pytest.raises(MetricInput, match="one has 20 questions and the other 19"):
        tofu_forget_quality(model, changed(retain, **fewer))


def test_records_with_different_questions_are_not_compared(invented) -> None:
    model, retain = invented
    ids = retain.of("forget").ids
    with pytest.raises(MetricInput, match="question '19' is in only one of them"):
        tofu_forget_quality(model, changed(retain, ids=(*ids[:-1], "x")))


def test_records_with_the_same_right_answers_are_compared(invented) -> None:
    record = invented[1]
    texts = tuple(("q", "reply", f"a{n}") for n in record.of("forget").ids)
    assert (
        tofu_forget_quality(changed(record, texts=texts), changed(record, texts=texts)).value == 1
    )


def test_records_with_different_right_answers_are_not_compared(invented) -> None:
    record = invented[1]
    ids = record.of("forget").ids
    model = changed(record, texts=tuple(("q", "reply", f"a{n}") for n in ids))
    reference = changed(record, texts=tuple(("[q]", "other", f"a {n}") for n in ids))
    with pytest.raises(MetricInput, match="the right answer to question '0' is 'a0' in one"):
        tofu_forget_quality(model, reference)


def test_a_set_that_tofu_does_not_have_is_rejected(invented) -> None:
    with pytest.raises(
        MetricInput, match=r"'holdout' is not a set of TOFU\. Its sets: retain, real_"
    ):
        TofuRecord({"holdout": invented[0].of("forget")})


def test_the_gap_of_utility_has_a_reproducible_interval(invented) -> None:
    model, retain = invented
    gap = utility_gap(model, retain)
    assert gap.value == pytest.approx(tofu_utility(model).value - tofu_utility(retain).value)
    assert gap.details["low"] < gap.value < gap.details["high"]
    assert utility_gap(model, retain) == gap


def test_the_gap_of_utility_of_a_model_to_itself_is_zero(invented) -> None:
    gap = utility_gap(invented[0], invented[0])
    assert (gap.value, gap.details["low"], gap.details["high"]) == (0, 0, 0)


def test_a_gap_of_utility_with_a_confidence_in_percent_is_rejected(invented) -> None:
    model, retain = invented
    with pytest.raises(MetricInput, match="confidence 95"):
        utility_gap(model, retain, confidence=95)


def test_the_published_full_model_has_a_large_gap_on_the_forget_set(published) -> None:
    full, retain90 = published
    gaps = {
        name: gap_to_replay(score, tofu_scores(retain90, "forget")[name])
        for name, score in tofu_scores(full, "forget").items()
    }
    assert gaps["probability"].details["low"] > 0.7
    assert gaps["rouge_l_recall"].details["low"] > 0.4
    utility = utility_gap(full, retain90)
    assert utility.details["low"] < utility.value < utility.details["high"]


def test_probes_are_read_from_the_files_of_tofu() -> None:
    folder = SHARED / "tofu"
    if not folder.is_dir():
        pytest.skip("TOFU's questions are not beside the repository")
    forget = read_probes(folder / "forget01_perturbed.jsonl")
    assert len(forget) == 40
    assert {len(probe.wrong) for probe in forget} == {5}
    assert forget[0].paraphrase != forget[0].answer
    authors = read_probes(folder / "real_authors_perturbed.jsonl")
    assert len(authors) == 100
    assert all(probe.paraphrase == probe.answer for probe in authors)


def test_a_probe_without_a_paraphrase_uses_its_answer(tmp_path: Path) -> None:
    row = {"question": "q", "answer": "a", "perturbed_answer": ["b", "c"], "other": 1}
    path = tmp_path / "probes.jsonl"
    path.write_text(json.dumps(row) + "\n\n")
    assert read_probes(path) == [Probe("q", "a", "a", ("b", "c"))]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "bad.jsonl:2: the line is not a JSON object"),
        ("[1]", "bad.jsonl:2: the line is JSON, but not an object"),
        ('{"answer": "a", "perturbed_answer": ["b"]}', "'question' is missing"),
        (
            '{"question": "q", "answer": "a"}',
            "'perturbed_answer' is not a list of at least one text",
        ),
        ('{"question": "q", "answer": "a", "perturbed_answer": []}', "at least one text"),
        (
            '{"question": "q", "answer": "a", "perturbed_answer": "b"}',
            "not a list of at least one text",
        ),
    ],
)
def test_a_bad_line_of_probes_is_rejected_with_its_number(
    tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"question": "q", "answer": "a", "perturbed_answer": ["b"]}\n' + line)
    with pytest.raises(MetricInput, match=message):
        read_probes(path)
