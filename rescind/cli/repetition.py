"""rescind audit sample|witness: rounds of a replay that organizations repeat before an auditor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rescind.cli.chain_access import open_consortium
from rescind.cli.options import (
    ContractsOption,
    JsonOption,
    KeystoreOption,
    PasswordOption,
    RpcOption,
    RunOption,
)
from rescind.cli.printing import out, plain, print_facts, print_json, reported_errors
from rescind.core.errors import VerificationError

repetition_app = typer.Typer()


@repetition_app.command("sample")
def audit_sample(
    withdrawal: Annotated[int, typer.Argument(min=1, help="A replay that waits for auditors.")],
    share: Annotated[
        float | None,
        typer.Option(help="Share of the rounds, if the consortium agreed on another than 0.25."),
    ] = None,
    run: RunOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which rounds each organization must repeat, drawn by a block's hash. Anyone can."""
    from rescind.core import AttestationLimits
    from rescind.withdrawals import draw_samples

    with reported_errors():
        reader = open_consortium(run, rpc, contracts)
        asked = reader.withdrawal(withdrawal)
        limits = AttestationLimits() if share is None else AttestationLimits(sample=share)
        samples = draw_samples(reader, asked, limits.sample)
        if as_json:
            print_json(
                {
                    organization: {
                        "block": sample.block,
                        "block_hash": sample.block_hash,
                        "rounds": list(sample.rounds),
                    }
                    for organization, sample in samples.items()
                }
            )
            return
        for organization, sample in samples.items():
            rounds = ", ".join(map(str, sample.rounds))
            text = f"{organization}: rounds {rounds}, drawn by block {sample.block}"
            out.print(plain(text), soft_wrap=True)
        if not samples:
            out.print("No organization offered a round for this withdrawal.")


@repetition_app.command("witness")
def audit_witness(
    report: Annotated[Path, typer.Argument(help="The report that `rescind node repeat` wrote.")],
    keystore: KeystoreOption,
    password_file: PasswordOption,
    digest: Annotated[
        str | None,
        typer.Option("--digest", help="The SHA-256 that the tool showed you on the machine."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """As an auditor who watched rounds being repeated, sign the report, in its file."""
    from rescind.daemon import open_keystore
    from rescind.withdrawals import Repetition

    with reported_errors():
        read = Repetition.read(report)
        own = sha256_of(report)
        if digest is not None and digest.lower() != own:
            raise VerificationError(
                f"{report} has SHA-256 {own}, and the tool showed {digest}: it is another report. "
                "Do not sign it."
            )
        signed = read.witnessed(open_keystore(keystore, password_file))
        signed.save(report)
        facts = {
            "report": str(report),
            "organization": signed.organization,
            "rounds": [part.round_id for part in signed.rounds],
            "witness": signed.witness,
        }
        print_facts(facts, as_json=as_json)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()
