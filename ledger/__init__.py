"""One organization's private record: append-only, encrypted, provable."""

from ledger.keys import LedgerKeyError, create_key, load_key
from ledger.log import RECORD_TYPES, Entry, Ledger, LedgerDamaged, Problem, Report
from ledger.manifest import Manifest, ManifestProof
from ledger.sealed import Record, RecordUnreadable

__all__ = [
    "RECORD_TYPES",
    "Entry",
    "Ledger",
    "LedgerDamaged",
    "LedgerKeyError",
    "Manifest",
    "ManifestProof",
    "Problem",
    "Record",
    "RecordUnreadable",
    "Report",
    "create_key",
    "load_key",
]
