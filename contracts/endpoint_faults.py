"""Failures of endpoints, and refusals of requests that are not transactions.

Providers invent codes and words of their own; these were seen.

"""

from __future__ import annotations

import urllib3.exceptions as http

from rescind.contracts.fault import Fault, Reaction, Scope

_LOGS = frozenset({"eth_getLogs"})
_ANOTHER_URL = "Add another endpoint to rpc_url, or use another plan of the provider."
_AGAIN = "asks again after growing pauses, the next endpoint first"

REVERTED = Fault(
    "reverted",
    'code 3; "revert" in the message, or bytes of an error in the data',
    Reaction.OPERATOR,
    "names the contract's own error, and advises",
    "Do what the message says.",
    scope=Scope.REQUEST,
    codes=frozenset({3}),
    words=r"revert|VM execution error",
)
LOG_RANGE = Fault(
    "too many blocks or logs",
    'eth_getLogs: "query returned more than 10000 results", "block range is too wide", '
    '"response size exceeded", code -32005 or -32614, HTTP 413, ...',
    Reaction.RETRY,
    "asks for half of the blocks, down to a single one",
    "Use an endpoint that returns all logs of one block.",
    scope=Scope.REQUEST,
    statuses=frozenset({413}),
    codes=frozenset({-32005, -32614, -38004}),
    words=r"query (returned|exceeds|timeout|timed out|must be smaller)|more than \d+ (results|logs)"
    r"|block.{0,24} range|range.{0,24} (too|large|wide|limit|block|allowed|exceed)"
    r"|(max|maximum|exceeds?|limited to|at most).{0,32} (range|blocks|results|logs)"
    r"|limited to [\d,.]+ block"
    r"|too many (blocks|logs|results)|blocks distance|requested blocks"
    r"|(response|result)s?( size|s? set)?.{0,24} (too (large|big)|exceed|should not)"
    r"|logs matched|reduce .{0,24}range|Too large request",
    methods=_LOGS,
)
RATE_LIMIT = Fault(
    "rate limit",
    "HTTP 429; code -32005, -32016, -32029, -32097, -32012 or 429; "
    '"rate limit", "too many requests", "compute units", "credits", "quota", "capacity"',
    Reaction.RETRY,
    f"waits as long as Retry-After says, otherwise {_AGAIN}",
    f"The provider limits requests. {_ANOTHER_URL}",
    patience_seconds=30.0,
    statuses=frozenset({429}),
    codes=frozenset({429, -32005, -32012, -32016, -32029, -32097}),
    words=r"rate.?limit|too many requests|compute units|requests? per (second|minute|day)"
    r"|request count exceeded|credits? (limited|exceeded)|quota|over capacity|capacity (limit )?exceeded"
    r"|throttl|request limit|calls per",
)
KEY_REFUSED = Fault(
    "key refused",
    'HTTP 401, 402 or 403; "unauthorized", "invalid API key", "invalid project id", "must be authenticated"',
    Reaction.OPERATOR,
    "asks the other endpoints, and this one again within minutes",
    "The provider refuses the key or the account. Correct the key in rpc_url.",
    statuses=frozenset({401, 402, 403, 407}),
    codes=frozenset({-40100}),
    words=r"un-?authorized|not authorized|unauthenticated|must be authenticated|forbidden|access denied"
    r"|(invalid|missing|unknown|disabled) (api.?key|project.?id|token|credentials)"
    r"|(api.?key|project.?id).{0,24} (invalid|missing|disabled|not (valid|allowed|found))",
)
NO_ARCHIVE = Fault(
    "no archive",
    '"missing trie node", "state is not available", "historical state", "pruned", "archive"; code 4444',
    Reaction.FAIL_OVER,
    "asks the next endpoint",
    "The node does not keep the state of that block. Lower chain.confirmations below 128, or use an "
    "archive endpoint for older blocks.",
    codes=frozenset({4444}),
    words=r"missing trie node|state .{0,40}(not|un)available|(historical|world) state"
    r"|pruned|archive|state already discarded|required historical|distance to target block",
)
BEHIND = Fault(
    "back end behind",
    '"header not found", "unknown block", "block not found", "beyond current head"; code -39001',
    Reaction.FAIL_OVER,
    _AGAIN,
    "The endpoint does not know the newest blocks. If it stays behind, use another one.",
    patience_seconds=15.0,
    codes=frozenset({-39001}),
    words=r"header( range)? not found|BlockOutOfRange|unknown block|block .{0,40}not found|could not find block"
    r"|beyond (the )?(current )?head|block .{0,24}(out of range|not available|is not available|in the future)"
    r"|invalid block tag|greater than (the )?latest|cannot find block|after last accepted block|invalid block height",
)
SYNCING = Fault(
    "syncing",
    '"initial sync", "not in sync", "transaction indexing is in progress", "no backend is currently healthy"; '
    "code -32008",
    Reaction.FAIL_OVER,
    _AGAIN,
    "The node is not in sync yet. Wait for it, or use another endpoint.",
    patience_seconds=15.0,
    codes=frozenset({-32008}),
    words=r"initial sync|not (yet )?in sync|syncing|indexing is in progress|is not yet finished"
    r"|no backend|pool not enabled|genesis is not|not yet ready",
)
METHOD_MISSING = Fault(
    "method missing",
    'code -32601, -32604 or -32004; "method not found", "not supported", "is not available"',
    Reaction.FAIL_OVER,
    "asks the next endpoint, and does without where it can (eth_feeHistory, eth_maxPriorityFeePerGas)",
    "Use an endpoint that offers the method.",
    scope=Scope.REQUEST,
    codes=frozenset({-32601, -32604, -32004}),
    words=r"method .{0,60}(not found|not supported|not enabled|not available|does not exist|is not whitelisted|disabled|unsupported)"
    r"|(unsupported|unknown|unavailable|disallowed) (method|rpc)|not (supported|implemented|whitelisted)",
)
TAG_MISSING = Fault(
    "block name missing",
    'code -32602 or -32001, or "invalid block", for pending, safe or finalized',
    Reaction.FAIL_OVER,
    "asks the next endpoint, and does without where it can (pending, safe, finalized)",
    "Use an endpoint that knows the block by that name.",
    scope=Scope.REQUEST,
    codes=frozenset({-32602, -32001}),
    words=r"pending|safe|finalized|block|tag|hex string|variant",
)
NOT_FOUND = Fault(
    "wrong address",
    "HTTP 400, 404, 405, 406, 410, 415 and others without a JSON-RPC error",
    Reaction.OPERATOR,
    "asks the other endpoints, and this one again within minutes",
    "No JSON-RPC service is at that path. Correct rpc_url.",
    statuses=frozenset({400, 404, 405, 406, 410, 411, 414, 415, 421, 451}),
)
REDIRECT = Fault(
    "redirect",
    "HTTP 301, 302, 303, 307, 308",
    Reaction.OPERATOR,
    "does not follow it, since the key in rpc_url could reach another host",
    "Write the address that the endpoint redirects to into rpc_url, if you trust it.",
    statuses=frozenset({300, 301, 302, 303, 304, 305, 307, 308}),
)
GATEWAY = Fault(
    "gateway trouble",
    "HTTP 408, 425, 500, 502, 503, 504, 520 to 530; code -32603",
    Reaction.RETRY,
    f"{_AGAIN}, or as long as Retry-After says",
    f"The provider has trouble. {_ANOTHER_URL}",
    patience_seconds=10.0,
    statuses=frozenset({408, 425, 500, 502, 503, 504, 507, 509, *range(520, 531), 598, 599}),
    codes=frozenset({-32603}),
    words=r"bad gateway|gateway time.?out|service unavailable|temporarily unavailable|overloaded"
    r"|upstream|execution aborted|request timed? ?out",
)
NOT_JSON = Fault(
    "page instead of JSON",
    "HTML or other text with HTTP 200",
    Reaction.RETRY,
    _AGAIN,
    "It is not an Ethereum node, or a page of a provider in trouble or of a network's sign-in. Correct rpc_url, or "
    "use another endpoint.",
    patience_seconds=5.0,
)
EMPTY = Fault(
    "empty body",
    "nothing with HTTP 200",
    Reaction.RETRY,
    _AGAIN,
    f"The provider has trouble, or it is not an Ethereum node. {_ANOTHER_URL}",
    patience_seconds=5.0,
)
CUT = Fault(
    "cut JSON",
    "JSON without its end, or fewer bytes than announced",
    Reaction.RETRY,
    _AGAIN,
    f"The provider, or a proxy on the way, cuts answers off. {_ANOTHER_URL}",
    patience_seconds=5.0,
    errors=(http.IncompleteRead, http.InvalidChunkLength, http.DecodeError),
)
TOO_LARGE = Fault(
    "answer too large",
    "more than 64 MiB",
    Reaction.FAIL_OVER,
    "stops reading; of eth_getLogs it asks for half of the blocks",
    "No honest answer is as large. Use another endpoint.",
)
WRONG_ANSWER = Fault(
    "not JSON-RPC",
    "JSON that is not an answer, or an answer with the id of another request",
    Reaction.FAIL_OVER,
    "asks the next endpoint",
    "It is not an Ethereum node, or does not work. Correct rpc_url, or use another endpoint.",
)
TIMEOUT = Fault(
    "too slow",
    "no connection within 10 s, or no whole answer within 60 s (20 s with several endpoints)",
    Reaction.FAIL_OVER,
    _AGAIN,
    f"The endpoint is slow, or a firewall drops its answers. {_ANOTHER_URL}",
    patience_seconds=15.0,
    errors=(http.ConnectTimeoutError, http.ReadTimeoutError, http.TimeoutError),
)
UNREACHABLE = Fault(
    "connection refused",
    "connection refused, name not resolved, no route, proxy trouble",
    Reaction.FAIL_OVER,
    _AGAIN,
    "Check rpc_url, and that the node is running.",
    patience_seconds=0.5,
    errors=(http.NewConnectionError, http.ProxyError, http.LocationValueError),
)
TLS = Fault(
    "TLS trouble",
    "a certificate that is expired, of another host, or of an unknown authority",
    Reaction.OPERATOR,
    "asks the other endpoints, and this one again within minutes",
    "Check the host in rpc_url and this machine's clock. For an authority of your own set REQUESTS_CA_BUNDLE.",
    errors=(http.SSLError,),
)
RESET = Fault(
    "connection reset",
    "the connection ends before the answer",
    Reaction.RETRY,
    _AGAIN,
    f"The endpoint closes connections. {_ANOTHER_URL}",
    patience_seconds=5.0,
    errors=(http.ProtocolError, http.HTTPError, OSError),
)
STALE = Fault(
    "stale head",
    "its newest block is more than 3 blocks behind the best endpoint's, or lacks a block that is asked for",
    Reaction.FAIL_OVER,
    "passes it over while a fresher endpoint answers",
    "The endpoint is behind the others. If it stays so, use another one.",
    patience_seconds=15.0,
)
OTHER_CHAIN = Fault(
    "another chain",
    "eth_chainId is not chain_id, or not that of the other endpoints",
    Reaction.OPERATOR,
    "asks it nothing else",
    "Correct rpc_url or chain_id.",
)
DISAGREEMENT = Fault(
    "endpoints disagree",
    "with agree: different answers about the same block",
    Reaction.OPERATOR,
    "asks both again, then reports both hosts and uses neither answer",
    "One of them lies, or is on another fork. Find out which, and remove it from rpc_url.",
    patience_seconds=10.0,
)
UNKNOWN = Fault(
    "other refusals",
    "any other JSON-RPC error",
    Reaction.FAIL_OVER,
    "asks the next endpoint, then reports the words",
    "See docs/chains.md for what an endpoint must be able to do.",
    scope=Scope.REQUEST,
)
