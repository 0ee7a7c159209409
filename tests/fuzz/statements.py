"""Contracts, and evidence of a counter-training, as a real consortium would have them."""

from __future__ import annotations

from rescind.contracts import Deployment
from rescind.contracts.deployment import NAMES
from rescind.withdrawals import EvidenceDocument, ModelPart, OfferedPart
from rescind.withdrawals.evidence import TermPart

_ADDRESSES = {name.lower(): f"0x{number:040d}" for number, name in enumerate(NAMES, start=1)}
DEPLOYMENT = Deployment(chain_id=31337, block=7, **_ADDRESSES)
ORGANIZATION = "0x" + "0" * 39 + "9"


def evidence() -> EvidenceDocument:
    return EvidenceDocument(
        chain_id=DEPLOYMENT.chain_id,
        withdrawals=DEPLOYMENT.withdrawals,
        withdrawal_id=1,
        method="counter-training",
        organization=ORGANIZATION,
        subject="",
        coupling="isolated",
        amendment=1,
        source_id=1,
        model=ModelPart(
            model_id=2, commitments=("aa" * 32,), adapter_id="bb" * 32, opening_id="cc" * 32
        ),
        terms=(
            TermPart(
                round_id=1,
                organization=ORGANIZATION,
                artifact_id="dd" * 32,
                point_hash="ee" * 32,
                weight=10_000,
            ),
        ),
        offered=(
            OfferedPart(
                offer_id=1,
                round_id=0,
                organization=ORGANIZATION,
                artifact_id="ff" * 32,
                point_hash="ab" * 32,
                size=1000,
                report={"losses": [1.5, 0.25], "verdict": "ok"},
                signature="0x" + "12" * 65,
                norm=1.25,
            ),
        ),
        change_norm=0.5,
    )
