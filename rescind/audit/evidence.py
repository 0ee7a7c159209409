"""What a certificate can be checked with: artifacts that can be reached, and digests, from them or
from the transactions in which the contract was given them."""

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


class Evidence:
    def __init__(self, it: Certificate, consortium: Consortium, stores: Sequence[Path]) -> None:
        self._it, self._consortium = it, consortium
        self._stores = [p for p in stores if p.is_dir()]
        self._digests: dict[str, Digest] = {ZERO_DIGEST.root: ZERO_DIGEST}

    def models(self) -> Iterator[ModelPart]:
        """Every model that the certificate names."""
        for pair in self._it.replaced:
            yield pair.before
            yield pair.after
        yield self._it.latest

    def learn_digests(self, transactions: Sequence[str]) -> None:
        """The digests that were given to the contract, from the transactions' own bytes."""
        for transaction in transactions:
            _, function, arguments = self._consortium.input_of(transaction)
            if function != "prove":
                continue
            for data in [
                *arguments["digests"],
                *([arguments["source"]] * bool(arguments["source"])),
            ]:
                found = Digest.from_bytes(data)
                self._digests[found.root] = found

    def digest(self, root: str) -> Digest | None:
        if root in self._digests:
            return self._digests[root]
        named = {t.digest_root: t.artifact_id for p in self.models() for t in p.terms}
        named |= {part.digest_root: part.adapter_id for part in self.models()}
        data = self.load(named.get(root, ""))
        if data is not None:
            self._digests[root] = digest(decode(data))
        return self._digests.get(root)

    def known_digest(self, root: str) -> Digest:
        found = self.digest(root)
        assert found is not None
        return found

    def delta(self, wanted: str) -> Any:
        data = self.load(wanted)
        assert data is not None
        return decode(data)

    def load(self, wanted: str) -> bytes | None:
        for store in self._stores:
            path = store / wanted[:2] / wanted
            if path.is_file():
                data = path.read_bytes()
                if artifact_id(data) != wanted:
                    raise VerificationError(f"{path} does not hash to its name: it was changed")
                return data
        return None

    def check_stores(self) -> int:
        """How many files there are. Raises VerificationError for one that was changed."""
        count = 0
        for store in self._stores:
            for path in sorted(store.glob("[0-9a-f][0-9a-f]/*")):
                if artifact_id(path.read_bytes()) != path.name:
                    raise VerificationError(f"{path} does not hash to its name: it was changed")
                count += 1
        return count
