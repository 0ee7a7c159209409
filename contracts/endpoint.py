"""One RPC endpoint: a request is sent once, and what comes back is classified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from urllib3.exceptions import HTTPError

from rescind.contracts import endpoint_faults as faults
from rescind.contracts.block_parameters import asks_for_logs_by_hash, asks_for_one_block
from rescind.contracts.errors import NodeRefused
from rescind.contracts.fault import Fault, Reaction, Scope
from rescind.contracts.faults import classify
from rescind.contracts.rpc import Answer, shown_answer
from rescind.contracts.transport import (
    OversizedError,
    StatusError,
    Transport,
    WrongIdError,
)
from rescind.core.json_text import parse_json
from rescind.core.redaction import shown_url

_REVERTED = 3
"""The code with which geth and others answer a call that the contract reverts (EIP-1474's draft)."""
_NAMED_BLOCKS = frozenset({"pending", "safe", "finalized"})
_LONGEST_REST = 300.0
_LONGEST_WAIT = 3600.0
"""Most seconds that an endpoint can ask to be left alone."""


class Unanswered(Exception):
    """An endpoint did not answer a request, so another one may.

    Attributes:
        fault: What is the matter.
        words: What it did, as words after its name.
        wait_seconds: How long it asks to wait; None if it does not say.
    """

    def __init__(self, fault: Fault, words: str, wait_seconds: float | None = None) -> None:
        super().__init__(words)
        self.fault, self.words, self.wait_seconds = fault, words, wait_seconds


class Endpoint:
    """An endpoint, and what was seen of it.

    Args:
        url: Its URL.
        transport: Sends requests to it.

    Attributes:
        shown: Scheme and host of the URL, for messages: the rest of it may hold a key.
        chain_id: The chain that it is on; None before it was asked.
        head: Its newest block that was seen.
        stale: Whether it was behind the others when they were compared.
        trouble: Why it did not answer last time; None if it did.
        rests_until: When it is asked again before others.
        waits_until: When it is asked again at all, because it asked to be left alone.
    """

    def __init__(self, url: str, transport: Transport) -> None:
        self.url, self.transport, self.shown = url, transport, shown_url(url)
        self.chain_id: int | None = None
        self.head = -1
        self.stale = False
        self.trouble: Unanswered | None = None
        self.rests_until = self.waits_until = 0.0
        self._failures = 0

    def ask(self, method: str, parameters: Sequence[Any]) -> Answer:
        """Return the result of a request, which is sent once.

        Raises:
            NodeRefused: The node refuses the request.
            Unanswered: The endpoint gives no answer, or none that can be used.
        """
        document, status, wait_seconds = self._sent(method, parameters)
        if not isinstance(document, Mapping):
            raise self._wrong(method, document)
        error = document.get("error")
        if error is not None:
            raise self._refusal(method, parameters, error, status, wait_seconds)
        if "result" not in document or status is not None:
            raise self._wrong(method, document)
        return Answer(self.url, method, document["result"])

    def succeeded(self) -> None:
        """Note that it answered."""
        if self.trouble is not None:
            self.trouble, self._failures = None, 0
            self.rests_until = self.waits_until = 0.0

    def failed(self, failure: Unanswered, now: float, jitter: float) -> float:
        """Note that it did not answer, and return for how many seconds it rests.

        Args:
            failure: Why.
            now: The time.
            jitter: Between 0 and 1, so that many clients do not come back at the same moment.
        """
        self.trouble = failure
        self._failures = min(self._failures + 1, 16)
        first = 30.0 if failure.fault.reaction is Reaction.OPERATOR else 1.0
        rest = min(_LONGEST_REST, first * 2 ** (self._failures - 1)) * (0.5 + jitter / 2)
        self.rests_until = now + rest
        if failure.wait_seconds is not None:
            self.waits_until = now + min(failure.wait_seconds, _LONGEST_WAIT)
            self.rests_until = max(self.rests_until, self.waits_until)
        if failure.fault is faults.UNREACHABLE:
            self.chain_id = None  # another node may come back at this address
        return self.rests_until - now

    def _sent(self, method: str, parameters: Sequence[Any]) -> tuple[Any, int | None, float | None]:
        """Return the document, the status unless it is one of success, and how long to wait."""
        try:
            return self.transport.send(method, parameters), None, None
        except StatusError as error:
            return self._of_status(method, error), error.status, error.wait_seconds
        except OversizedError:
            if method == "eth_getLogs":
                raise self._refused(method, "too many bytes", faults.LOG_RANGE) from None
            raise Unanswered(faults.TOO_LARGE, f"answered {method} with too many bytes") from None
        except WrongIdError:
            raise Unanswered(
                faults.WRONG_ANSWER, f"answered {method} with the answer to another request"
            ) from None
        except HTTPError as error:
            raise _no_answer(method, error) from None
        except (ValueError, RecursionError) as error:
            raise self._not_json(method, getattr(error, "body", None)) from None
        except OSError as error:
            raise _no_answer(method, error) from None

    def _of_status(self, method: str, error: StatusError) -> Any:
        """Return the JSON-RPC error that came with a status."""
        try:
            document = parse_json(error.body)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, Mapping) and document.get("error") is not None:
            return document
        fault = classify(method=method, status=error.status)
        words = f"HTTP {error.status}"
        if fault.scope is not Scope.ENDPOINT:
            raise self._refused(method, words, fault)
        raise Unanswered(
            fault, f"answered {method} with {words} ({fault.name})", error.wait_seconds
        )

    def _refusal(
        self,
        method: str,
        parameters: Sequence[Any],
        error: Any,
        status: int | None,
        wait_seconds: float | None,
    ) -> NodeRefused | Unanswered:
        """Return the error of an answer, whatever form a node gives it."""
        if not isinstance(error, Mapping):
            error = {"message": error}
        code, data = error.get("code"), _reverted_with(error.get("data"))
        code = code if isinstance(code, int) and not isinstance(code, bool) else None
        words = shown_answer(self.url, str(error.get("message", "no reason given")), 300)
        if code == _REVERTED or "revert" in words or data:
            fault = faults.REVERTED
        else:
            fault = _fault_of(method, parameters, code, words, status)
        if fault.scope is Scope.ENDPOINT and not (
            # Those who ask for a block's logs by hash must see whether the block was replaced.
            fault is faults.BEHIND and asks_for_logs_by_hash(method, parameters)
        ):
            said = words if code is None else f"{words} (error {code})"
            return Unanswered(fault, f"answered {method} with {fault.name}: {said}", wait_seconds)
        return self._refused(method, words, fault, code=code, data=data)

    def _refused(
        self, method: str, words: str, fault: Fault, *, code: int | None = None, data: bytes = b""
    ) -> NodeRefused:
        return NodeRefused(
            words, data, rpc_code=code, fault=fault, source=f"{self.shown} refused {method}"
        )

    def _not_json(self, method: str, body: bytes | None) -> Unanswered:
        if body is None:
            return Unanswered(faults.NOT_JSON, f"answered {method} with a text that is not JSON")
        text = body.decode("utf-8", "replace").strip()
        if not text:
            return Unanswered(faults.EMPTY, f"answered {method} with an empty body")
        if text[0] in "{[":
            return Unanswered(faults.CUT, f"answered {method} with JSON that is cut off")
        shown = shown_answer(self.url, text)
        return Unanswered(
            faults.NOT_JSON, f"answered {method} with a text that is not JSON ({shown})"
        )

    def _wrong(self, method: str, document: Any) -> Unanswered:
        shown = shown_answer(self.url, repr(document))
        return Unanswered(
            faults.WRONG_ANSWER, f"answered {method} with {shown} instead of a JSON-RPC answer"
        )


def _fault_of(
    method: str, parameters: Sequence[Any], code: int | None, words: str, status: int | None
) -> Fault:
    """Return the row of an error that is not a revert."""
    named = any(isinstance(each, str) and each in _NAMED_BLOCKS for each in parameters)
    known = {"code": code, "message": words, "status": status, "named_block": named}
    fault = classify(method=method, **known)  # type: ignore[arg-type]
    unclear = fault is faults.LOG_RANGE and not fault.has_words(words)
    if unclear and asks_for_one_block(method, parameters):
        # "limit exceeded" of a single block is a limit of requests.
        return classify(**known)  # type: ignore[arg-type]
    return fault


def _no_answer(method: str, error: Exception) -> Unanswered:
    """Return why there is no answer. The texts of these errors may hold URLs, so none is used."""
    fault = classify(error=error)
    if fault is faults.UNREACHABLE:
        return Unanswered(fault, f"cannot be reached ({type(error).__name__})")
    if fault is faults.TIMEOUT:
        return Unanswered(fault, f"did not answer {method} in time ({type(error).__name__})")
    if fault is faults.TLS:
        return Unanswered(fault, f"cannot be trusted ({_reason_of_tls(error)})")
    if fault is faults.CUT:
        return Unanswered(fault, f"cut its answer to {method} off")
    return Unanswered(fault, f"closed the connection before it answered {method}")


def _reason_of_tls(error: BaseException) -> str:
    """Return OpenSSL's words about a certificate, which hold a host name at most."""
    inner = next((each for each in error.args if isinstance(each, Exception)), error)
    words = getattr(inner, "verify_message", "") or getattr(inner, "reason", "")
    return str(words) or type(inner).__name__


def _reverted_with(data: Any) -> bytes:
    if isinstance(data, Mapping):
        data = data.get("data", data.get("result"))
    # Nethermind puts a word before the bytes.
    digits = data.removeprefix("Reverted ") if isinstance(data, str) else ""
    try:
        return bytes.fromhex(digits.removeprefix("0x")) if digits.startswith("0x") else b""
    except ValueError:
        return b""
