"""The door to a chain: requests to one RPC endpoint, or to several that stand in for one another.

1. Each endpoint is asked for its chain id before anything else, and one on another chain is asked
   nothing else.
2. A request goes to the first endpoint that is neither resting nor behind. If it does not answer,
   it rests, longer each time, and the next one is asked.
3. When no endpoint answers, all are asked again after growing pauses, for as long as the failures
   are worth it (`Fault.patience_seconds`). Then one error says what each endpoint did.
4. With `agree`, several endpoints must say the same (`agreement`).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from rescind.contracts import endpoint_faults as faults
from rescind.contracts.block_parameters import block_number, needed_block
from rescind.contracts.endpoint import Endpoint, Unanswered
from rescind.contracts.errors import ChainUnavailable, NodeRefused, WrongChain
from rescind.contracts.fault import Reaction
from rescind.contracts.rpc import Answer
from rescind.contracts.transaction_faults import ALREADY_KNOWN
from rescind.contracts.transport import Transport

UNKNOWN_IS_NULL = frozenset(
    {"eth_getBlockByNumber", "eth_getTransactionByHash", "eth_getTransactionReceipt"}
)
"""Methods that answer null for what the node does not know, and another node may know."""
_OF_BLOCKS = frozenset({"eth_blockNumber", "eth_getBlockByNumber"})
_STALE_BLOCKS = 3
"""Most blocks that an endpoint may be behind another. Blocks take seconds to reach all nodes."""
_COMPARED_SECONDS = 15.0
"""Seconds between two comparisons of the endpoints' newest blocks."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 8.0


@dataclass(frozen=True)
class Waiting:
    """Time, for tests to replace.

    Attributes:
        clock: Returns seconds that only grow.
        pause: Waits for some seconds.
        jitter: Returns a number between 0 and 1.
    """

    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random


@dataclass
class _Attempt:
    """One request: who was asked, and what came of it."""

    begun: float
    failures: dict[Endpoint, Unanswered] = field(default_factory=dict)
    pauses: int = 0

    def patience(self) -> float:
        return max(failure.fault.patience_seconds for failure in self.failures.values())


class Rpc:
    """Requests to endpoints of one chain.

    Args:
        endpoints: The endpoints, the preferred one first.
        expected_id: The chain that they must be on; None takes any, as long as all are on one.
        waiting: Time.

    Attributes:
        waiting: Time, for tests to replace.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        expected_id: int | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        self.endpoints = tuple(endpoints)
        self.waiting = waiting or Waiting()
        self._expected_id = expected_id
        self._several = len(self.endpoints) > 1
        self._compare_at = 0.0
        self._comparing = threading.Lock()

    @property
    def transport(self) -> Transport:
        """The transport of the preferred endpoint."""
        return self.endpoints[0].transport

    def request(self, method: str, *parameters: Any) -> Answer:
        """Return the result of a request.

        Raises:
            NodeRefused: The endpoints answer with an error.
            WrongChain: They are on another chain.
            ChainUnavailable: No endpoint answers, or none as JSON-RPC.
        """
        if self._several and method == "eth_sendRawTransaction":
            return self._submitted(method, parameters)
        outcome = self.outcomes(method, parameters, 1)[0][1]
        if isinstance(outcome, NodeRefused):
            raise outcome
        return outcome

    def chain_id(self) -> int:
        """Return the id of the chain that the endpoints are on.

        Raises:
            WrongChain: One of them is on another chain, whether or not the others answer.
            ChainUnavailable: No endpoint answers.
        """
        for endpoint in self.endpoints if self._several else ():
            try:
                self._check_chain(endpoint)
            except Unanswered as failure:
                self._failed(endpoint, failure)
                if failure.fault is faults.OTHER_CHAIN:
                    raise self._unavailable({endpoint: failure}, "eth_chainId") from None
        return self.request("eth_chainId").number()

    def outcomes(
        self, method: str, parameters: Sequence[Any], count: int
    ) -> list[tuple[Endpoint, Answer | NodeRefused]]:
        """Return the answers or refusals of the first `count` endpoints that say anything.

        Raises:
            ChainUnavailable: Fewer endpoints say anything.
            WrongChain: They are on another chain.
        """
        if self._several:
            self._compare_heads()
        attempt = _Attempt(self.waiting.clock())
        able: dict[Endpoint, Answer | NodeRefused] = {}
        while True:
            unable: dict[Endpoint, Answer | NodeRefused] = {}
            for endpoint in self._ordered():
                if endpoint in able:
                    continue
                outcome = self._try(endpoint, method, parameters, attempt)
                if outcome is not None:
                    # Where this one is not able to answer, another one may be.
                    (unable if _may_fail_over(method, outcome) else able)[endpoint] = outcome
                if len(able) == count:
                    return list(able.items())
            if len(able) + len(unable) >= count:
                return [*able.items(), *unable.items()][:count]
            self._pause(attempt, method, count)

    def _ordered(self) -> Iterator[Endpoint]:
        """Yield the endpoints that may be asked now, the best one first."""
        now = self.waiting.clock()
        ready = [each for each in self.endpoints if each.waits_until <= now]
        # Sorting is stable: the order of the configuration decides among equals.
        yield from sorted(ready, key=lambda each: (each.rests_until > now, each.stale))

    def _try(
        self, endpoint: Endpoint, method: str, parameters: Sequence[Any], attempt: _Attempt
    ) -> Answer | NodeRefused | None:
        try:
            outcome = self._ask(endpoint, method, parameters)
        except NodeRefused as refused:
            outcome = refused
        except Unanswered as failure:
            attempt.failures[endpoint] = failure
            self._failed(endpoint, failure)
            return None
        endpoint.succeeded()
        return outcome

    def _ask(
        self, endpoint: Endpoint, method: str, parameters: Sequence[Any]
    ) -> Answer | NodeRefused:
        if endpoint.chain_id is None and (self._several or self._expected_id is not None):
            self._check_chain(endpoint)
        if self._several:
            self._check_head(endpoint, needed_block(method, parameters))
        answer = endpoint.ask(method, parameters)
        if self._several and method in _OF_BLOCKS:
            _note_head(endpoint, parameters, answer)
        return answer

    def _check_chain(self, endpoint: Endpoint) -> None:
        """Ask an endpoint for its chain.

        Raises:
            Unanswered: It is on another chain, or does not answer.
        """
        try:
            answered = endpoint.ask("eth_chainId", ())
            chain_id = answered.number()
        except ChainUnavailable as error:
            raise Unanswered(faults.WRONG_ANSWER, f"does not say its chain ({error})") from None
        others = (each.chain_id for each in self.endpoints if each is not endpoint)
        expected = self._expected_id
        if expected is None:
            expected = next((each for each in others if each is not None), chain_id)
        if chain_id != expected:
            raise Unanswered(faults.OTHER_CHAIN, f"is chain {chain_id}, not chain {expected}")
        endpoint.chain_id = chain_id

    def _check_head(self, endpoint: Endpoint, needed: int) -> None:
        """Check that an endpoint has a block. Without it, logs would be missing silently.

        Raises:
            Unanswered: It does not have the block, or does not answer.
        """
        if endpoint.head < needed:
            endpoint.head = self._head_of(endpoint)
        if endpoint.head < needed:
            raise Unanswered(
                faults.STALE, f"knows the blocks up to {endpoint.head} alone, not {needed}"
            )

    def _head_of(self, endpoint: Endpoint) -> int:
        try:
            return endpoint.ask("eth_blockNumber", ()).number()
        except ChainUnavailable as error:
            raise Unanswered(
                faults.WRONG_ANSWER, f"does not say its newest block ({error})"
            ) from None

    def _compare_heads(self) -> None:
        """Find the endpoints that are behind the others, at most every few seconds."""
        now = self.waiting.clock()
        if now < self._compare_at or not self._comparing.acquire(blocking=False):
            return
        try:
            self._compare_at = now + _COMPARED_SECONDS
            heads: dict[Endpoint, int] = {}
            for endpoint in self.endpoints:
                if endpoint.rests_until > now:
                    continue
                try:
                    if endpoint.chain_id is None:
                        self._check_chain(endpoint)
                    heads[endpoint] = endpoint.head = self._head_of(endpoint)
                except Unanswered as failure:
                    self._failed(endpoint, failure)
            best = max(heads.values(), default=0)
            for endpoint, head in heads.items():
                endpoint.stale = head < best - _STALE_BLOCKS
        finally:
            self._comparing.release()

    def _failed(self, endpoint: Endpoint, failure: Unanswered) -> None:
        rest = endpoint.failed(failure, self.waiting.clock(), self.waiting.jitter())
        # Only daemons configure a log. A command shows its errors, and its output is for programs.
        if self._several and structlog.is_configured():
            structlog.get_logger().warning(
                "endpoint passed over",
                endpoint=endpoint.shown,
                reason=failure.words,
                fault=failure.fault.name,
                seconds=round(rest, 1),
            )

    def _pause(self, attempt: _Attempt, method: str, count: int) -> None:
        """Wait before all endpoints are asked again.

        Raises:
            ChainUnavailable: It is not worth it.
        """
        now = self.waiting.clock()
        for endpoint in self.endpoints:
            if endpoint not in attempt.failures and endpoint.trouble is not None:
                attempt.failures[endpoint] = endpoint.trouble
        growing = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt.pauses)
        pause = growing * (0.5 + self.waiting.jitter() / 2)
        pause = max(pause, min(each.waits_until for each in self.endpoints) - now)
        if now + pause - attempt.begun > attempt.patience():
            raise self._unavailable(attempt.failures, method, count) from None
        attempt.pauses += 1
        self.waiting.pause(pause)

    def _unavailable(
        self, failures: dict[Endpoint, Unanswered], method: str, count: int = 1
    ) -> ChainUnavailable | WrongChain:
        """Return one error that says what each endpoint did, and what to do."""
        kinds = {failure.fault for failure in failures.values()}
        advice = " ".join(dict.fromkeys(each.fault.advice for each in failures.values()))
        text = "; ".join(f"{each.shown} {why.words}" for each, why in failures.items())
        if count > 1:
            text = f"{count} endpoints must agree, but fewer answer {method}: {text}"
        elif len(failures) > 1:
            text = f"none of the {len(self.endpoints)} endpoints answers {method}: {text}"
        elif kinds == {faults.UNREACHABLE}:
            text = f"no Ethereum node answers at {text.replace('cannot be reached ', '')}"
        kind = WrongChain if kinds == {faults.OTHER_CHAIN} else ChainUnavailable
        return kind(f"{text}. {advice}")

    def _submitted(self, method: str, parameters: Sequence[Any]) -> Answer:
        """Send a transaction to every endpoint, so that none alone can keep it back.

        The bytes are the same, so no endpoint makes a second transaction of them.
        """
        self._compare_heads()
        attempt = _Attempt(self.waiting.clock())
        refusals: list[NodeRefused] = []
        accepted: list[Answer] = []
        for endpoint in self._ordered():
            if accepted and endpoint.rests_until > self.waiting.clock():
                continue
            outcome = self._try(endpoint, method, parameters, attempt)
            if isinstance(outcome, NodeRefused):
                refusals.append(outcome)
            elif outcome is not None:
                accepted.append(outcome)
        if accepted:
            return accepted[0]
        if refusals:
            raise next((each for each in refusals if each.fault is ALREADY_KNOWN), refusals[0])
        self._pause(attempt, method, 1)
        outcome = self.outcomes(method, parameters, 1)[0][1]
        if isinstance(outcome, NodeRefused):
            raise outcome
        return outcome


def _note_head(endpoint: Endpoint, parameters: Sequence[Any], answer: Answer) -> None:
    """Note the newest block that an endpoint names.

    Raises:
        Unanswered: It lacks a block that it named before: it has several back ends.
    """
    asked = block_number(parameters[0]) if parameters else -1
    if answer.is_null() and 0 <= asked <= endpoint.head:
        raise Unanswered(faults.STALE, f"named block {endpoint.head}, but does not have {asked}")
    value = answer.value
    named = block_number(value.get("number") if isinstance(value, Mapping) else value)
    endpoint.head = max(endpoint.head, named)


def _may_fail_over(method: str, outcome: Answer | NodeRefused) -> bool:
    """Return whether another endpoint may be able to answer."""
    if isinstance(outcome, NodeRefused):
        return outcome.fault.reaction is Reaction.FAIL_OVER
    return method in UNKNOWN_IS_NULL and outcome.is_null()
