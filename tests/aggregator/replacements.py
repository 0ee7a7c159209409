"""Replacements that a member asks for and sends."""

from rescind.contracts import WithdrawalMethod
from rescind.wire import AggregatorClient, SizedArtifact, offer_typed_data, sign_typed
from tests.aggregator.scene import Member


def request_replacement(member: Member) -> int:
    """Request a replacement for a data subject of a member, and return its number."""
    number = len(member.record.withdrawals()) + 1
    member.record.request_subject_withdrawal(f"{number:064x}", WithdrawalMethod.REPLACEMENT)
    return number


def deposit(member: Member, withdrawal: int, data: bytes) -> None:
    """Send an offered delta to the aggregator, with a signed report."""
    artifact, report = SizedArtifact.of(data), b"{}"
    document = offer_typed_data(
        chain_id=31337,
        rounds_address=member.record.deployment.rounds,
        offer_id=withdrawal,
        round_id=1,
        artifact_id=artifact.artifact_id,
        size=len(data),
        report=report,
    )
    signature = sign_typed(document, member.account.key)
    with AggregatorClient(member.address, member.tls) as client:
        client.upload(data)
        client.submit_offered(withdrawal, 1, artifact, report, signature)
