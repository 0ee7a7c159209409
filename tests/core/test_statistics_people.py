"""A person who left is in no byte of what is summed, committed to or served."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rescind.core import Opening, artifact_id, commit, digest, encode, sum_points
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics import Classes, RowStatistics, check
from rescind.training.heads import solve

LABELS = ("card", "loan", "rate")
TASKS = {
    "words": Classes(
        features=NgramFeatures(buckets=15, words=(1,), characters=()), labels=LABELS, max_rows=40
    ),
    "pairs": Classes(features=NgramFeatures(buckets=15, characters=()), labels=LABELS, max_rows=40),
}
WORDS = ("my", "new", "card", "loan", "rate", "is", "late", "high", "lost")
PEOPLE = ("Ada", "Bela", "Carla")
Row = tuple[str, str, str]
ROWS = st.tuples(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join),
    st.sampled_from(LABELS),
    st.sampled_from(PEOPLE),
)
MEMBERS = st.lists(st.lists(ROWS, max_size=8), min_size=2, max_size=4)


def posted(task: str, rows: list[Row]) -> RowStatistics:
    return TASKS[task].collect([text for text, _, _ in rows], [label for _, label, _ in rows])


def without(rows: list[Row], person: str) -> list[Row]:
    return [row for row in rows if row[2] != person]


@settings(max_examples=40, deadline=None)
@given(MEMBERS, st.sampled_from(PEOPLE), st.sampled_from(sorted(TASKS)))
def test_sums_and_heads_without_a_person_are_those_of_a_run_that_never_had_the_person(
    members: list[list[Row]], person: str, task: str
) -> None:
    before = RowStatistics.sum(posted(task, rows) for rows in members)
    own = [[row for row in rows if row[2] == person] for rows in members]
    after = before.without(RowStatistics.sum(posted(task, rows) for rows in own))
    never = RowStatistics.sum(posted(task, without(rows, person)) for rows in members)
    assert artifact_id(encode(after.tensors())) == artifact_id(encode(never.tensors()))
    if never.rows:
        assert solve(after).weights.tobytes() == solve(never).weights.tobytes()


@settings(max_examples=20, deadline=None)
@given(st.lists(ROWS, max_size=12), st.sampled_from(PEOPLE))
def test_an_organization_replaces_its_statistics_by_those_without_the_person(
    rows: list[Row], person: str
) -> None:
    for task, classes in TASKS.items():
        own = posted(task, [row for row in rows if row[2] == person])
        rest = posted(task, rows).without(own)
        check(own, classes)
        check(rest, classes)
        assert encode(rest.tensors()) == encode(posted(task, without(rows, person)).tensors())


@settings(max_examples=10, deadline=None)
@given(MEMBERS, st.sampled_from(PEOPLE))
def test_a_label_that_only_the_person_had_has_no_rows_left(
    members: list[list[Row]], person: str
) -> None:
    label = "loan"
    rows = [row for each in members for row in each if row[1] != label or row[2] == person]
    rest = posted("words", rows).without(posted("words", [r for r in rows if r[2] == person]))
    place = LABELS.index(label)
    assert rest.counts[place] == 0
    assert not rest.moments[:, place].any()
    if rest.rows:
        assert not solve(rest).weights[:, place].any()


@settings(max_examples=10, deadline=None)
@given(MEMBERS, st.sampled_from(PEOPLE))
def test_the_sum_without_the_person_is_what_the_new_points_open_to(
    members: list[list[Row]], person: str
) -> None:
    own = posted("words", [row for rows in members for row in rows if row[2] == person])
    digests = [digest(posted("words", without(rows, person)).tensors()) for rows in members]
    whole = digest(RowStatistics.sum(posted("words", rows) for rows in members).tensors())
    opening = Opening.build("statistics", [(each, 1) for each in digests])
    assert opening.digest == whole - digest(own.tensors())
    assert opening.commitment == sum_points([(commit(each), 1) for each in digests])
