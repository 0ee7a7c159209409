"""Checking a certificate. Nothing in the file is believed: each statement is compared with the
chain, and with the artifacts where they can be reached. Needs neither torch nor the aggregator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from rescind.audit.artifact_cache import ArtifactCache
from rescind.audit.attestation_checks import check_evidence, check_ledger
from rescind.audit.certificate import (
    Certificate,
    ModelPart,
    ReplacedPart,
    equation,
    read_certificate,
)
from rescind.audit.checks import (
    Check,
    Skipped,
    Verification,
    check_chain,
    check_contracts,
    make,
    same,
)
from rescind.audit.issue import (
    aggregator_at,
    attesting,
    model_part,
    offered_for,
    replaced_models,
    withdrawal_event,
)
from rescind.contracts import (
    NO_ADAPTER,
    Chain,
    Consortium,
    Event,
    Withdrawal,
)
from rescind.core import (
    MINIMUM_BITS,
    Term,
    adapter_totals,
    artifact_id,
    core_svp_bits,
    decode,
    digest,
    encode,
    l2_norm,
    without,
)
from rescind.core.errors import VerificationError

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
    "proof": 53,
    "equation": 54,
    "attested": 57,
    "artifacts": 49,
    "digests": 55,
    "arithmetic": 50,
    "adapter": 56,
    "replay": 51,
    "evaluation": 52,
}
"""Every check, in the order in which it is made, with the exit code of its failure."""


def verify(
    path: Path, *, rpc_url: str, artifacts: Sequence[Path] = (), adapter: Path | None = None
) -> Verification:
    """All checks, in order; those that need a failed one are left out. Raises ChainUnavailable.

    `adapter`: the file of a model that somebody is served, to be compared with the certificate's.
    """
    try:
        certificate = read_certificate(path)
    except VerificationError as error:
        return Verification((Check("file", "failed", str(error)),), CHECKS)
    done = [Check("file", "passed", "canonical bytes of a certificate")]
    consortium = Consortium(Chain(rpc_url), certificate.consortium.deployment)
    verifier = _Verifier(certificate, consortium, path.parent, artifacts, adapter)
    for name in list(CHECKS)[1:]:
        made = make(name, getattr(verifier, name))
        done.append(made)
        if made.status == "failed" and name in ("chain", "contracts"):
            break
    return Verification(tuple(done), CHECKS)


class _Verifier:
    """One method a check; each returns what it found, or raises."""

    def __init__(
        self,
        it: Certificate,
        consortium: Consortium,
        folder: Path,
        artifacts: Sequence[Path],
        adapter: Path | None,
    ) -> None:
        self.it, self.consortium, self.folder = it, consortium, folder
        self.cache = ArtifactCache(it, consortium, artifacts)
        self._adapter = adapter

    @cached_property
    def _events(self) -> list[Event]:
        return list(self.consortium.events())

    def chain(self) -> str:
        return check_chain(self.consortium, self.it.consortium.block_hash)

    def contracts(self) -> str:
        return check_contracts(self.consortium)

    def issuer(self) -> str:
        aggregator = aggregator_at(self._events, self.it.withdrawal.close_block)
        same("issuer", self.it.issuer, aggregator)
        same("signer", self.it.signer(), aggregator)
        return f"signed by {aggregator}, the consortium's aggregator then"

    def agreement(self) -> str:
        claimed = self.it.consortium
        same("parameters", claimed.parameters_id, self.consortium.parameters_id())
        same("base model", claimed.base_model_id, self.consortium.base_model_id())
        same("coupling", claimed.coupling, self.consortium.coupling())
        same("layout", claimed.layout, self.consortium.layout())
        found = self.consortium.challenge_seconds()
        same("challenge window", claimed.challenge_seconds, found)
        how = f"sums may be challenged for {found} s" if found else "sums are added up on chain"
        return f"{claimed.coupling} coupling, parameters {claimed.parameters_id[:16]}, {how}"

    def withdrawal(self) -> str:
        claimed, found = self.it.withdrawal, self._withdrawal()
        same("organization", claimed.organization, found.organization)
        same("name", claimed.name, self.consortium.member(found.organization).name)
        same("subject", claimed.subject, found.subject)
        same("expelled", claimed.expelled, found.expelled)
        same("state", "closed", found.state.value)
        same("method", self.it.method, found.method.value)
        same("latest model", self.it.latest.model_id, found.closed_model)
        request = withdrawal_event(self._events, "WithdrawalRequested", found.id)
        close = withdrawal_event(self._events, "WithdrawalClosed", found.id)
        same("request transaction", claimed.request_transaction, request.tx_hash)
        same("close transaction", claimed.close_transaction, close.tx_hash)
        same("close block", claimed.close_block, close.block)
        same("offered deltas", claimed.offered, offered_for(self.consortium, found.id))
        check_ledger(self.it, self._events)
        whose = f"a data subject of {claimed.name}" if claimed.subject else claimed.name
        return (
            f"withdrawal {found.id} of {whose} by {self.it.method}, closed in block {close.block}"
        )

    def models(self) -> str:
        found = replaced_models(self.consortium, self._events, self.it.withdrawal.withdrawal_id)
        same(
            "models that were replaced",
            [(p.before.model_id, p.after.model_id) for p in self.it.replaced],
            [(p.before.model_id, p.after.model_id) for p in found],
        )
        for claimed in self.cache.models():
            if claimed != model_part(self.consortium, claimed.model_id):
                raise VerificationError(f"model {claimed.model_id} is not as on chain")
        if not found:
            return f"no model in use held anything of {self.it.withdrawal.name}"
        return "; ".join(
            f"model {p.before.model_id} of {len(p.before.terms)} deltas, in its place model "
            f"{p.after.model_id} of {len(p.after.terms)}"
            for p in self.it.replaced
        )

    def removed(self) -> str:
        for pair in self.it.replaced:
            self._check_change(pair)
        gone = len(self.it.removed)
        if self.it.method == "removal":
            return f"{gone} deltas removed, the others kept and weighted by the rule"
        if self.it.method == "counter-training":
            return "nothing removed; a counter-delta was added"
        return f"{gone} deltas of {self.it.withdrawal.name} removed or replaced by its own"

    def clean(self) -> str:
        leaver, name = self.it.withdrawal.organization, self.it.withdrawal.name
        gone = {term.artifact_id for term in self.it.removed}
        later = [m for m in self.consortium.models_in_use() if m >= self.it.latest.model_id]
        for model_id in sorted({self.it.latest.model_id, *self.consortium.models_in_use(), *later}):
            held = {term.artifact_id for term in self.consortium.content(model_id)}
            if gone & held:
                raise VerificationError(f"model {model_id} contains a delta that was withdrawn")
            if self._excludes() and not self.consortium.is_clean(model_id, leaver):
                raise VerificationError(f"model {model_id} contains a delta of {leaver}")
        if not self._excludes():
            return f"no withdrawn delta in any model in use; others of {name} may be"
        return f"no delta of {name} in any model in use, {self.consortium.models_in_use()}"

    def proof(self) -> str:
        """The contract registers a model only when the digests add up."""
        number = self.it.withdrawal.withdrawal_id
        known = replaced_models(self.consortium, self._events, number)
        by_model = {pair.after.model_id: pair for pair in known}
        for pair in self.it.replaced:
            found = by_model.get(pair.after.model_id)
            if found is None or not found.proofs:
                raise VerificationError(f"withdrawal {number} made no model {pair.after.model_id}")
            same("claim transaction", pair.claim_transaction, found.claim_transaction)
            same("proof transactions", pair.proofs, found.proofs)
            names = {e.name for e in self._events if e.tx_hash == pair.proofs[-1]}
            if "ModelRegistered" not in names:
                raise VerificationError(f"{pair.proofs[-1]} did not register the model after")
            if not names & {"ModelProven", "ModelSettled"}:
                raise VerificationError(f"{pair.proofs[-1]} proved nothing")
        if not self.it.replaced:
            raise Skipped("no model had to be replaced")
        count = sum(len(pair.proofs) for pair in self.it.replaced)
        where = f"{count} transaction{'s' if count > 1 else ''}"
        if self.it.consortium.challenge_seconds:
            return f"the sums went unchallenged for their window, or were proven: {where}"
        return f"the contract itself added the digests up, in {where}"

    def equation(self) -> str:
        if not self.it.replaced:
            raise Skipped("no model had to be replaced")
        terms = 0
        for pair in self.it.replaced:
            terms += len(pair.equation)
            self._check_equation(pair)
        return f"D(after) = D(before) + {terms} terms, from the digests themselves"

    def attested(self) -> str:
        claimed, found = self.it.withdrawal, self._withdrawal()
        same("evidence", claimed.evidence, found.evidence)
        if not claimed.evidence:
            raise Skipped(f"a {self.it.method} needs no attestation")
        signers = attesting(self._events, found.id, found.evidence)
        same("auditors", claimed.auditors, signers)
        held = check_evidence(self.it, self.cache)
        return f"evidence {claimed.evidence[:16]} attested by {len(signers)} auditors{held}"

    def artifacts(self) -> str:
        wanted = {t.artifact_id for part in self.cache.models() for t in part.terms}
        wanted |= {part.adapter_id for part in self.cache.models()} - {NO_ADAPTER}
        wanted.add(self.it.consortium.parameters_id)
        found = sum(self.cache.load(one) is not None for one in wanted)
        checked = self.cache.check_stores()
        if not found:
            raise Skipped("no artifact can be reached: give a store with --artifacts DIR")
        return f"{found} of {len(wanted)} named artifacts reached; {checked} files match their ids"

    def digests(self) -> str:
        """The integers themselves have the registered digests."""
        named = {t.artifact_id: t.digest_root for p in self.cache.models() for t in p.terms}
        named |= {part.adapter_id: part.digest_root for part in self.cache.models()}
        named.pop(NO_ADAPTER, None)
        reached = 0
        for artifact, root in sorted(named.items()):
            data = self.cache.load(artifact)
            if data is None:
                continue
            reached += 1
            found = digest(decode(data))
            same(f"digest of {artifact[:16]}", root, found.root)
        if not reached:
            raise Skipped("no delta or adapter can be reached")
        return f"{reached} of {len(named)} deltas and adapters have the digests that are on chain"

    def arithmetic(self) -> str:
        for part in self.cache.models():
            self._resum(part)
        return "re-summing the deltas in integers gives every adapter, byte for byte"

    def adapter(self) -> str:
        if self._adapter is None:
            raise Skipped("no adapter to compare: give the one that is served with --adapter FILE")
        try:
            data = self._adapter.read_bytes()
        except OSError as error:
            raise VerificationError(f"{self._adapter}: {error.strerror}") from error
        latest = self.it.latest
        same(f"id of {self._adapter.name}", latest.adapter_id, artifact_id(data))
        tensors = decode(data)
        same("its digest", latest.digest_root, digest(tensors).root)
        bits = core_svp_bits(l2_norm(tensors))
        if bits < MINIMUM_BITS:
            raise VerificationError(
                f"its digest binds with {bits:.0f} bits only, under {MINIMUM_BITS}"
            )
        return f"{self._adapter.name} is model {latest.model_id}; its digest binds with {bits:.0f} bits"

    def replay(self) -> str:
        claimed = self.it.replay
        if claimed is None:
            raise Skipped("the certificate speaks of no replay")
        equal = claimed.adapter_id == self.it.latest.adapter_id
        same("exact", claimed.exact, equal)
        held = self.cache.load(claimed.adapter_id) is not None
        where = (
            "its adapter is held and hashes to its id" if held else "its adapter was not reached"
        )
        relation = "the same bytes as" if equal else "other bytes than"
        return f"a run without {self.it.withdrawal.name} gave {relation} the model after ({where})"

    def evaluation(self) -> str:
        claimed = self.it.evaluation
        if claimed is None:
            raise Skipped("the certificate holds no evaluation")
        reached = 0
        for name, expected in sorted(claimed.files.items()):
            path = self.folder / name
            if not path.resolve().is_relative_to(self.folder.resolve()) or not path.is_file():
                continue
            reached += 1
            same(f"hash of {name}", expected, hashlib.sha256(path.read_bytes()).hexdigest())
        if not reached:
            raise Skipped("the evaluation's files cannot be reached; its figures are the issuer's")
        return f"{reached} files as the issuer measured them (the figures are the issuer's claim)"

    def _withdrawal(self) -> Withdrawal:
        known = {w.id: w for w in self.consortium.withdrawals()}
        number = self.it.withdrawal.withdrawal_id
        if number not in known:
            raise VerificationError(f"there is no withdrawal {number} on chain")
        return known[number]

    def _excludes(self) -> bool:
        """Whether all of the organization is gone."""
        return self.it.method in ("removal", "replay") and not self.it.withdrawal.subject

    def _check_change(self, pair: ReplacedPart) -> None:
        leaver = self.it.withdrawal.organization
        before = [t.term() for t in pair.before.terms]
        after = [t.term() for t in pair.after.terms]
        if self.it.method == "removal" and after != without(
            before, [leaver], self.it.consortium.layout
        ):
            raise VerificationError("what remains is not everybody else's deltas, re-weighted")
        if self.it.method == "replacement":
            if len(before) != len(after):
                raise VerificationError("a replacement changed the number of deltas")
            changed = [b for b, a in zip(before, after, strict=True) if b != a]
            if {t.organization for t in changed} != {leaver}:
                raise VerificationError("deltas other than the organization's own were replaced")
        if self.it.method == "counter-training":
            added = [t for t in after if t not in before]
            if [t for t in after if t in before] != before or any(t.round_id for t in added):
                raise VerificationError("more than a counter-delta was changed")
        if self._excludes() and any(t.organization == leaver for t in after):
            raise VerificationError(f"a delta of {leaver} is in the model after")

    def _check_equation(self, pair: ReplacedPart) -> None:
        before, after = pair.before, pair.after
        expected = equation((t.term() for t in before.terms), (t.term() for t in after.terms))
        if pair.equation != expected:
            raise VerificationError("the equation is not the difference of the two models")
        self.cache.learn_digests(pair.proofs)
        roots = [t.digest_root for t in pair.equation] + [before.digest_root]
        lacking = [root for root in roots if self.cache.digest(root) is None]
        if lacking:
            raise Skipped(f"{len(lacking)} digests are neither on chain nor among the artifacts")
        total = self.cache.known_digest(before.digest_root)
        for term in pair.equation:
            total = total + term.coefficient * self.cache.known_digest(term.digest_root)
        same(f"digest of model {after.model_id}", after.digest_root, total.root)

    def _resum(self, model: ModelPart) -> None:
        terms: list[Term] = [t.term() for t in model.terms]
        missing = [t.artifact_id for t in terms if self.cache.load(t.artifact_id) is None]
        if missing:
            raise Skipped(f"{len(missing)} of {len(terms)} deltas cannot be reached")
        if model.adapter_id == NO_ADAPTER:
            return
        found = artifact_id(encode(adapter_totals(terms, self.cache.delta)))
        same(f"sum of the deltas of model {model.model_id}", model.adapter_id, found)
