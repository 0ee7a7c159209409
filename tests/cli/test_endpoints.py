"""Several RPC endpoints in a configuration, in options and in the environment."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from rescind.cli.endpoints import NamedEndpoints
from rescind.contracts import Deployment
from rescind.contracts.deployment import NAMES
from rescind.core import write_private
from rescind.core.errors import ConfigError
from rescind.daemon.config import ChainSettings
from tests.support.files import rescind

FIRST, SECOND = "http://127.0.0.1:1/v3/s3cretpath", "http://user:s3cret@127.0.0.1:2/?key=a,b"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RESCIND_RPC", "RESCIND_AGREE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    addresses = {name.lower(): f"0x{n:040d}" for n, name in enumerate(NAMES, start=1)}
    facts = {"chain_id": 31337, "block": 1, **addresses}
    fields = {name: facts[name] for name in Deployment.model_fields if name in facts}
    write_private(tmp_path / "contracts.json", json.dumps(fields).encode())
    return tmp_path / "contracts.json"


def settings(**changed: object) -> ChainSettings:
    given = {"rpc_url": FIRST, "chain_id": 1, "contracts": "contracts.json", **changed}
    return ChainSettings.model_validate(given)


def test_a_configuration_names_one_endpoint_or_several() -> None:
    assert settings().rpc_url == (FIRST,)
    assert settings(rpc_url=[FIRST, SECOND], agree=2).rpc_url == (FIRST, SECOND)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"rpc_url": []}, "name at least one endpoint"),
        ({"rpc_url": 5}, "rpc_url"),
        ({"agree": 0}, "agree"),
        ({"agree": 2}, "agree is 2, but rpc_url names 1 different endpoints"),
        ({"agree": 2, "rpc_url": [FIRST, FIRST]}, "rpc_url names 1 different endpoints"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(
    changed: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        settings(**changed)


def test_the_pages_example_is_a_configuration() -> None:
    page = (Path(__file__).parents[2] / "docs" / "chains.md").read_text(encoding="utf-8")
    example = tomllib.loads(page.split("```toml\n")[1].split("```")[0])
    assert len(ChainSettings.model_validate(example["chain"]).rpc_url) == 3


def test_the_environment_names_endpoints_where_no_option_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert NamedEndpoints.of(None) == NamedEndpoints(())
    monkeypatch.setenv("RESCIND_RPC", f"{FIRST}, {SECOND},")
    monkeypatch.setenv("RESCIND_AGREE", "2")
    assert NamedEndpoints.of(None).urls == (FIRST, SECOND)
    monkeypatch.setenv("RESCIND_RPC", f"{FIRST},{SECOND}")
    assert NamedEndpoints.of(None) == NamedEndpoints((FIRST, SECOND), 2)
    assert NamedEndpoints.of(["http://other"]).urls == ("http://other",)
    monkeypatch.setenv("RESCIND_AGREE", "two")
    with pytest.raises(ConfigError, match="RESCIND_AGREE is 'two'"):
        NamedEndpoints.of(None)


def test_a_command_names_every_endpoint_that_fails_and_no_key(contracts: Path) -> None:
    asked = ["audit", "members", "--contracts", contracts]
    done = rescind(*asked, "--rpc", FIRST, "--rpc", SECOND)
    assert done.exit_code == 15, done.output
    assert "none of the 2 endpoints answers" in done.output
    assert "http://127.0.0.1:1 cannot be reached" in done.output
    assert "http://127.0.0.1:2 cannot be reached" in done.output
    assert "s3cret" not in done.output


def test_a_command_takes_endpoints_from_the_environment(
    contracts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESCIND_RPC", f"{FIRST},{SECOND}")
    monkeypatch.setenv("RESCIND_AGREE", "3")
    done = rescind("audit", "members", "--contracts", contracts)
    assert done.exit_code == 10, done.output
    assert "agree is 3, but rpc_url names 2 different endpoints" in done.output


def test_nothing_named_is_one_clear_error(contracts: Path) -> None:
    done = rescind("audit", "members", "--contracts", contracts)
    assert done.exit_code == 10
    assert "--rpc URL" in done.output
