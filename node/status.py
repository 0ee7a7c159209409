"""The status of a node, read without a running daemon."""

from __future__ import annotations

from rescind.contracts import open_transactions
from rescind.daemon import (
    Journal,
    activity_status,
    certificate_status,
    load_account,
    open_consortium,
)
from rescind.node.config import NodeConfig
from rescind.node.facts import RoundFacts, latest_quality, open_journal


def status(config: NodeConfig) -> dict[str, object]:
    """Return what the chain and the node's own records say about the node.

    Args:
        config: The node's TOML file.

    Returns:
        Values that can be written as JSON; amounts in wei.
    """
    account = load_account(config.identity)
    consortium = open_consortium(config.chain, state=config.node.state_dir)
    member = consortium.member(account.address)
    journal = open_journal(config.node.state_dir)
    return {
        "name": config.node.name,
        "address": account.address,
        "status": member.status.value,
        "bond_wei": member.bond,
        "open_transactions": open_transactions(config.identity.keystore),
        "certificates": certificate_status(config.identity.tls),
        "pending_reward_wei": consortium.claimable(
            account.address, consortium.claimable_rounds(account.address)
        ),
        "round": consortium.current_round_id(),
        "model": consortium.latest_model_id(),
        "quality": latest_quality(journal),
        "activity": activity_status(config.node.state_dir),
        "decisions": _decisions(journal),
        "anchored_size": consortium.anchor(account.address).size,
        "withdrawals": [
            f"{w.id}: {w.method.value}, {w.state.value}"
            for w in consortium.withdrawals()
            if w.organization == account.address
        ],
    }


def _decisions(journal: Journal) -> dict[int, dict[str, object]]:
    return {
        facts.round_id: {
            "effort": facts.decision.action.effort,
            "data_fraction": facts.decision.action.data_fraction,
            "why": facts.decision.why,
        }
        for facts in RoundFacts.all(journal)
        if facts.decision is not None
    }
