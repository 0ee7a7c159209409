"""Results of the contracts, decoded by name, without a chain."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode
from web3 import Web3
from web3.providers import BaseProvider

from rescind.contracts import (
    Answer,
    AnswerState,
    Chain,
    Claim,
    Consortium,
    ContractsMissing,
    Deployment,
    ModelKind,
    calls,
    load_compiled,
)
from rescind.contracts.decoding import Struct, build
from rescind.contracts.deployment import NAMES

ADDRESS = Web3.to_checksum_address("0x" + "0a" * 20)
VALUES = {
    "kind": ModelKind.REPLAY.number,
    "round": 3,
    "source": 5,
    "deadline": 7,
    "step": 2,
    "place": 1,
    "open": True,
    "mustProve": False,
    "claimant": ADDRESS,
    "challenger": "0x" + "00" * 20,
    "aggregateId": b"\x01" * 32,
    "aggregateRoot": b"\x02" * 32,
    "adapterId": b"\x03" * 32,
    "digestRoot": b"\x04" * 32,
    "carried": bytes(32),
}
EXPECTED = Claim(ModelKind.REPLAY, 3, 5, 7, 2, 1, False, ADDRESS, "03" * 32, "04" * 32, carried="")


class OneAnswer(BaseProvider):
    """A chain that answers every call with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self._answer = answer

    def make_request(self, method: Any, params: Any) -> Any:
        return {"jsonrpc": "2.0", "id": 1, "result": "0x" + self._answer.hex()}


def claim_abi(components: list[dict[str, Any]]) -> list[dict[str, Any]]:
    abi = copy.deepcopy(load_compiled("Lineage").abi)
    (function,) = [item for item in abi if item.get("name") == "claim"]
    function["outputs"][0]["components"] = components
    return abi


def claim_components() -> list[dict[str, Any]]:
    (function,) = [f for f in load_compiled("Lineage").abi if f.get("name") == "claim"]
    return list(function["outputs"][0]["components"])


def reader(monkeypatch: pytest.MonkeyPatch, components: list[dict[str, Any]]) -> Consortium:
    """A client whose compiled contracts, and whose chain, have these fields in a claim."""
    abi = claim_abi(components)
    monkeypatch.setattr(calls, "load_compiled", lambda name: replace(load_compiled(name), abi=abi))
    types = ",".join(component["type"] for component in components)
    values = tuple(VALUES.get(component["name"], 99) for component in components)
    chain = Chain("http://localhost")
    chain.web3 = Web3(OneAnswer(encode([f"({types})"], [values])))
    contracts = dict.fromkeys((name.lower() for name in NAMES), ADDRESS)
    deployment = Deployment.model_validate({"chain_id": 1, "block": 0, **contracts})
    return Consortium(chain, deployment)


def test_a_struct_is_decoded_into_its_dataclass(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reader(monkeypatch, claim_components()).claim() == EXPECTED


@pytest.mark.parametrize("position", range(len(VALUES) + 1))
def test_an_inserted_field_does_not_shift_the_others(
    monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    components = claim_components()
    components.insert(position, {"name": "inserted", "type": "uint64", "internalType": "uint64"})
    assert reader(monkeypatch, components).claim() == EXPECTED


def test_reordered_fields_are_decoded_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reader(monkeypatch, claim_components()[::-1]).claim() == EXPECTED


def test_a_missing_field_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    components = [c for c in claim_components() if c["name"] != "adapterId"]
    with pytest.raises(ContractsMissing, match=r"Lineage.claim has no field 'adapterId'"):
        reader(monkeypatch, components).claim()


def test_an_unknown_member_of_an_enumeration_is_an_error() -> None:
    fields = {"answer": 1, "commitment": b"\x01", "artifactId": b"\x02", "digestRoot": b"\x03"}
    answer = build(Answer, Struct("Rounds.entry", fields), {"state": "answer"})
    assert answer == Answer(AnswerState.COMMITTED, "01", "02", "03")
    with pytest.raises(ContractsMissing, match="AnswerState has no member with the number 9"):
        build(Answer, Struct("Rounds.entry", {**fields, "answer": 9}), {"state": "answer"})
