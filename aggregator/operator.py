"""The transactions of the aggregator's operator: its bond, and the models that stay in use."""

from __future__ import annotations

from rescind.aggregator.config import AggregatorConfig
from rescind.contracts import Consortium, ContractRefused
from rescind.core.errors import ConfigError
from rescind.daemon import load_account, open_consortium

_HINTS = {
    "NotAggregator": "use the aggregator's keystore",
    "NotAllowed": "use the aggregator's keystore",
    "IsStale": "wait until its successor is folded",
    "NotAttested": "a quorum of auditors has to attest its rounds first",
    "TooManyInUse": "retire one that is not served any more",
    "IsHead": "the newest model is always in use",
    "NotInUse": "rescind audit models shows which models are in use",
}


def missing_bond(consortium: Consortium) -> int:
    """Return what the aggregator's bond lacks, in wei."""
    required = consortium.member_terms().aggregator_bond
    return max(0, required - consortium.aggregator_bond())


def post_bond(config: AggregatorConfig) -> dict[str, object]:
    """Pay the rest of the aggregator's bond, for example after it was slashed.

    Returns:
        "paid_wei", and "transaction": its hash, or None if the bond was complete.

    Raises:
        ContractRefused: The configured key is not that of the consortium's aggregator.
    """
    consortium = _open(config)
    missing = missing_bond(consortium)
    transaction = consortium.post_aggregator_bond(missing).tx_hash if missing else None
    return {"paid_wei": missing, "transaction": transaction}


def release(config: AggregatorConfig) -> dict[str, object]:
    """Keep the newest model in use when later rounds are final, because it is served.

    A removal is then folded into it as well, and it is published without the organization.

    Returns:
        "model", its number; "in_use", the numbers of all models in use; and "transaction".

    Raises:
        ConfigError: There is no model yet, or it is released already.
        ContractRefused: It is stale or not attested, or the key is not the aggregator's.
    """
    consortium = _open(config)
    head = consortium.latest_model_id()
    if not head:
        raise ConfigError("There is no model to release yet. Wait until the first round is final.")
    if consortium.model(head).released:
        raise ConfigError(f"Model {head} is released already.")
    return _send(consortium, "release", head)


def retire(config: AggregatorConfig, model_id: int) -> dict[str, object]:
    """Take a released model out of use, because it is not served any more.

    Returns:
        As `release`.

    Raises:
        ContractRefused: It is the newest model or not in use, or the key is not the aggregator's.
    """
    return _send(_open(config), "retire", model_id)


def _open(config: AggregatorConfig) -> Consortium:
    return open_consortium(config.chain, load_account(config.identity))


def _send(consortium: Consortium, function: str, model_id: int) -> dict[str, object]:
    try:
        receipt = getattr(consortium, function)(model_id)
    except ContractRefused as error:
        hint = _HINTS.get(error.reason)
        raise ContractRefused(
            f"model {model_id} cannot be {function}d: {error}; {hint}" if hint else str(error),
            error.reason,
        ) from error
    return {
        "model": model_id,
        "in_use": consortium.models_in_use(),
        "transaction": receipt.tx_hash,
    }
