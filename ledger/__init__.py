"""An organization's private ledger: append-only, encrypted, provable, with erasable subjects."""

from rescind.ledger.database import Database, LedgerDamaged, migrate
from rescind.ledger.disclosure import Anchored, Disclosure, ManifestDisclosure
from rescind.ledger.fsck import Problem, Report
from rescind.ledger.keys import (
    KeyProgram,
    LedgerKeyError,
    LocalKey,
    MasterKey,
    create_key,
    load_key,
    read_key,
)
from rescind.ledger.log import Ledger
from rescind.ledger.manifest import Manifest, ManifestProof, sample_bytes
from rescind.ledger.notes import Checkpoint, LogKey, Verifier
from rescind.ledger.reading import Proven, RecordShredded
from rescind.ledger.records import (
    RECORD_TYPES,
    Record,
    RecordUnreadable,
    Shredded,
)
from rescind.ledger.renewal import Renewal, finish_renewal, renew
from rescind.ledger.shredding import shred, was_shredded
from rescind.ledger.vrf import ProofInvalid
from rescind.ledger.witness import CheckpointRefused, Witness
from rescind.ledger.writing import Entry, NewRecord

__all__ = [
    "RECORD_TYPES",
    "Anchored",
    "Checkpoint",
    "CheckpointRefused",
    "Database",
    "Disclosure",
    "Entry",
    "KeyProgram",
    "Ledger",
    "LedgerDamaged",
    "LedgerKeyError",
    "LocalKey",
    "LogKey",
    "Manifest",
    "ManifestDisclosure",
    "ManifestProof",
    "MasterKey",
    "NewRecord",
    "Problem",
    "ProofInvalid",
    "Proven",
    "Record",
    "RecordShredded",
    "RecordUnreadable",
    "Renewal",
    "Report",
    "Shredded",
    "Verifier",
    "Witness",
    "create_key",
    "finish_renewal",
    "load_key",
    "migrate",
    "read_key",
    "renew",
    "sample_bytes",
    "shred",
    "was_shredded",
]
