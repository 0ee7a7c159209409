"""Requests that several RPC endpoints must answer alike, so that none alone can lie.

Reads of a numbered block must be the same at each; of the newest block the lowest one is taken,
which each has, and its number is asked for. Transactions, estimates of gas and fees are not
compared: the chain itself refuses a wrong transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rescind.contracts.block_parameters import (
    at_number,
    is_about_the_newest_block,
    is_fixed,
)
from rescind.contracts.endpoint import Endpoint
from rescind.contracts.endpoint_faults import DISAGREEMENT
from rescind.contracts.errors import EndpointsDisagree, NodeRefused
from rescind.contracts.providers import UNKNOWN_IS_NULL, Rpc, Waiting
from rescind.contracts.rpc import Answer

_TRANSACTION = ("hash", "from", "to", "input", "value", "nonce")
_FIELDS = {
    "eth_getBlockByNumber": (
        "number",
        "hash",
        "parentHash",
        "timestamp",
        "baseFeePerGas",
        "transactions",
    ),
    "eth_getLogs": (
        "address",
        "topics",
        "data",
        "blockNumber",
        "blockHash",
        "transactionHash",
        "logIndex",
    ),
    "eth_getTransactionByHash": _TRANSACTION,
    "eth_getTransactionReceipt": (
        "transactionHash",
        "status",
        "blockHash",
        "blockNumber",
        "gasUsed",
        "contractAddress",
    ),
}
"""The fields that are compared: nodes add others, each its own."""
_FIRST_PAUSE = 0.5

_Outcome = tuple[Endpoint, Answer | NodeRefused]


class AgreedRpc(Rpc):
    """Requests that several endpoints must answer alike.

    Args:
        endpoints: The endpoints, the preferred one first.
        agree: How many of them must agree.
        expected_id: The chain that they must be on.
        waiting: Time.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        agree: int,
        expected_id: int | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        super().__init__(endpoints, expected_id=expected_id, waiting=waiting)
        self._agree = agree

    def request(self, method: str, *parameters: Any) -> Answer:
        """Return the result of a request, on which the endpoints agree.

        Raises:
            EndpointsDisagree: Two endpoints answer differently.
            NodeRefused: The endpoints answer with an error.
            WrongChain: They are on another chain.
            ChainUnavailable: Too few endpoints answer.
        """
        if method == "eth_blockNumber":
            return min(self._answers(method, parameters), key=Answer.number)
        if method == "eth_getBlockByNumber" and not _is_numbered(parameters):
            return self._named_block(parameters)
        if is_about_the_newest_block(method, parameters):
            lowest = self.request("eth_blockNumber").number()
            return self._same(method, at_number(method, parameters, lowest))
        if method in _FIELDS or is_fixed(method, parameters):
            return self._same(method, parameters)
        return super().request(method, *parameters)

    def _answers(self, method: str, parameters: Sequence[Any]) -> list[Answer]:
        """Return the answers of all that must agree.

        Raises:
            NodeRefused: One of them answers with an error.
        """
        answers: list[Answer] = []
        for _, outcome in self.outcomes(method, parameters, self._agree):
            if isinstance(outcome, NodeRefused):
                raise outcome
            answers.append(outcome)
        return answers

    def _named_block(self, parameters: Sequence[Any]) -> Answer:
        blocks = self._answers("eth_getBlockByNumber", parameters)
        unknown = next((each for each in blocks if each.is_null()), None)
        if unknown is not None:
            return unknown
        if parameters[0] == "pending":  # not a block yet, so each node has its own
            return min(blocks, key=lambda each: each["timestamp"].number())
        lowest = min(each["number"].number() for each in blocks)
        return self._same("eth_getBlockByNumber", (hex(lowest), *parameters[1:]))

    def _same(self, method: str, parameters: Sequence[Any]) -> Answer:
        begun, pause = self.waiting.clock(), _FIRST_PAUSE
        while True:
            outcomes = self.outcomes(method, parameters, self._agree)
            other = next(
                (each for each in outcomes[1:] if _differ(method, outcomes[0], each)), None
            )
            if other is None:
                return _first(method, outcomes)
            # During a reorganization they differ for a moment.
            if self.waiting.clock() + pause - begun > DISAGREEMENT.patience_seconds:
                raise EndpointsDisagree(
                    f"{outcomes[0][0].shown} and {other[0].shown} give different answers to "
                    f"{method}, so neither is used. {DISAGREEMENT.advice}"
                )
            self.waiting.pause(pause)
            pause *= 2


def _first(method: str, outcomes: Sequence[_Outcome]) -> Answer:
    """Return what the endpoints agree on: what one does not know yet is not known."""
    answers: list[Answer] = []
    for _, outcome in outcomes:
        if isinstance(outcome, NodeRefused):
            raise outcome
        answers.append(outcome)
    unknown = (each for each in answers if method in UNKNOWN_IS_NULL and each.is_null())
    return next(unknown, answers[0])


def _differ(method: str, first: _Outcome, second: _Outcome) -> bool:
    """Return whether two outcomes contradict each other."""
    one, two = first[1], second[1]
    if isinstance(one, NodeRefused) or isinstance(two, NodeRefused):
        # Limits differ between endpoints, and so do their words.
        refusals = [each for each in (one, two) if isinstance(each, NodeRefused)]
        if not all(each.reverted for each in refusals):
            return False
        return len(refusals) == 1 or refusals[0].data != refusals[1].data
    if method in UNKNOWN_IS_NULL and (one.is_null() or two.is_null()):
        return False
    fields = _FIELDS.get(method, ())
    return bool(_compared(fields, one.value) != _compared(fields, two.value))


def _compared(fields: Sequence[str], value: Any) -> Any:
    """Return what is compared of a value: hexadecimal digits may have any case."""
    if isinstance(value, str):
        return value.lower()
    if isinstance(value, list):
        return [
            _compared(_TRANSACTION if "transactions" in fields else fields, each) for each in value
        ]
    if isinstance(value, Mapping):
        return {name: _compared(fields, value.get(name)) for name in fields}
    return value


def _is_numbered(parameters: Sequence[Any]) -> bool:
    return bool(parameters) and str(parameters[0]).startswith("0x")
