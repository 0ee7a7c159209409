"""gRPC between daemons: TLS identities, signed messages, artifacts in pieces."""

from rescind.wire import _quiet  # noqa: F401 (before gRPC is imported)
from rescind.wire.admission import Admission
from rescind.wire.aggregator_client import AggregatorClient
from rescind.wire.aggregator_service import (
    AggregatorDescription,
    AggregatorHandler,
    ModelFiles,
    SubmittedFisher,
    SubmittedOffer,
    SubmittedUpdate,
    serve,
)
from rescind.wire.authority import CertificateAuthority, Holder, OrganizationIssuer
from rescind.wire.downloading import HeldBytes
from rescind.wire.enrolment import Enrolment
from rescind.wire.errors import (
    AggregatorUnavailable,
    BadMessage,
    BadSignature,
    CertificateProblem,
    DeltaRefused,
    NodeUnavailable,
    NotAMember,
    NotAnAuditor,
    NotDisclosed,
    NotHeld,
    NotPublished,
    ReusedNonce,
    StatisticsRefused,
    TooManyCalls,
    TooManyUploads,
    TransferGivenUp,
    WrongHash,
    WrongPhase,
)
from rescind.wire.grpc_server import RunningServer
from rescind.wire.identity import (
    ServerCertificateRefused,
    TlsFiles,
    fingerprint,
    is_signed_by,
)
from rescind.wire.keys import new_key, sign_with_key
from rescind.wire.ledger_service import (
    CosignatureRequest,
    DisclosureRequest,
    LedgerClient,
    LedgerHandler,
    serve_ledger,
)
from rescind.wire.limits import Limits
from rescind.wire.signing import (
    check_signature_form,
    disclosure_typed_data,
    domain,
    fisher_typed_data,
    offer_typed_data,
    recover_signer,
    sign_typed,
    update_typed_data,
)
from rescind.wire.signing_requests import SigningRequest, signing_request
from rescind.wire.transfer import MOST_PIECE_BYTES, SizedArtifact
from rescind.wire.validity import CertificateExpired, Validity

__all__ = [
    "MOST_PIECE_BYTES",
    "Admission",
    "AggregatorClient",
    "AggregatorDescription",
    "AggregatorHandler",
    "AggregatorUnavailable",
    "BadMessage",
    "BadSignature",
    "CertificateAuthority",
    "CertificateExpired",
    "CertificateProblem",
    "CosignatureRequest",
    "DeltaRefused",
    "DisclosureRequest",
    "Enrolment",
    "HeldBytes",
    "Holder",
    "LedgerClient",
    "LedgerHandler",
    "Limits",
    "ModelFiles",
    "NodeUnavailable",
    "NotAMember",
    "NotAnAuditor",
    "NotDisclosed",
    "NotHeld",
    "NotPublished",
    "OrganizationIssuer",
    "ReusedNonce",
    "RunningServer",
    "ServerCertificateRefused",
    "SigningRequest",
    "SizedArtifact",
    "StatisticsRefused",
    "SubmittedFisher",
    "SubmittedOffer",
    "SubmittedUpdate",
    "TlsFiles",
    "TooManyCalls",
    "TooManyUploads",
    "TransferGivenUp",
    "Validity",
    "WrongHash",
    "WrongPhase",
    "check_signature_form",
    "disclosure_typed_data",
    "domain",
    "fingerprint",
    "fisher_typed_data",
    "is_signed_by",
    "new_key",
    "offer_typed_data",
    "recover_signer",
    "serve",
    "serve_ledger",
    "sign_typed",
    "sign_with_key",
    "signing_request",
    "update_typed_data",
]
