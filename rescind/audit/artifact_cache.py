"""Artifacts and digests that a certificate can be checked with.

Artifacts come from folders. Digests are computed from artifacts, or taken from the transactions in
which the contract was given them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rescind.audit.certificate import Certificate, ModelPart
from rescind.contracts import Consortium
from rescind.core import (
    ZERO_DIGEST,
    Digest,
    artifact_id,
    decode,
    digest,
)
from rescind.core.errors import VerificationError


class ArtifactCache:
    """The artifacts and digests of one certificate.

    Args:
        certificate: The certificate whose models name the artifacts.
        consortium: The chain that knows the proof transactions.
        stores: Folders of artifacts, laid out as ID[:2]/ID. Missing folders are ignored.
    """

    def __init__(
        self, certificate: Certificate, consortium: Consortium, stores: Sequence[Path]
    ) -> None:
        self._certificate, self._consortium = certificate, consortium
        self._stores = [folder for folder in stores if folder.is_dir()]
        self._digests: dict[str, Digest] = {ZERO_DIGEST.root: ZERO_DIGEST}

    def models(self) -> Iterator[ModelPart]:
        """Yield every model that the certificate names."""
        for pair in self._certificate.replaced:
            yield pair.before
            yield pair.after
        yield self._certificate.latest

    def learn_digests(self, transactions: Sequence[str]) -> None:
        """Keep the digests that were given to the contract in these transactions."""
        for transaction in transactions:
            _, function, arguments = self._consortium.input_of(transaction)
            if function != "prove":
                continue
            digests = list(arguments["digests"])
            if arguments["source"]:  # only the last piece of a proof carries the source's digest
                digests.append(arguments["source"])
            for data in digests:
                digest_ = Digest.from_bytes(data)
                self._digests[digest_.root] = digest_

    def digest(self, root: str) -> Digest | None:
        """Return the digest with this Merkle root, or None where it cannot be reached."""
        if root in self._digests:
            return self._digests[root]
        named = {t.digest_root: t.artifact_id for p in self.models() for t in p.terms}
        named |= {part.digest_root: part.adapter_id for part in self.models()}
        data = self.load(named.get(root, ""))
        if data is not None:
            self._digests[root] = digest(decode(data))
        return self._digests.get(root)

    def known_digest(self, root: str) -> Digest:
        """Return a digest that `digest` has already returned."""
        digest = self.digest(root)
        assert digest is not None
        return digest

    def delta(self, delta_id: str) -> Any:
        """Return the tensors of an artifact that `load` has already returned."""
        data = self.load(delta_id)
        assert data is not None
        return decode(data)

    def load(self, wanted_id: str) -> bytes | None:
        """Return an artifact's bytes, or None where no store has it.

        Raises:
            VerificationError: The file's bytes do not hash to its name.
        """
        for store in self._stores:
            path = store / wanted_id[:2] / wanted_id
            if path.is_file():
                data = path.read_bytes()
                if artifact_id(data) != wanted_id:
                    raise VerificationError(_changed(path))
                return data
        return None

    def check_stores(self) -> int:
        """Return how many files the stores hold.

        Raises:
            VerificationError: The bytes of one do not hash to its name.
        """
        count = 0
        for store in self._stores:
            for path in sorted(store.glob("[0-9a-f][0-9a-f]/*")):
                if artifact_id(path.read_bytes()) != path.name:
                    raise VerificationError(_changed(path))
                count += 1
        return count


def _changed(path: Path) -> str:
    return f"{path} was changed: its bytes do not hash to its name. Fetch the artifact again."
