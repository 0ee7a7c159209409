"""Checking a certificate. Nothing in the file is believed: each statement is compared with the
chain, and with the artifacts where they can be reached. Needs neither torch nor the aggregator."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters import Term, adapter_totals, artifact_id, decode, encode, without
from adapters.errors import RescindError, VerificationError
from audit.certificate import (
    Certificate,
    ModelPart,
    deployment_block_hash,
    read_certificate,
)
from contracts import Chain, ChainUnavailable, Consortium, WithdrawalState, load_artefact

CHECKS: dict[str, int] = {
    "file": 40,
    "chain": 41,
    "contracts": 42,
    "issuer": 43,
    "agreement": 44,
    "withdrawal": 45,
    "models": 46,
    "removed": 47,
    "clean": 48,
    "artifacts": 49,
    "arithmetic": 50,
    "replay": 51,
    "evaluation": 52,
}
"""Every check, in the order in which it is made, with the exit code of its failure."""


@dataclass(frozen=True)
class Check:
    """`status`: passed, failed or skipped."""

    name: str
    status: str
    detail: str


@dataclass(frozen=True)
class Verification:
    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """0, or the code of the first check that failed."""
        return next((CHECKS[c.name] for c in self.checks if c.status == "failed"), 0)


class _Skipped(Exception):
    """Why a check could not be made; it is reported, and is no failure."""


def verify(path: Path, *, rpc_url: str, artifacts: Sequence[Path] = ()) -> Verification:
    """All checks, in order; those that need a failed one are left out. Raises ChainUnavailable."""
    try:
        certificate = read_certificate(path)
    except VerificationError as error:
        return Verification((Check("file", "failed", str(error)),))
    done = [Check("file", "passed", "canonical bytes of a certificate")]
    consortium = Consortium(Chain(rpc_url), certificate.consortium.deployment)
    verifier = _Verifier(certificate, consortium, path.parent, artifacts)
    for name in list(CHECKS)[1:]:
        made = _make(name, getattr(verifier, name))
        done.append(made)
        if made.status == "failed" and name in ("chain", "contracts"):
            break
    return Verification(tuple(done))


def _make(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, "passed", check())
    except _Skipped as reason:
        return Check(name, "skipped", str(reason))
    except ChainUnavailable:
        raise
    except RescindError as error:
        return Check(name, "failed", str(error))


class _Verifier:
    """One method a check; each returns what it found, or raises."""

    def __init__(
        self, it: Certificate, consortium: Consortium, folder: Path, artifacts: Sequence[Path]
    ) -> None:
        self.it, self.consortium, self.folder = it, consortium, folder
        self._stores = [p for p in artifacts if p.is_dir()]

    def chain(self) -> str:
        found, claimed = self.consortium.chain.check(), self.it.consortium.deployment.chain_id
        _same("chain id", claimed, found)
        number, claimed_hash = self.it.consortium.deployment.block, self.it.consortium.block_hash
        _same(f"block {number}", claimed_hash, deployment_block_hash(self.consortium))
        return f"chain {found}, block {number} is {claimed_hash[:18]}..."

    def contracts(self) -> str:
        deployment = self.it.consortium.deployment
        for name, address in deployment.addresses().items():
            if not load_artefact(name).is_code(self.consortium.chain.code(address)):
                raise VerificationError(f"the code at {address} is not Rescind's {name}")
        for wire, target in self.consortium.wiring().items():
            _same(wire, deployment.addresses()[wire.split(".")[1].capitalize()], target)
        return "five contracts, code as published, wired to one another"

    def issuer(self) -> str:
        aggregator = self.consortium.aggregator()
        _same("issuer", self.it.issuer, aggregator)
        _same("signer", self.it.signer(), aggregator)
        return f"signed by the consortium's aggregator {aggregator}"

    def agreement(self) -> str:
        claimed = self.it.consortium
        _same("parameters", claimed.parameters_id, self.consortium.parameters_id())
        _same("base model", claimed.base_model_id, self.consortium.base_model_id())
        _same("coupling", claimed.coupling, self.consortium.coupling())
        _same("layout", claimed.layout, self.consortium.layout())
        return f"{claimed.coupling} coupling, parameters {claimed.parameters_id[:16]}"

    def withdrawal(self) -> str:
        claimed = self.it.withdrawal
        known = {w.id: w for w in self.consortium.withdrawals()}
        if claimed.withdrawal_id not in known:
            raise VerificationError(f"there is no withdrawal {claimed.withdrawal_id} on chain")
        found = known[claimed.withdrawal_id]
        _same("organization", claimed.organization, found.organization)
        _same("name", claimed.name, self.consortium.member(found.organization).name)
        _same("state", "closed", found.state.value)
        assert found.state is WithdrawalState.CLOSED
        _same("model after", self.it.after.model_id, found.closed_model)
        events = {
            e.name: e
            for e in self.consortium.events()
            if e.contract == "Withdrawals" and e.args.get("id") == claimed.withdrawal_id
        }
        request, close = events["WithdrawalRequested"], events["WithdrawalClosed"]
        _same("request transaction", claimed.request_transaction, request.tx_hash)
        _same("close transaction", claimed.close_transaction, close.tx_hash)
        _same("close block", claimed.close_block, close.block)
        return f"withdrawal {found.id} of {claimed.name}, closed in block {close.block}"

    def models(self) -> str:
        for claimed in (self.it.before, self.it.after):
            found = self.consortium.model(claimed.model_id)
            _same(f"adapter of model {found.id}", claimed.adapter_id, found.adapter_id)
            terms = self.consortium.content(found.id)
            if [t.term() for t in claimed.terms] != terms:
                raise VerificationError(f"the deltas of model {found.id} are not those on chain")
        _same(
            "parent", self.it.before.model_id, self.consortium.model(self.it.after.model_id).parent
        )
        before, after = self.it.before, self.it.after
        return (
            f"model {before.model_id} of {len(before.terms)} deltas, "
            f"model {after.model_id} of {len(after.terms)}, both as on chain"
        )

    def removed(self) -> str:
        leaver = self.it.withdrawal.organization
        before = [t.term() for t in self.it.before.terms]
        if [t.term() for t in self.it.removed] != [t for t in before if t.organization == leaver]:
            raise VerificationError("the removed deltas are not all those of the organization")
        layout = self.it.consortium.layout
        if [t.term() for t in self.it.after.terms] != without(before, [leaver], layout):
            raise VerificationError("what remains is not everybody else's deltas, re-weighted")
        return f"{len(self.it.removed)} deltas removed, the others kept and weighted by the rule"

    def clean(self) -> str:
        latest, leaver = self.consortium.latest_model_id(), self.it.withdrawal.organization
        for model_id in sorted({self.it.after.model_id, latest}):
            if not self.consortium.is_clean(model_id, leaver):
                raise VerificationError(f"model {model_id} contains a delta of {leaver}")
        return f"no delta of {self.it.withdrawal.name} in any model since, latest {latest}"

    def artifacts(self) -> str:
        wanted = [t.artifact_id for t in self.it.before.terms]
        wanted += [self.it.before.adapter_id, self.it.after.adapter_id]
        wanted.append(self.it.consortium.parameters_id)
        found = sum(self._load(one) is not None for one in wanted)
        checked = sum(self._check_store(store) for store in self._stores)
        if not found:
            raise _Skipped("no artifact can be reached: give a store with --artifacts DIR")
        return f"{found} of {len(wanted)} named artifacts reached; {checked} files match their ids"

    def arithmetic(self) -> str:
        for model in (self.it.before, self.it.after):
            self._resum(model)
        return "re-summing the deltas in integers gives both adapters, byte for byte"

    def replay(self) -> str:
        claimed = self.it.replay
        if claimed is None:
            raise _Skipped("the certificate speaks of no replay")
        equal = claimed.adapter_id == self.it.after.adapter_id
        _same("exact", claimed.exact, equal)
        held = self._load(claimed.adapter_id) is not None
        where = (
            "its adapter is held and hashes to its id" if held else "its adapter was not reached"
        )
        relation = "the same bytes as" if equal else "other bytes than"
        return f"a run without {self.it.withdrawal.name} gave {relation} the model after ({where})"

    def evaluation(self) -> str:
        claimed = self.it.evaluation
        if claimed is None:
            raise _Skipped("the certificate holds no evaluation")
        reached = 0
        for name, digest in sorted(claimed.files.items()):
            path = self.folder / name
            if not path.resolve().is_relative_to(self.folder.resolve()) or not path.is_file():
                continue
            reached += 1
            _same(f"hash of {name}", digest, hashlib.sha256(path.read_bytes()).hexdigest())
        if not reached:
            raise _Skipped("the evaluation's files cannot be reached; its figures are the issuer's")
        return f"{reached} files as the issuer measured them (the figures are the issuer's claim)"

    def _resum(self, model: ModelPart) -> None:
        terms: list[Term] = [t.term() for t in model.terms]
        missing = [t.artifact_id for t in terms if self._load(t.artifact_id) is None]
        if missing:
            raise _Skipped(f"{len(missing)} of {len(terms)} deltas cannot be reached")
        found = artifact_id(encode(adapter_totals(terms, self._delta)))
        _same(f"sum of the deltas of model {model.model_id}", model.adapter_id, found)

    def _delta(self, digest: str) -> Any:
        data = self._load(digest)
        assert data is not None
        return decode(data)

    def _load(self, digest: str) -> bytes | None:
        for store in self._stores:
            path = store / digest[:2] / digest
            if path.is_file():
                data = path.read_bytes()
                if artifact_id(data) != digest:
                    raise VerificationError(f"{path} does not hash to its name: it was changed")
                return data
        return None

    def _check_store(self, store: Path) -> int:
        count = 0
        for path in sorted(store.glob("[0-9a-f][0-9a-f]/*")):
            if artifact_id(path.read_bytes()) != path.name:
                raise VerificationError(f"{path} does not hash to its name: it was changed")
            count += 1
        return count


def _same(what: str, claimed: object, found: object) -> None:
    if claimed != found:
        raise VerificationError(f"{what}: the certificate has {claimed}, it is {found}")
