"""Certificates and disclosures, checked beside a real chain whose answers are kept.

The chain does not change while its files do, so each question is asked once. Mutated files are
written in canonical form, and half of the changes put another value of the same form into a field,
as an enemy would: otherwise the first check would refuse them all.
"""

from __future__ import annotations

import atexit
import copy
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rescind.audit import Inputs, anchored_at, check_disclosure
from rescind.contracts import chain as chain_module
from rescind.contracts.transport import HttpTransport
from rescind.core.errors import RescindError
from rescind.ledger import Disclosure, Ledger, Manifest, ManifestDisclosure, create_key
from tests.fuzz.target import Target
from tests.ledger.fuzz import spoiled
from tests.support.certified import begin, remove_first
from tests.support.chain import start_anvil
from tests.support.consortium import ChainConsortium, make_consortium
from tests.support.falsified import falsified, field, put

_STATEMENTS = {"replay", "evaluation"}
"""Parts of a certificate that are its maker's word, and are called so."""


class KeptAnswers(HttpTransport):
    """A connection that asks a chain that does not change each question once."""

    answers: dict[str, Any] = {}  # noqa: RUF012 (all connections of the process share it)

    def send(self, method: str, parameters: Sequence[Any]) -> Any:
        question = json.dumps([self._url, method, list(parameters)], default=str)
        if question not in self.answers:
            self.answers[question] = super().send(method, parameters)
        return copy.deepcopy(self.answers[question])


def targets() -> Iterator[Target]:
    # What is started here runs until the process ends.
    stack = ExitStack()
    atexit.register(stack.close)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    story = begin(
        make_consortium(stack.enter_context(start_anvil()), store=folder / "store"), folder
    )
    remove_first(story)
    story.certify(evaluated=False)
    anvil = stack.enter_context(start_anvil())
    consortium = make_consortium(anvil, 2, store=folder / "second")
    disclosures = _disclosures(consortium, folder)
    chain_module.HttpTransport = KeptAnswers
    anchor = json.loads(disclosures["record-disclosure"][0])["anchor"]

    def certified(data: bytes) -> Any:
        story.path.write_bytes(data)
        verification = story.check(Inputs())
        if verification.exit_code:
            raise RescindError("not accepted")
        document = json.loads(data)
        document["consortium"]["deployment"].pop("creations", None)
        return {name: value for name, value in document.items() if name not in _STATEMENTS}

    def disclosed(data: bytes) -> Any:
        path = folder / "disclosure.json"
        path.write_bytes(data)
        shown = check_disclosure(path, anvil.url)
        if shown.verification.exit_code:
            raise RescindError("not accepted")
        document = json.loads(data)
        if document["anchor"] is None:
            # It says less, and the checks of the chain are skipped and called so.
            document["anchor"] = anchor
        document["anchor"]["contracts"].pop("creations", None)
        return document

    stranger = consortium.founder.address
    yield Target(
        "certificate",
        [story.path.read_bytes()],
        certified,
        proves=True,
        mutate=lambda data, rng: _canonical(_changed(data, rng, stranger)),
    )
    for name, seed in disclosures.items():
        yield Target(
            name,
            seed,
            disclosed,
            proves=True,
            mutate=lambda data, rng: _changed(data, rng, stranger),
        )


def _disclosures(consortium: ChainConsortium, folder: Path) -> dict[str, list[bytes]]:
    first = consortium.organizations[0]
    manifest = Manifest.of([("Bo", b"b"), ("Cleo", b"c")], bytes(32))
    delta = consortium.random_delta(first, np.random.default_rng(0))
    consortium.play(
        {first: replace(consortium.register(delta), manifest=manifest.commitment.hex())}
    )
    artifact = consortium.of().contributions(1)[-1].parts.artifact_ids[0]
    with Ledger.create(folder / "ledger", create_key(folder / "key")) as ledger:
        for number in range(5):
            ledger.append("reward", {"round": number})
        receipt = consortium.of(first).write_anchor(ledger.size, ledger.root().hex())
        anchored = anchored_at(consortium.of(), first.address, receipt.tx_hash)
        record = Disclosure.of(ledger.prove(3), ledger.key.verifier(), anchored)
    # A manifest's disclosure names who committed, and no anchor of the ledger.
    of_manifest = [
        ManifestDisclosure(
            1,
            name,
            None,
            manifest.commitment.hex(),
            artifact,
            manifest.prove(name),
            replace(anchored, transaction=""),
        )
        for name in ("Bo", "Ada Novak")
    ]
    return {
        "record-disclosure": [json.dumps(record.to_json()).encode()],
        "manifest-disclosure": [json.dumps(each.to_json()).encode() for each in of_manifest],
    }


def _changed(data: bytes, rng: random.Random, stranger: str) -> bytes:
    """Return a file with one value changed, two exchanged, or spoiled in some other way."""
    how = rng.randrange(4)
    try:
        document = json.loads(data)
        places = list(_all_leaves(document))
        if how < 2:
            place = rng.choice(places)
            put(document, place, falsified(place, field(document, place), stranger))
        elif how == 2:
            one, other = rng.choice(places), rng.choice(places)
            value = field(document, one)
            put(document, one, field(document, other))
            put(document, other, value)
        else:
            return spoiled(data, rng)
    except (ValueError, LookupError, TypeError, AttributeError):
        return spoiled(data, rng)
    return json.dumps(document).encode()


def _all_leaves(document: Any) -> Iterator[tuple[str | int, ...]]:
    """Yield the paths of all values, of lists every item."""
    if isinstance(document, dict | list):
        steps: Any = document if isinstance(document, dict) else range(len(document))
        for step in steps:
            for path in _all_leaves(document[step]):
                yield (step, *path)
    if not isinstance(document, dict | list) or not document:
        yield ()


def _canonical(data: bytes) -> bytes:
    try:
        return (json.dumps(json.loads(data), sort_keys=True, indent=2) + "\n").encode("ascii")
    except (ValueError, RecursionError):
        return data
