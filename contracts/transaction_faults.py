"""Refusals of transactions, in the words of the nodes' pools.

The words are those of go-ethereum, Nethermind, Besu, Erigon, Reth, Anvil and Hardhat. Most have the
code -32000, so only the words tell them apart.

"""

from __future__ import annotations

from rescind.contracts.fault import Fault, Reaction, Scope

_SENDING = frozenset({"eth_sendRawTransaction", "eth_estimateGas", "eth_call"})

ALREADY_KNOWN = Fault(
    "already known",
    '"already known", "ALREADY_EXISTS", "known transaction", "already imported", "same hash"',
    Reaction.RETRY,
    "takes it as sent, and waits for it",
    "Nothing.",
    scope=Scope.TRANSACTION,
    words=r"already.?(known|exists|imported)|known transaction|AlreadyKnown|(existing|same) .{0,12}hash"
    r"|already in .{0,12}pool|already have",
    methods=_SENDING,
)
NONCE_TOO_LOW = Fault(
    "nonce too low",
    '"nonce too low", "OldNonce"',
    Reaction.RETRY,
    "looks which transaction was mined with that nonce, and signs with the next one only if it was another",
    "If it happens again and again, another program uses the same key: give each its own.",
    scope=Scope.TRANSACTION,
    words=r"nonce (is )?too low|OldNonce|nonce .{0,24}(already|been used)|lower than the current nonce",
    methods=_SENDING,
)
NONCE_GAP = Fault(
    "nonce too high",
    '"nonce too high", "NonceGap", "too far in future", "too distant"',
    Reaction.RETRY,
    "sends the transactions before it again, then this one",
    "Nothing. If it lasts, the provider loses transactions: use another endpoint.",
    scope=Scope.TRANSACTION,
    words=r"nonce (is )?too high|NonceGap|nonce.?too.?far|too distant|gapped.nonce|lower nonce",
    methods=_SENDING,
)
REPLACEMENT_UNDERPRICED = Fault(
    "replacement underpriced",
    '"replacement transaction underpriced", "could not replace existing tx", "ReplacementNotAllowed"',
    Reaction.RETRY,
    "raises the fee by an eighth or more, up to chain.max_fee_gwei",
    "Nothing, until the ceiling is reached: then raise chain.max_fee_gwei, or wait.",
    scope=Scope.TRANSACTION,
    words=r"replacement|could not replace|tries to replace|replace existing",
    methods=_SENDING,
)
FEE_BELOW_BASE = Fault(
    "fee below base fee",
    '"max fee per gas less than block base fee", "Gas price below current base fee", '
    '"too low for the next block"',
    Reaction.RETRY,
    "raises the fee, up to chain.max_fee_gwei",
    "Nothing, until the ceiling is reached: then raise chain.max_fee_gwei, or wait.",
    scope=Scope.TRANSACTION,
    words=r"(less|lower) than (the )?(block )?base ?fee|below .{0,16}base ?fee|too low for the next block"
    r"|baseFeePerGas|transaction is outdated",
    methods=_SENDING,
)
FEE_TOO_LOW = Fault(
    "fee too low",
    '"transaction underpriced", "FeeTooLow", "gas price below minimum", "gas tip cap"',
    Reaction.RETRY,
    "raises tip and fee, up to chain.max_fee_gwei",
    "Nothing, until the ceiling is reached: then raise chain.max_fee_gwei, or wait.",
    scope=Scope.TRANSACTION,
    words=r"underpriced|fee.?too.?low|(price|tip|fee).{0,32}(below|minimum|too low)"
    r"|minimum.{0,24}(price|tip|fee)|discarded.{0,24}(fee|price)|tip needed",
    methods=_SENDING,
)
FEE_OVER_CAP = Fault(
    "fee over the node's cap",
    '"exceeds the configured cap", "Transaction fee cap exceeded"',
    Reaction.OPERATOR,
    "reports it",
    "The node's own ceiling for fees is lower. Raise it (geth: --rpc.txfeecap), or use another endpoint.",
    scope=Scope.TRANSACTION,
    words=r"configured cap|fee cap exceeded|exceeds .{0,24}fee cap",
    methods=_SENDING,
)
INSUFFICIENT_FUNDS = Fault(
    "insufficient funds",
    '"insufficient funds", "Upfront cost exceeds account balance", "doesn\'t have enough funds"',
    Reaction.OPERATOR,
    "reports it, and tries again at the next look",
    "Send ether to the account, for gas and for what it pays.",
    scope=Scope.TRANSACTION,
    words=r"insufficient.?(funds|balance)|exceeds account balance|enough (funds|balance)|out of fund",
    methods=_SENDING,
)
POOL_FULL = Fault(
    "pool full",
    '"txpool is full", "sub-pool is full", "account limit exceeded", "in-flight transaction limit"',
    Reaction.RETRY,
    "sends the same bytes again later, and to the other endpoints",
    "Nothing. If it lasts, raise chain.max_fee_gwei.",
    scope=Scope.TRANSACTION,
    words=r"pool.{0,8} (is )?(full|overflow)|account limit exceeded|in-?flight transaction limit"
    r"|too many pending|pool limit|temporarily banned",
    methods=_SENDING,
)
OVERSIZED = Fault(
    "transaction too large",
    '"oversized data", "transaction size ... limit 131072", "RLPTooLong", "max initcode size exceeded"; HTTP 413',
    Reaction.OPERATOR,
    "keeps its transactions under 128 KiB, so this is another limit",
    "Use an endpoint that takes transactions of 128 KiB.",
    scope=Scope.TRANSACTION,
    statuses=frozenset({413}),
    words=r"oversized|(transaction|tx|data|payload|request).{0,24}(size|too large|too big)|RLPTooLong"
    r"|MaxTxSize|init ?code.{0,8} (size|too large)|exceeds .{0,16}size",
    methods=_SENDING,
)
GAS_LIMIT = Fault(
    "too much gas",
    '"exceeds block gas limit", "gas limit reached", "GasLimitExceeded", "gas limit is too high", '
    '"gas required exceeds allowance"',
    Reaction.OPERATOR,
    "keeps its transactions under 16.7 million gas (EIP-7825), so this is a lower limit",
    "The chain's blocks, or the endpoint, allow less gas than Rescind's transactions need: use a chain with blocks "
    "of 30 million gas.",
    scope=Scope.TRANSACTION,
    words=r"block gas limit|gas limit (reached|is too high|too high|exceed)|GasLimitExceeded"
    r"|exceeds .{0,24}gas limit|gas required exceeds|exceeds .{0,24}gas cap",
    methods=_SENDING,
)
GAS_TOO_LOW = Fault(
    "too little gas",
    '"intrinsic gas too low", "floor data gas"',
    Reaction.OPERATOR,
    "reports it",
    "The endpoint estimates gas wrongly. Use another one.",
    scope=Scope.TRANSACTION,
    words=r"intrinsic.?gas|floor data gas|out of gas|requires at least \d+ gas",
    methods=_SENDING,
)
TYPE_MISSING = Fault(
    "no EIP-1559",
    '"transaction type not supported", "NotSupportedTxType", "invalid transaction type"',
    Reaction.RETRY,
    "sends a transaction with a gas price instead",
    "Nothing.",
    scope=Scope.TRANSACTION,
    words=r"(transaction|tx).{0,4}type.{0,24}(not|un|invalid)|(invalid|unsupported|unknown) transaction type"
    r"|NotSupportedTxType|EIP-?1559 .{0,32}not|type is not activated",
    methods=_SENDING,
)
WRONG_SIGNER = Fault(
    "signature refused",
    '"invalid sender", "invalid chain id", "Wrong chainId", "only replay-protected (EIP-155) transactions", '
    '"sender not an eoa"',
    Reaction.OPERATOR,
    "signs for the chain that the endpoint says it is, so the endpoint is wrong about it",
    "The endpoint's back end is another chain. Correct rpc_url or chain_id.",
    scope=Scope.TRANSACTION,
    words=r"invalid sender|invalid signature|chain.?id|replay-protected|EIP-?155|not an eoa|SenderIsContract",
    methods=_SENDING,
)
SENDER_REFUSED = Fault(
    "sender not permitted",
    '"Sender account not authorized", "Plugin has marked the transaction as invalid"',
    Reaction.OPERATOR,
    "reports it",
    "The chain admits only some accounts. Ask its operator to admit this account.",
    scope=Scope.TRANSACTION,
    words=r"(account|sender).{0,24}not (authorized|permitted|allowed)|not allowed to (send|transact)"
    r"|plugin has marked|block-?list|blacklist",
    methods=_SENDING,
)
