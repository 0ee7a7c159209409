import json
from pathlib import Path

import pytest

from rescind.contracts import Deployment, MemberStatus
from rescind.core import write_private
from tests.support.chain import ETHER, Anvil
from tests.support.consortium import micro_parameters
from tests.support.files import (
    PASSWORD,
    key_options,
    rescind,
    save_key,
)

AGGREGATOR = "0x26BA9fEB65A16Ce9e3322b4A368987dDBBDb46eF"
SETTINGS = f"""
parameters = "parameters.json"
aggregator = "{AGGREGATOR}"
commit_seconds = 60
bond_wei = 2_000_000_000_000_000_000
"""


@pytest.fixture
def folder(tmp_path: Path, anvil: Anvil) -> Path:
    (tmp_path / "parameters.json").write_bytes(micro_parameters().canonical_bytes())
    write_private(tmp_path / "password", f"{PASSWORD}\n".encode())
    (tmp_path / "consortium.toml").write_text(SETTINGS)
    save_key(tmp_path, "founder", anvil.funded())
    return tmp_path


def deploy(folder: Path, anvil: Anvil, key: str = "founder", *more: str):
    words = [folder / "consortium.toml", "--rpc", anvil.url, "--out", folder / "contracts.json"]
    return rescind("deploy", *words, *key_options(folder, key), *more)


def test_the_founder_deploys_and_admits_until_the_first_one_joins(
    folder: Path, anvil: Anvil
) -> None:
    done = deploy(folder, anvil, "founder", "--json")
    assert done.exit_code == 0, done.output
    deployment = Deployment.load(folder / "contracts.json")
    assert json.loads(done.output)["members"] == deployment.members
    from rescind.contracts import Consortium

    record = Consortium(anvil.chain, deployment)
    assert record.aggregator() == AGGREGATOR
    assert record.member_terms().bond == 2 * ETHER
    assert record.settings().parameters_id == micro_parameters().id
    assert not record.settings().attested

    chain = ["--rpc", anvil.url, "--contracts", folder / "contracts.json"]
    founder = key_options(folder, "founder")
    first, second = anvil.funded(), anvil.funded()
    words = ["admit", first.address, "--name", "a", *chain]
    admitted = rescind(*words, *founder, "--json")
    assert admitted.exit_code == 0, admitted.output
    assert record.member(first.address).status is MemberStatus.ADMITTED
    twice = rescind(*words, *founder)
    assert twice.exit_code == 15
    assert "AlreadyAdmitted" in twice.output

    revoked = rescind("revoke", first.address, *chain, *founder)
    assert revoked.exit_code == 0, revoked.output
    assert record.member(first.address).status is MemberStatus.NONE
    assert rescind(*words, *founder).exit_code == 0

    Consortium(anvil.chain, deployment, first).join("01" * 32, b"\x01")
    late = rescind("admit", second.address, "--name", "b", *chain, *founder)
    assert late.exit_code == 15
    assert "rescind govern propose admit" in late.output
    assert record.member(second.address).status is MemberStatus.NONE

    again = deploy(folder, anvil)
    assert again.exit_code == 10
    assert "exists already" in again.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("commit_seconds", "comit_seconds"),
            "unknown key comit_seconds. Allowed keys: aggregator",
        ),
        (("parameters.json", "none.json"), "none.json cannot be read"),
        ((AGGREGATOR, AGGREGATOR.lower()), "not an address in EIP-55 form"),
        (("= 60", "= -1"), "commit_seconds: input should be greater than 0"),
        (("= 60", "= 0"), "commit_seconds: input should be greater than 0"),
        (("= 60", "= 400_000_000"), "commit_seconds: input should be less than or equal to"),
        (("= 2_000", "= -2_000"), "bond_wei: input should be greater than or equal to 0"),
        (('parameters = "parameters.json"', ""), "parameters: field required"),
        (("commit_seconds", "chained = true\ncommit_seconds"), "unknown key chained"),
    ],
)
def test_bad_settings_name_file_and_key(
    folder: Path, anvil: Anvil, change: tuple[str, str], message: str
) -> None:
    (folder / "consortium.toml").write_text(SETTINGS.replace(*change))
    done = deploy(folder, anvil)
    assert done.exit_code == 10, done.output
    assert message in done.output
    assert not (folder / "contracts.json").exists()


def test_parameters_in_another_encoding_are_refused(folder: Path, anvil: Anvil) -> None:
    loose = json.dumps(json.loads((folder / "parameters.json").read_text()), indent=1)
    (folder / "parameters.json").write_text(loose)
    done = deploy(folder, anvil)
    assert done.exit_code == 10
    assert "canonical form" in done.output


def test_a_founder_without_funds_or_a_wrong_password_deploys_nothing(
    folder: Path, anvil: Anvil
) -> None:
    from rescind.contracts import Account

    save_key(folder, "poor", Account.from_key("0x" + "11" * 32))
    poor = deploy(folder, anvil, "poor")
    assert poor.exit_code == 15
    assert "pool_wei" in poor.output
    write_private(folder / "password", b"wrong\n")
    wrong = deploy(folder, anvil)
    assert wrong.exit_code == 15
    assert "wrong password" in wrong.output
    (folder / "password").unlink()
    missing = deploy(folder, anvil)
    assert missing.exit_code == 10
    assert "password file" in missing.output
    assert not (folder / "contracts.json").exists()


def test_only_the_founder_can_admit(folder: Path, anvil: Anvil) -> None:
    assert deploy(folder, anvil).exit_code == 0
    save_key(folder, "other", anvil.funded())
    chain = ["--rpc", anvil.url, "--contracts", folder / "contracts.json"]
    words = ["admit", AGGREGATOR, "--name", "a", *chain]
    done = rescind(*words, *key_options(folder, "other"))
    assert done.exit_code == 15
    assert "it is not the founder" in done.output


def test_the_docs_name_every_key_of_the_settings() -> None:
    from rescind.contracts import DeploySettings

    text = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text()
    given = {"parameters_id", "base_model_id", "rules", "chained"}
    for key in set(DeploySettings.model_fields) - given:
        assert f"`{key}`" in text, key
