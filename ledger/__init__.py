"""One organization's private record: append-only, encrypted, provable, and able to forget people."""

from ledger.database import LedgerDamaged
from ledger.fsck import Problem, Report
from ledger.keys import KeyProgram, LedgerKeyError, LocalKey, MasterKey, create_key, load_key
from ledger.log import Entry, Ledger, NewRecord, Proven, RecordShredded
from ledger.manifest import Manifest, ManifestProof, sample_bytes
from ledger.records import RECORD_TYPES, Record, RecordUnreadable, Shredded

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
