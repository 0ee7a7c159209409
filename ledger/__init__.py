"""An organization's private ledger: append-only, encrypted, provable, with erasable subjects."""

from rescind.ledger.database import LedgerDamaged
from rescind.ledger.fsck import Problem, Report
from rescind.ledger.keys import (
    KeyProgram,
    LedgerKeyError,
    LocalKey,
    MasterKey,
    create_key,
    load_key,
)
from rescind.ledger.log import (
    Entry,
    Ledger,
    NewRecord,
    Proven,
    RecordShredded,
)
from rescind.ledger.manifest import Manifest, ManifestProof, sample_bytes
from rescind.ledger.records import (
    RECORD_TYPES,
    Record,
    RecordUnreadable,
    Shredded,
)

__all__ = [
    "RECORD_TYPES",
    "Entry",
    "KeyProgram",
    "Ledger",
    "LedgerDamaged",
    "LedgerKeyError",
    "LocalKey",
    "Manifest",
    "ManifestProof",
    "MasterKey",
    "NewRecord",
    "Problem",
    "Proven",
    "Record",
    "RecordShredded",
    "RecordUnreadable",
    "Report",
    "Shredded",
    "create_key",
    "load_key",
    "sample_bytes",
]
