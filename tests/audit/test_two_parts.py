"""Certificates of a consortium with blocks and statistics, and what an enemy makes of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rescind.audit import CHECKS, Inputs, Verification, build_certificate
from rescind.audit.heads import heads_at
from rescind.audit.stores import Stores
from rescind.contracts import Parts
from rescind.core import (
    STATISTICS,
    Opening,
    digest,
    encode,
    encode_openings,
    owner,
)
from rescind.core.statistics_tensors import contributed_tensors
from tests.support.certified import Story
from tests.support.chain import Anvil
from tests.support.consortium import (
    ChainConsortium,
    Tensors,
    hybrid_parameters,
    make_consortium,
)
from tests.support.falsified import falsified, field, leaves, put

Change = Callable[[dict[str, Any]], None]
_ROWS = count()


class TwoParts(ChainConsortium):
    """Each contribution has a random delta and the statistics of three rows."""

    def register(self, tensors: Any) -> Parts:
        agreed, number = self.parameters.statistics, next(_ROWS)
        assert agreed is not None
        texts = [f"My card {number} is lost", f"Bill {number} is wrong", f"A card, number {number}"]
        rows = agreed.tasks["desk"].collect(texts, ["cards", "billing", "cards"])
        parts = [
            super(TwoParts, self).register(each)
            for each in (tensors, contributed_tensors(agreed, {"desk": rows}))
        ]
        ids, points = (
            [x for each in parts for x in each.artifact_ids],
            [x for each in parts for x in each.points],
        )
        return Parts(tuple(ids), tuple(points))


class TwoPartStory(Story):
    """Two rounds of three organizations, then the first one is removed."""

    def publish(self, publisher: Any = None) -> tuple[str, str]:
        consortium = self.consortium
        reader = consortium.of(publisher or consortium.aggregator)
        model_id = reader.latest_model_id()
        entries = reader.contents(model_id)
        total: Tensors = {}
        terms: dict[str, list[Any]] = {}
        for entry, each in zip(entries, reader.registered(entries), strict=True):
            tensors = consortium.load(each.parts.artifact_ids[entry.part])
            name = STATISTICS if entry.part else owner("blocks", entry.organization)
            terms.setdefault(name, []).append((digest(tensors), entry.weight))
            for tensor, value in tensors.items():
                total[tensor] = total.get(tensor, 0) + entry.weight * value.astype(np.int64)
        adapter_id = consortium.store.put(encode(total))
        openings = [Opening.build(name, held) for name, held in terms.items()]
        opening_id = consortium.store.put(encode_openings(openings))
        reader.publish(model_id, adapter_id, opening_id)
        return adapter_id, opening_id

    def certify(self, withdrawal_id: int = 1, *, evaluated: bool = True) -> None:
        reader = self.consortium.of()
        heads = heads_at(reader, reader.latest_model_id(), Stores([self.store]))
        build_certificate(reader, withdrawal_id, heads=heads).save(self.path)

    def check_changed(self, change: Change) -> Verification:
        """Check the certificate after an enemy changed it, in canonical form."""
        document = json.loads(self.path.read_bytes())
        change(document)
        self.path.write_text(json.dumps(document, sort_keys=True, indent=2) + "\n")
        return self.check()


@pytest.fixture(scope="module")
def played(
    tmp_path_factory: pytest.TempPathFactory, running_anvil: Anvil
) -> Iterator[TwoPartStory]:
    folder = tmp_path_factory.mktemp("two-parts")
    with running_anvil.rewound():
        made = make_consortium(
            running_anvil, parameters=hybrid_parameters(), store=folder / "store"
        )
        values = {each.name: getattr(made, each.name) for each in fields(made)}
        consortium = TwoParts(**values)
        consortium.deployment.save(folder / "contracts.json")
        consortium.store.put(consortium.parameters.canonical_bytes())
        rng = np.random.default_rng(0)
        consortium.play_round(rng)
        consortium.play_round(rng)
        story = TwoPartStory(consortium, folder)
        story.publish()
        consortium.of(consortium.organizations[0]).request_withdrawal()
        consortium.remove(1)
        story.publish()
        yield story


@pytest.fixture
def story(played: TwoPartStory) -> TwoPartStory:
    played.certify()
    return played


def test_blocks_statistics_and_heads_are_checked(story: TwoPartStory) -> None:
    verification = story.check()
    assert verification.exit_code == 0, verification.checks
    standings = {each.owner: each.standing for each in verification.owners}
    assert len(standings) == 3
    assert set(standings.values()) == {"opened by the holder"}
    status = {check.name: check.status for check in verification.checks}
    assert status["heads"] == "passed"


def swap(first: tuple[Any, ...], second: tuple[Any, ...]) -> Change:
    def change(document: dict[str, Any]) -> None:
        one, other = field(document, first), field(document, second)
        put(document, first, other)
        put(document, second, one)

    return change


def change_head(name: str, value: Any) -> Change:
    return lambda document: put(document, ("heads", 0, name), value)


LATEST = ("latest", "content")


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (swap((*LATEST, 0), (*LATEST, 1)), "models"),
        (swap((*LATEST, 0, 0, "point_hash"), (*LATEST, 1, 0, "point_hash")), "models"),
        (swap((*LATEST, 0, 0, "organization"), (*LATEST, 0, 1, "organization")), "models"),
        (swap((*LATEST, 1, 0), (*LATEST, 1, 1)), "models"),
        (lambda d: d["latest"]["content"][1].append(d["latest"]["content"][1][0]), "models"),
        (lambda d: d["latest"]["content"][0].append(d["latest"]["content"][0][0]), "models"),
        (lambda d: d["latest"]["content"].pop(), "models"),
        (lambda d: d["latest"]["content"].append([]), "models"),
        (swap(("latest", "commitments", 0), ("latest", "commitments", 1)), "models"),
        (lambda d: d["latest"]["commitments"].pop(), "models"),
        (swap(("consortium", "rules", 0), ("consortium", "rules", 1)), "agreement"),
        (change_head("head", "ab" * 32), "heads"),
        (change_head("task", "bench"), "heads"),
        (change_head("ridge", 2**62), "heads"),
        (change_head("scale_bits", 3), "heads"),
        (lambda d: d["heads"].append(d["heads"][0]), "heads"),
        (lambda d: d["heads"].append({**d["heads"][0], "task": "other"}), "heads"),
    ],
    ids=[
        "parts that changed places",
        "a point of the other part",
        "owners of a part that changed places",
        "entries that changed places",
        "statistics that are there twice",
        "a block that is there twice",
        "a part that is missing",
        "a part too many",
        "commitments that changed places",
        "a commitment that is missing",
        "rules that changed places",
        "another head",
        "a head of another task",
        "another ridge",
        "another scale",
        "a head that is there twice",
        "a head too many",
    ],
)
def test_what_an_enemy_changes_in_two_parts_is_refused(
    story: TwoPartStory, change: Change, check: str
) -> None:
    verification = story.check_changed(change)
    failed = {each.name for each in verification.checks if each.status == "failed"}
    assert verification.exit_code != 0
    assert verification.verdict == "REFUSED"
    assert failed & {check, "models"}, failed


def test_heads_of_another_model_are_refused(story: TwoPartStory) -> None:
    before = story.consortium.of().latest_model_id() - 1
    (other,) = heads_at(story.consortium.of(), before, Stores([story.store]))
    verification = story.check_changed(lambda d: put(d, ("heads", 0), other.model_dump()))
    assert verification.exit_code == CHECKS["heads"]


def test_a_file_without_heads_says_that_they_are_not_checked(story: TwoPartStory) -> None:
    verification = story.check_changed(lambda document: put(document, ("heads",), []))
    assert verification.exit_code == 0
    assert "heads" in verification.unchecked


def test_each_field_of_two_parts_that_an_enemy_changes_is_noticed(story: TwoPartStory) -> None:
    document = json.loads(story.path.read_bytes())
    stranger = story.consortium.founder.address
    unnoticed = []
    for path in leaves(document):
        hint = path[:3] == ("consortium", "deployment", "creations")
        if hint or (field(document, path) is None and path[-1] != "ledger"):
            continue
        changed = copy.deepcopy(document)
        put(changed, path, falsified(path, field(document, path), stranger))
        story.path.write_text(json.dumps(changed, sort_keys=True, indent=2) + "\n")
        if not story.check().exit_code:
            unnoticed.append(path)
    assert unnoticed == []


def served(story: TwoPartStory) -> tuple[Tensors, Path]:
    publication = story.consortium.of().publications(story.consortium.of().latest_model_id())[-1]
    return story.consortium.load(publication.adapter_id), story.folder / "served"


@pytest.mark.parametrize("part", ["block", "statistics"])
def test_a_served_part_that_does_not_open_is_named(story: TwoPartStory, part: str) -> None:
    tensors, path = served(story)
    remaining = story.consortium.organizations[1].address
    name = next(
        name
        for name in sorted(tensors)
        if name.startswith(STATISTICS if part == "statistics" else owner("blocks", remaining))
    )
    tensors[name] = tensors[name].copy()
    tensors[name].flat[0] += 1
    path.write_bytes(encode(tensors))
    publication = story.consortium.of().publications(story.consortium.of().latest_model_id())[-1]
    opening = story.store / publication.opening_id[:2] / publication.opening_id
    inputs = Inputs(story.folder / "contracts.json", [story.store], adapter=path, opening=opening)
    verification = story.check(inputs)
    assert verification.exit_code == CHECKS["adapter"]
    assert verification.verdict == "REFUSED"


@pytest.mark.parametrize(
    "text",
    [
        '{"format": "rescind.certificate/6", "format": "rescind.certificate/6"}',
        "[" * 100_000,
        '{"a":' * 100_000,
        "1" * 100_000,
        "NaN",
        '{"latest": Infinity}',
        "",
        "null",
        "[]",
        '"text"',
        "\ufeff{}",
        '{"format": "\\ud800"}',
    ],
    ids=lambda text: text[:12] or "empty",
)
def test_json_of_an_enemy_is_one_clear_error(story: TwoPartStory, text: str) -> None:
    story.path.write_text(text)
    verification = story.check()
    assert verification.exit_code != 0
    assert verification.verdict == "REFUSED"


@pytest.mark.parametrize(
    "insert",
    [
        lambda text: text.replace('"method":', '"method": "removal",\n  "method":', 1),
        lambda text: text.replace('"heads":', '"heads": [],\n  "heads":', 1),
        lambda text: text.replace('"model_id": 3', '"model_id": 3.0', 1),
        lambda text: text.replace('"model_id": 3', '"model_id": 3e0', 1),
        lambda text: text.replace('"model_id": 3', '"model_id": NaN', 1),
        lambda text: text.replace('"model_id": 3', '"model_id": ' + "9" * 5000, 1),
        lambda text: text.replace('"model_id": 3', '"model_id": -3', 1),
        lambda text: text.replace('"model_id": 3', '"model_id": true', 1),
        lambda text: text.replace('"model_id": 3', '"model_id": "3"', 1),
        lambda text: text.replace('"model_id": 3', f'"model_id": {2**64 + 3}', 1),
        lambda text: text.replace('"ridge": ', '"ridge": 1e308, "_": ', 1),
        lambda text: text + "{}",
        lambda text: text[:-1],
        lambda text: text.replace("  ", " "),
    ],
)
def test_a_second_reading_of_a_certificate_is_refused(
    story: TwoPartStory, insert: Callable[[str], str]
) -> None:
    text = story.path.read_text()
    changed = insert(text)
    assert changed != text
    story.path.write_text(changed)
    assert story.check().exit_code != 0
