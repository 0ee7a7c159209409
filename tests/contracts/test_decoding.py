"""Results of the contracts, decoded by name, without a chain."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
from eth_abi.abi import encode

from rescind.contracts import (
    Chain,
    Consortium,
    ContractsMissing,
    Deployment,
    Fold,
    Round,
    RoundState,
    Rule,
    Settings,
    calls,
    load_compiled,
)
from rescind.contracts.abi import Interface
from rescind.contracts.checksum import checksum_address
from rescind.contracts.decoding import Struct, build
from rescind.contracts.deployment import NAMES

ADDRESS = checksum_address("0x" + "0a" * 20)
VALUES = {
    "open": True,
    "round": 3,
    "amendment": 5,
    "part": 1,
    "row": 7,
    "place": 2,
    "carried": b"\x04" * 32,
}
EXPECTED = Fold(True, 3, 5, 1, 7, 2, "04" * 32)


@dataclass(frozen=True)
class OneAnswer:
    """A chain that answers every call with the same bytes."""

    answer: bytes

    def send(self, method: str, parameters: Any) -> Any:
        return {"jsonrpc": "2.0", "id": 1, "result": "0x" + self.answer.hex()}


def fold_abi(components: list[dict[str, Any]]) -> list[dict[str, Any]]:
    abi = copy.deepcopy(load_compiled("Models").abi)
    (function,) = [item for item in abi if item.get("name") == "foldOf"]
    function["outputs"][0]["components"] = components
    return abi


def fold_components() -> list[dict[str, Any]]:
    (function,) = [f for f in load_compiled("Models").abi if f.get("name") == "foldOf"]
    return list(function["outputs"][0]["components"])


def reader(monkeypatch: pytest.MonkeyPatch, components: list[dict[str, Any]]) -> Consortium:
    """A client whose compiled contracts, and whose chain, have these fields in a fold."""
    abi = fold_abi(components)
    monkeypatch.setattr(calls, "load_interface", lambda name: Interface(name, abi))
    types = ",".join(component["type"] for component in components)
    values = tuple(VALUES.get(component["name"], 99) for component in components)
    answer = OneAnswer(encode([f"({types})"], [values]))
    chain = Chain("http://localhost", transport=answer)
    contracts = dict.fromkeys((name.lower() for name in NAMES), ADDRESS)
    deployment = Deployment.model_validate({"chain_id": 1, "block": 0, **contracts})
    return Consortium(chain, deployment)


def test_a_struct_is_decoded_into_its_dataclass(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reader(monkeypatch, fold_components()).fold(1) == EXPECTED


@pytest.mark.parametrize("position", range(len(VALUES) + 1))
def test_an_inserted_field_does_not_shift_the_others(
    monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    components = fold_components()
    components.insert(position, {"name": "inserted", "type": "uint64", "internalType": "uint64"})
    assert reader(monkeypatch, components).fold(1) == EXPECTED


def test_reordered_fields_are_decoded_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reader(monkeypatch, fold_components()[::-1]).fold(1) == EXPECTED


def test_a_missing_field_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    components = [c for c in fold_components() if c["name"] != "carried"]
    with pytest.raises(ContractsMissing, match=r"Models.foldOf has no field 'carried'"):
        reader(monkeypatch, components).fold(1)


def test_an_unknown_member_of_an_enumeration_is_an_error() -> None:
    fields = {
        "state": 1,
        "attested": False,
        "openedAt": 2,
        "deadline": 3,
        "parent": 4,
        "model": 5,
    }
    names = {"parent_model": "parent", "model_id": "model"}
    found = build(Round, Struct("Rounds.roundOf", fields), names, id=9)
    assert found == Round(9, RoundState.OPEN, False, 2, 3, 4, 5)
    with pytest.raises(ContractsMissing, match="RoundState has no member with the number 9"):
        build(Round, Struct("Rounds.roundOf", {**fields, "state": 9}), names, id=9)


def test_lists_become_tuples_of_what_they_hold() -> None:
    fields = {
        "parametersId": b"\x01" * 32,
        "baseModelId": b"\x02" * 32,
        "rules": [0, 2, 1],
        "chained": True,
        "attested": False,
        "maxRounds": 7,
        "commitSeconds": 1,
        "revealSeconds": 2,
        "judgeSeconds": 3,
    }
    settings = build(Settings, Struct("Rounds.settings", fields))
    assert settings.rules == (Rule.BLOCK, Rule.LATEST, Rule.SHARE)
    assert settings.parameters_id == "01" * 32
