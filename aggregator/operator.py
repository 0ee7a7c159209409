"""The transactions of the aggregator's operator: its bond, and the models that stay in use."""

from __future__ import annotations

from rescind.aggregator.config import AggregatorConfig
from rescind.contracts import Consortium
from rescind.core.errors import ConfigError
from rescind.daemon import certificate_claim, load_account, open_consortium


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


def rotate_certificate(config: AggregatorConfig) -> dict[str, object]:
    """Put the configured certificate's fingerprint on chain, unless it is there already.

    Returns:
        "fingerprint"; "replaced", the one before; and "transaction": its hash, or None.

    Raises:
        WireError: Key or certificate cannot be read, or do not belong together.
        ContractRefused: The configured key is not that of the consortium's aggregator.
    """
    account = load_account(config.identity)
    consortium = open_consortium(config.chain, account)
    before = consortium.fingerprint(account.address)
    own, proof = certificate_claim(consortium.deployment, account.address, config.identity.tls)
    transaction = None if before == own else consortium.set_fingerprint(own, proof).tx_hash
    return {"fingerprint": own, "replaced": before, "transaction": transaction}


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
    receipt = getattr(consortium, function)(model_id)
    return {
        "model": model_id,
        "in_use": consortium.models_in_use(),
        "transaction": receipt.tx_hash,
    }
