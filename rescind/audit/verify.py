"""Check of a certificate: a table of checks, in the order in which they are made.

No statement in the file is trusted: each is compared with the chain, and with artifacts where they
are at hand. It needs neither torch nor the aggregator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rescind.audit import artifact_checks, chain_checks, evidence_check, heads, opened
from rescind.audit.certificate import read_certificate
from rescind.audit.checks import Check, Verification, make
from rescind.audit.subject import Inputs, Subject
from rescind.contracts import Chain, Consortium, EventIndex
from rescind.core.errors import VerificationError


@dataclass(frozen=True)
class Step:
    """One check.

    Attributes:
        name: Its name.
        code: Exit code if it is the first that fails.
        check: Returns what it found, or raises.
        needed: Whether later checks mean nothing once it has failed.
    """

    name: str
    code: int
    check: Callable[[Subject], str]
    needed: bool = False


FILE_CODE = 40

STEPS = (
    # 1. Which consortium, and whether its contracts are what was published.
    Step("pinned", 58, chain_checks.pinned),
    Step("chain", 41, chain_checks.chain, needed=True),
    Step("contracts", 42, chain_checks.contracts, needed=True),
    Step("agreement", 44, chain_checks.agreement, needed=True),
    # 2. What the chain says of the withdrawal and of the models that it concerned.
    Step("withdrawal", 45, chain_checks.withdrawal, needed=True),
    Step("models", 46, chain_checks.models, needed=True),
    Step("removed", 47, chain_checks.removed),
    Step("clean", 48, chain_checks.clean),
    Step("commitments", 59, chain_checks.commitments),
    # 3. What auditors vouch for.
    Step("attested", 57, evidence_check.attested),
    Step("measurements", 70, evidence_check.measurements),
    Step("rounds", 69, chain_checks.rounds),
    # 4. What the artifacts at hand show.
    Step("artifacts", 49, artifact_checks.artifacts),
    Step("contributions", 67, artifact_checks.contributions),
    Step("arithmetic", 50, artifact_checks.arithmetic),
    Step("adapter", 56, opened.adapter),
    Step("heads", 71, heads.heads),
    # 5. What the maker of the file adds.
    Step("replay", 51, artifact_checks.replay),
    Step("evaluation", 52, artifact_checks.evaluation),
)

CHECKS: dict[str, int] = {"file": FILE_CODE, **{step.name: step.code for step in STEPS}}
"""Every check, in the order in which it is made, with the exit code of its failure."""


def verify(
    path: Path,
    *,
    rpc_url: str | Sequence[str],
    agree: int = 1,
    inputs: Inputs | None = None,
    index: Path | None = None,
) -> Verification:
    """Check a certificate; checks that need a failed one are left out.

    Args:
        path: The certificate.
        rpc_url: URL of an Ethereum node that you trust; of several the first that answers is asked.
        agree: How many of the URLs must give the same answers.
        inputs: What else is at hand.
        index: A file for the contracts' events; without it they are kept in memory.

    Raises:
        ChainUnavailable: The chain does not answer.
        ConfigError: The index is another consortium's, or another file.
    """
    try:
        certificate = read_certificate(path)
    except VerificationError as error:
        return Verification((Check("file", "failed", str(error)),), CHECKS)
    deployment = certificate.consortium.deployment
    chain = Chain(rpc_url, agree=agree)
    consortium = Consortium(chain, deployment, index=EventIndex(chain, deployment, index))
    subject = Subject(certificate, consortium, path.parent, inputs or Inputs())
    results = [Check("file", "passed", "canonical bytes of a certificate")]
    for step in STEPS:
        result = make(step.name, partial(step.check, subject))
        results.append(result)
        if result.status == "failed" and step.needed:
            return Verification(tuple(results), CHECKS, deployment.addresses())
    owners = () if any(each.status == "failed" for each in results) else opened.standings(subject)
    return Verification(tuple(results), CHECKS, deployment.addresses(), owners)
