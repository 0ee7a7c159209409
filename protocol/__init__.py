"""The wire: identity by certificate, signed updates, artifacts in hash-named chunks."""

from protocol.client import AggregatorClient
from protocol.config import ChainSettings, IdentitySettings, Section
from protocol.errors import (
    AggregatorUnavailable,
    BadMessage,
    BadSignature,
    CertificateProblem,
    DeltaRefused,
    NotAMember,
    NotPublished,
    ReusedNonce,
    StatisticsRefused,
    TooManyUploads,
    WrongHash,
    WrongPhase,
)
from protocol.identity import (
    CertificateAuthority,
    TlsFiles,
    fingerprint,
    new_key,
    signing_request,
)
from protocol.journal import Journal
from protocol.server import (
    AggregatorHandler,
    Description,
    SubmittedFisher,
    SubmittedOffer,
    SubmittedUpdate,
    serve,
)
from protocol.signing import (
    attestation_typed_data,
    domain,
    fisher_typed_data,
    offer_typed_data,
    recover_signer,
    sign_typed,
    update_typed_data,
)
from protocol.transfer import CHUNK_BYTES, Manifest, join, split

__all__ = [
    "CHUNK_BYTES",
    "AggregatorClient",
    "AggregatorHandler",
    "AggregatorUnavailable",
    "BadMessage",
    "BadSignature",
    "CertificateAuthority",
    "CertificateProblem",
    "ChainSettings",
    "DeltaRefused",
    "Description",
    "IdentitySettings",
    "Journal",
    "Manifest",
    "NotAMember",
    "NotPublished",
    "ReusedNonce",
    "Section",
    "StatisticsRefused",
    "SubmittedFisher",
    "SubmittedOffer",
    "SubmittedUpdate",
    "TlsFiles",
    "TooManyUploads",
    "WrongHash",
    "WrongPhase",
    "attestation_typed_data",
    "domain",
    "fingerprint",
    "fisher_typed_data",
    "join",
    "new_key",
    "offer_typed_data",
    "recover_signer",
    "serve",
    "sign_typed",
    "signing_request",
    "split",
    "update_typed_data",
]
