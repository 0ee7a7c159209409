"""Damage files and proofs at random: the result must be an error or the same statement as before.

python -m tests.ledger.fuzz [COUNT] [SEED] prints how many were tried.
"""

import copy
import json
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from rescind.core.errors import RescindError
from rescind.ledger import (
    Anchored,
    Checkpoint,
    Disclosure,
    Ledger,
    Manifest,
    ManifestDisclosure,
    NewRecord,
    Verifier,
    create_key,
    merkle,
)
from rescind.ledger.disclosure import parse


@dataclass(frozen=True)
class Target:
    """A file to damage. `ask` returns what it states, or raises RescindError."""

    name: str
    data: bytes
    ask: Callable[[bytes], Any]


NAMES = ("disclosure", "checkpoint", "manifest, person 3", "manifest, nobody", "inclusion")


@cache
def targets() -> list[Target]:
    """Return the targets, in the order of NAMES."""
    with tempfile.TemporaryDirectory() as folder:
        key = create_key(Path(folder) / "key")
        with Ledger.create(Path(folder) / "ledger", key) as ledger:
            ledger.append_all([_decision(number) for number in range(300)])
            verifier = ledger.key.verifier()
            where = Anchored({"chain_id": 1}, "0x00", "0x01", "0x02")
            shown = Disclosure.of(ledger.prove(123), verifier, where)
            note = str(ledger.checkpoint())
    manifest = Manifest.of(((f"person {n % 9}", bytes([n])) for n in range(90)), bytes(32))
    targets_ = [Target("disclosure", _json(shown.to_json()), _disclosed), _note(note, verifier)]
    for name in ("person 3", "nobody"):
        disclosure = ManifestDisclosure(
            1,
            name,
            None,
            manifest.commitment.hex(),
            "ab" * 32,
            manifest.prove(name),
            replace(where, transaction=""),
        )
        targets_.append(
            Target(f"manifest, {name}", _json(disclosure.to_json()), _of_manifest(disclosure))
        )
    return [*targets_, _inclusion()]


def _decision(number: int) -> NewRecord:
    payload = {"round": number, "why": "because", "observation": {"members": 4}}
    return NewRecord("decision", payload, subject=("Ada", None)[number % 2])


def _disclosed(data: bytes) -> Any:
    disclosure = parse(data)
    assert isinstance(disclosure, Disclosure)
    disclosure.check()
    return disclosure.record, disclosure.checkpoint.size, disclosure.checkpoint.root


def _of_manifest(original: ManifestDisclosure) -> Callable[[bytes], Any]:
    def ask(data: bytes) -> Any:
        disclosure = parse(data)
        if (
            not isinstance(disclosure, ManifestDisclosure)
            or disclosure.commitment != original.commitment
        ):
            raise RescindError("it is not on chain")
        inside = disclosure.check()
        return disclosure.subject, disclosure.sample, inside

    return ask


def _note(note: str, verifier: Verifier) -> Target:
    def ask(data: bytes) -> Any:
        checkpoint = Checkpoint.parse(data.decode(errors="replace"))
        checkpoint.check_signed(verifier)
        return checkpoint.origin, checkpoint.size, checkpoint.root

    return Target("checkpoint", note.encode(), ask)


def _inclusion() -> Target:
    """A bare proof: index, size and path, as JSON."""
    leaves = [merkle.leaf_hash(bytes([n % 256, n // 256])) for n in range(700)]
    subtree = merkle.subtrees_of(leaves)
    root = merkle.root(700, subtree)
    path = [step.hex() for step in merkle.inclusion_proof(333, 700, subtree)]

    def ask(data: bytes) -> Any:
        try:
            index, size, steps = json.loads(data)
            proof = [bytes.fromhex(step) for step in steps]
            if type(index) is not int or type(size) is not int:
                raise ValueError
        except (ValueError, TypeError, RecursionError) as error:
            raise RescindError("no proof") from error
        if not merkle.verify_inclusion(leaves[333], index, size, proof, root):
            raise RescindError("it does not hold")
        return index, size if size < 512 else 700

    return Target("inclusion", _json([333, 700, path]), ask)


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


def spoiled(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return _bytes(bytearray(data), rng)
    try:
        return _json(_part(json.loads(data), rng))
    except ValueError:
        return _bytes(bytearray(data), rng)


def _bytes(content: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at, how = rng.randrange(len(content) + 1), rng.randrange(5)
        if how == 0 and at < len(content):
            content[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            del content[at : at + rng.randrange(1, 40)]
        elif how == 2:
            content[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif how == 3:
            content[at:at] = content[at - 20 : at]
        else:
            del content[at:]
        if not content:
            break
    return bytes(content)


_ODD = (
    None,
    True,
    -1,
    0,
    2**63,
    2**200,
    1.5,
    "",
    "00",
    "é\u0000",
    "\ud800",
    [],
    {},
    [[]],
    "9" * 5000,
)


def _part(document: Any, rng: random.Random) -> Any:
    """The document with one part of it changed, dropped, doubled or replaced by something odd."""
    part = copy.deepcopy(document)
    holder, key = _place(part, rng)
    if holder is None:
        return rng.choice(_ODD)
    how = rng.randrange(5)
    value = holder[key]
    if how == 0:
        del holder[key]
    elif how == 1:
        holder[key] = copy.deepcopy(rng.choice(_ODD))
    elif how == 2 and isinstance(value, int):
        holder[key] = value + rng.choice((-1, 1, 2**32))
    elif how == 2 and isinstance(value, str) and value:
        at = rng.randrange(len(value))
        holder[key] = value[:at] + rng.choice("0123456789abcdef+/= \n") + value[at + 1 :]
    elif how == 3 and isinstance(value, list):
        holder[key] = value[::-1] if rng.random() < 0.5 else [*value, *value[-1:]]
    else:
        other, its = _place(part, rng)
        if other is not None:
            holder[key] = copy.deepcopy(other[its])
    return part


def _place(document: Any, rng: random.Random) -> tuple[Any, Any]:
    holder, key, here = None, None, document
    while isinstance(here, dict | list) and here:
        holder, key = here, rng.choice(list(here) if isinstance(here, dict) else range(len(here)))
        here = holder[key]
        if rng.random() < 0.3:
            break
    return holder, key


def strike(target: Target, count: int, seed: int) -> int:
    """How many were refused. Raises AssertionError for a false yes; lets a crash through."""
    rng, refused = random.Random(f"{target.name} {seed}"), 0
    truth = target.ask(target.data)
    for _ in range(count):
        data = spoiled(target.data, rng)
        try:
            said = target.ask(data)
        except RescindError:
            refused += 1
            continue
        assert said == truth, f"{target.name}: a false yes for {data!r}"
    return refused


if __name__ == "__main__":
    each = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for fuzzed in targets():
        refused = strike(fuzzed, each, number)
        print(f"{fuzzed.name}: {each} tried, {refused} refused, no false yes")
