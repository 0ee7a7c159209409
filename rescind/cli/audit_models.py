"""rescind audit models|lineage|content|clean|containing|commitments: queries of models.

The contract answers content, clean and containing itself, in pages.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rescind.cli.chain_access import open_consortium
from rescind.cli.options import (
    ContractsOption,
    IndexOption,
    JsonOption,
    RpcOption,
    RunArgument,
    RunOption,
)
from rescind.cli.printing import out, plain, print_facts, print_json, print_rows, reported_errors

if TYPE_CHECKING:
    from rescind.audit import ModelRow

models_app = typer.Typer()

ModelOption = Annotated[
    int | None, typer.Option("--model", help="Number of one model. Default: all.")
]
ModelArgument = Annotated[int, typer.Argument(min=0, help="Number of the model.")]
OrganizationArgument = Annotated[str, typer.Argument(help="Name or address of an organization.")]


@models_app.command("models")
def audit_models(
    run: RunArgument = None,
    organization: Annotated[
        str | None,
        typer.Option(
            help="Name or address of an organization: also show whether each model is free of it."
        ),
    ] = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """List models: their origin, whether they are in use or stale, and their commitments."""
    from rescind import audit

    columns = [
        ("model_id", "model"),
        ("kind", "kind"),
        ("source", "after"),
        ("last_round", "last round"),
        ("contributions", "contributions"),
        ("in_use", "in use"),
        ("stale", "stale"),
        ("released", "released"),
        ("commitments", "commitment"),
        ("adapter_id", "published as"),
    ]
    with reported_errors():
        consortium = open_consortium(run, rpc, contracts, index)
        address = None if organization is None else audit.organization(consortium, organization)
        rows = audit.models(consortium, address)
        if address is not None:
            columns.insert(1, ("clean", "clean"))
        print_rows(rows, columns, as_json=as_json)
        if address is not None and not as_json:
            held = [str(row.model_id) for row in rows if not row.clean]
            out.print(plain(f"models that contain {organization}: {', '.join(held) or 'none'}"))


@models_app.command("lineage")
def audit_lineage(
    run: RunArgument = None,
    model: ModelOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the contributions that each model consists of."""
    from rescind import audit

    with reported_errors():
        rows = audit.lineage(open_consortium(run, rpc, contracts, index), model)
        if as_json:
            print_json([asdict(row) for row in rows])
            return
        for row in rows:
            _show_model(row)


def _show_model(row: ModelRow) -> None:
    removed = f", without {', '.join(row.removed)}" if row.removed else ""
    commitments = ", ".join(f"{each[:16]}..." for each in row.commitments)
    out.print(
        plain(
            f"model {row.model_id} ({row.kind}{removed}), after model {row.source}, rounds up to "
            f"{row.last_round}, commitment {commitments}"
        ),
        style="bold",
    )
    for published in row.publications:
        out.print(
            plain(
                f"  published by {published.publisher}: adapter {published.adapter_id[:16]}..., "
                f"opening {published.opening_id[:16]}..."
            )
        )
    for amendment in row.amendments:
        requester = f" of {amendment.name}" if amendment.name else ""
        origin = f", points of {amendment.offered_for}" if amendment.offered_for else ""
        out.print(plain(f"  amendment {amendment.number}: {amendment.kind}{requester}{origin}"))
    for entry in row.content:
        origin = f"round {entry.round_id}" if entry.round_id else "counter"
        out.print(
            plain(
                f"  {origin}  {entry.name:<12} weight {entry.weight:>6}  "
                f"artifact {entry.artifact_id[:16]}...  point {entry.point_hash[:16]}..."
            )
        )


@models_app.command("content")
def audit_content(
    model: ModelArgument,
    run: RunOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the contributions in a model with weight and point. Round 0: a counter-delta."""
    from rescind import audit

    columns = [
        ("part", "part"),
        ("round_id", "round"),
        ("name", "organization"),
        ("weight", "weight"),
        ("point_hash", "point"),
        ("artifact_id", "artifact"),
    ]
    with reported_errors():
        rows = audit.content(open_consortium(run, rpc, contracts, index), model)
        print_rows(rows, columns, as_json=as_json)


@models_app.command("clean")
def audit_clean(
    model: ModelArgument,
    organization: OrganizationArgument,
    run: RunOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether a model holds nothing of an organization."""
    from rescind import audit

    with reported_errors():
        consortium = open_consortium(run, rpc, contracts, index)
        address = audit.organization(consortium, organization)
        facts = {
            "model": model,
            "organization": address,
            "clean": audit.is_clean(consortium, model, address),
        }
        print_facts(facts, as_json=as_json)


@models_app.command("containing")
def audit_containing(
    organization: OrganizationArgument,
    run: RunOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the models that hold a contribution of an organization, and which of them are in use."""
    from rescind import audit

    with reported_errors():
        consortium = open_consortium(run, rpc, contracts, index)
        address = audit.organization(consortium, organization)
        models = consortium.models_containing(address)
        in_use = consortium.models_in_use()
        facts = {
            "organization": address,
            "models": models,
            "in_use": [each for each in models if each in in_use],
        }
        print_facts(facts, as_json=as_json)


@models_app.command("commitments")
def audit_commitments(
    run: RunArgument = None,
    model: ModelOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the commitment of each model: the point, and its hash on chain."""
    from rescind import audit

    columns = [
        ("model_id", "model"),
        ("part", "part"),
        ("commitment", "commitment"),
        ("point", "point"),
    ]
    with reported_errors():
        rows = audit.commitments(open_consortium(run, rpc, contracts, index), model)
        print_rows(rows, columns, as_json=as_json)
