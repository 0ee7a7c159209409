"""Why a block answered, in words, in JSON and as a table."""

from rescind.cli.answer_evidence import print_evidence
from rescind.cli.printing import out
from rescind.training.routers import Choice, LikelihoodRouter
from rescind.training.serving.evidence import NO_BLOCKS, ONE_ADAPTER, Evidence
from rescind.training.skills import SkillAnswer

A, B, C = ("0x" + digit * 40 for digit in "abc")
NAMES = {A: "aurora", B: "borealis"}
WON = Choice(B, {A: 1.25, B: 9.75, C: -0.5}, 6.5, "the larger of two", 21.5)


def evidence(choice: Choice) -> Evidence:
    return Evidence.of(LikelihoodRouter(), choice)


def shown(found: Evidence) -> str:
    with out.capture() as capture:
        print_evidence({"model": 4} | found.to_dict(NAMES))
    return capture.get()


def test_the_winner_is_named_with_its_lead_over_the_threshold_and_the_next_block() -> None:
    said = evidence(WON).explain(NAMES)
    assert said == (
        "borealis has the best score, 9.75, 3.25 above the threshold of 6.50; the next block scores "
        "8.50 less."
    )


def test_the_base_answers_because_no_block_reached_the_threshold() -> None:
    found = evidence(Choice(None, {A: 1.25, C: 6.25}, 6.5, "the larger of two", 21.5))
    assert found.explain(NAMES) == (
        f"No block exceeds the threshold of 6.50. The best, {C}, scores 6.25."
    )
    lines = [line.split() for line in shown(found).splitlines()]
    assert ["(base)", "0.00", "answered"] in lines
    assert "the base's loss on the question: 21.50 nats".split() in lines


def test_a_router_without_a_threshold_names_the_best_block_only() -> None:
    found = evidence(Choice(A, {A: 0.25}))
    assert found.explain(NAMES) == "aurora has the best score, 0.25."
    assert "threshold" not in shown(found).splitlines()[-1]


def test_an_answer_without_a_router_has_its_own_reason() -> None:
    shared = Evidence(None, "", Choice(None, {}), ONE_ADAPTER)
    assert shown(shared).splitlines() == ["", f"why: {ONE_ADAPTER}", "model 4"]
    assert evidence(Choice(None, {})).explain(NAMES) == NO_BLOCKS
    assert Evidence.guarded().to_dict(NAMES)["blocks"] == []


def test_the_table_lists_every_block_with_the_best_first() -> None:
    lines = [line.split() for line in shown(evidence(WON)).splitlines()]
    assert ["borealis", "9.75", "+3.25", "answered"] in lines
    assert ["aurora", "1.25", "-5.25"] in lines
    assert ["(base)", "0.00"] in lines
    assert ["threshold", "6.50:", "the", "larger", "of", "two"] in lines


def test_the_json_has_the_evidence_of_each_block() -> None:
    document = evidence(WON).to_dict(NAMES)
    assert (document["router"], document["threshold"]) == ("likelihood", 6.5)
    assert [
        (b["organization"], b["score"], b["above_threshold"], b["answered"])
        for b in document["blocks"]
    ] == [("borealis", 9.75, 3.25, True), ("aurora", 1.25, -5.25, False), (C, -0.5, -7.0, False)]
    assert document["base_loss_nats"] == 21.5


def test_a_suppressed_block_is_not_shown() -> None:
    assert [owner for owner, _ in evidence(WON).without({A}).ranked] == [B, C]


def test_a_head_is_shown_with_its_best_labels_and_no_block() -> None:
    scores = {f"desk {n}": 0.9 - n / 10 for n in range(7)}
    answer = SkillAnswer("desk", "My card is lost", "desk 0", scores, 0.1, 40)
    found = Evidence.of_head(answer)
    document = found.to_dict(NAMES)
    assert document["blocks"] == []
    assert document["head"]["labels_with_rows"] == 7
    text = shown(found)
    assert f"why: {answer.reason}" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["desk", "0", "0.90", "answered"] in lines
    assert ["desk", "4", "0.50"] in lines
    assert ["(2", "more)"] in lines
    assert "router" not in text
