"""All targets by name."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fuzz.target import Target

_TARGETS = {
    "artifacts": "artifact openings statistics posted parameters",
    "proofs": "disclosure checkpoint manifest-person-3 manifest-nobody inclusion manifest-proof "
    "manifest cosignature attestation round-attestation evidence signature",
    "files": "contracts data data-csv data-mapping data-options policy decisions trace certificate-file tofu-log node-toml "
    "aggregator-toml experiment-toml report",
    "messages": "aggregator-messages ledger-messages",
    "node_answers": "node-answers",
    "identities": "signing-request fingerprint",
    "journals": "journal-facts",
}
"""The targets of each module; a test compares."""
SLOW = {
    "on_chain": "certificate record-disclosure manifest-disclosure",
    "opened": "opened",
}
"""Targets that ask a chain or compute on the curve, a hundred times slower: not among `names`."""


def names() -> list[str]:
    return [name for text in _TARGETS.values() for name in text.split()]


def slow_names() -> list[str]:
    return [name for text in SLOW.values() for name in text.split()]


def module_of(name: str) -> ModuleType:
    """Import the module of a target, and no other."""
    for module, text in {**_TARGETS, **SLOW}.items():
        if name in text.split():
            return import_module(f"tests.fuzz.{module}")
    raise SystemExit(f"{name} is not a target. Choose from: {', '.join([*names(), *slow_names()])}")


def find(name: str) -> Target:
    """Return a target by its name; only its own module is imported."""
    found = module_of(name).targets()
    return next(each for each in found if each.name == name)


def targets() -> dict[str, Target]:
    """Return the targets that need nothing but this process."""
    return {
        each.name: each
        for module in _TARGETS
        for each in import_module(f"tests.fuzz.{module}").targets()
    }
