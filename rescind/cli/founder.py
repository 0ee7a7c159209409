"""rescind deploy, rescind admit, rescind revoke, rescind sweep: the founder's commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rescind.cli.chain_access import sending_chain
from rescind.cli.options import (
    ConfirmationsOption,
    JsonOption,
    KeystoreOption,
    MaxFeeOption,
    PasswordOption,
    RequiredContractsOption,
    RequiredRpcOption,
)
from rescind.cli.parsing import address
from rescind.cli.printing import out, print_facts, reported_errors
from rescind.cli.toml_files import load_config
from rescind.core.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from rescind.contracts import (
        Consortium,
        DeploySettings,
    )

_AGREED = (
    "parameters_id",
    "base_model_id",
    "rules",
    "chained",
    "max_rounds",
    "max_members",
)
"""Settings that parameters.json already holds."""


def deploy_command(
    settings: Annotated[Path, typer.Argument(help="TOML file; docs/deploy.md has its keys.")],
    rpc: RequiredRpcOption,
    keystore: KeystoreOption,
    password_file: PasswordOption,
    contracts: Annotated[Path, typer.Option("--out", help="Where to write contracts.json.")],
    confirmations: ConfirmationsOption = 0,
    max_fee_gwei: MaxFeeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Deploy a consortium's contracts. The keystore's account pays the gas and becomes the founder.

    If it was interrupted, the same command goes on with the same addresses.
    """
    from rescind.contracts import deploy
    from rescind.daemon import open_keystore

    with reported_errors():
        agreed = read_settings(settings)
        if contracts.exists():
            raise ConfigError(f"{contracts} exists already. Choose a new file.")
        if not contracts.parent.is_dir():
            raise ConfigError(f"{contracts.parent} is not a folder. Create it first.")
        founder = open_keystore(keystore, password_file)
        chain = sending_chain(rpc, confirmations, max_fee_gwei)
        deployment = deploy(chain, founder, agreed, contracts)
        facts = {"founder": founder.address, **deployment.model_dump(), "contracts": str(contracts)}
        print_facts(facts, as_json=as_json)
        if not as_json:
            out.print("\nNext: rescind admit, for each organization, before the first one joins.")


def admit_command(
    organization: Annotated[str, typer.Argument(help="Ethereum address.")],
    name: Annotated[str, typer.Option(help="The organization's name.")],
    rpc: RequiredRpcOption,
    contracts: RequiredContractsOption,
    keystore: KeystoreOption,
    password_file: PasswordOption,
    confirmations: ConfirmationsOption = 0,
    max_fee_gwei: MaxFeeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Admit an organization. Only the founder can, and only before the first organization joins."""
    with reported_errors():
        member = address(organization)
        consortium = _founders(rpc, contracts, keystore, password_file, confirmations, max_fee_gwei)
        with _explained(consortium):
            receipt = consortium.admit(member, name)
        facts = {"organization": member, "name": name, "transaction": receipt.tx_hash}
        print_facts(facts, as_json=as_json)


def revoke_command(
    organization: Annotated[str, typer.Argument(help="Ethereum address.")],
    rpc: RequiredRpcOption,
    contracts: RequiredContractsOption,
    keystore: KeystoreOption,
    password_file: PasswordOption,
    confirmations: ConfirmationsOption = 0,
    max_fee_gwei: MaxFeeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take an admission back. Only the founder can, and only before the first organization joins."""
    with reported_errors():
        member = address(organization)
        consortium = _founders(rpc, contracts, keystore, password_file, confirmations, max_fee_gwei)
        with _explained(consortium):
            receipt = consortium.revoke_admission(member)
        print_facts({"organization": member, "transaction": receipt.tx_hash}, as_json=as_json)


def sweep_command(
    rpc: RequiredRpcOption,
    contracts: RequiredContractsOption,
    keystore: KeystoreOption,
    password_file: PasswordOption,
    confirmations: ConfirmationsOption = 0,
    max_fee_gwei: MaxFeeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take what is left in the reward pool, the exit delay after the last member left. Founder only."""
    with reported_errors():
        consortium = _founders(rpc, contracts, keystore, password_file, confirmations, max_fee_gwei)
        left = consortium.pool()
        receipt = consortium.sweep()
        print_facts({"swept_wei": left, "transaction": receipt.tx_hash}, as_json=as_json)


def _founders(
    rpc: Sequence[str],
    contracts: Path,
    keystore: Path,
    password_file: Path,
    confirmations: int,
    max_fee_gwei: float | None,
) -> Consortium:
    from rescind.contracts import Consortium, Deployment
    from rescind.daemon import open_keystore

    deployment = Deployment.load(contracts)
    founder = open_keystore(keystore, password_file)
    chain = sending_chain(rpc, confirmations, max_fee_gwei, deployment.chain_id)
    consortium = Consortium(chain, deployment, founder)
    consortium.check()
    return consortium


@contextmanager
def _explained(consortium: Consortium) -> Iterator[None]:
    """Say what to do when the contract asks for a vote."""
    from rescind.contracts import ContractRefused

    try:
        yield
    except ContractRefused as error:
        if error.reason != "NotGovernance":
            raise
        account = consortium.account.address if consortium.account else ""
        raise ContractRefused(
            f"{account} cannot do this: it is not the founder, or an organization has already "
            "joined. A member can propose it: rescind govern propose admit, or revoke",
            error.reason,
        ) from error


def read_settings(path: Path) -> DeploySettings:
    """Return the settings of a deployment file.

    Its keys are those of DeploySettings, except for what the agreed parameters.json already says.

    Raises:
        ConfigError: The file or the parameters cannot be read, or a value is not allowed.
    """
    from pydantic import ValidationError

    from rescind.contracts import DeploySettings, agreed_settings
    from rescind.core import ConsortiumParameters

    content = load_config(path, _form()).model_dump()
    document = content.pop("parameters")
    try:
        parameters = ConsortiumParameters.parse(document.read_bytes())
    except OSError as error:
        raise ConfigError(f"{document} cannot be read: {error.strerror}.") from error
    attested = content.pop("attested")
    try:
        return DeploySettings(
            **agreed_settings(parameters),
            **({} if attested is None else {"attested": attested}),
            **content,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{document}: {where}: {first['msg'].lower()}") from error


def _form() -> type[BaseModel]:
    """Return the form of a deployment file."""
    from pydantic import ConfigDict, create_model

    from rescind.contracts import DeploySettings

    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in DeploySettings.model_fields.items()
        if name not in _AGREED
    }
    # By default auditors attest rounds where sums are not opened term by term.
    fields["attested"] = (bool | None, None)
    return create_model(
        "DeployFile",
        __config__=ConfigDict(frozen=True, extra="forbid"),
        parameters=(Path, ...),
        **fields,
    )
