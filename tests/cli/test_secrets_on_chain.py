"""A chain that answers, but is the wrong one: nothing about it shows the key in its URL."""

from pathlib import Path

import pytest

from rescind.contracts import Deployment
from rescind.contracts.deployment import NAMES
from tests.support.chain import Anvil
from tests.support.files import rescind

SECRETS = ("s3cretuser", "s3cretword", "s3cretquery")


@pytest.mark.parametrize(("chain_id", "message"), [(1, "is chain 31337"), (31337, "is not at")])
def test_a_wrong_chain_and_missing_contracts_are_reported_without_the_key(
    tmp_path: Path, anvil: Anvil, chain_id: int, message: str
) -> None:
    addresses = {name.lower(): f"0x{n:040d}" for n, name in enumerate(NAMES, start=1)}
    Deployment(chain_id=chain_id, block=1, **addresses).save(tmp_path / "contracts.json")
    url = anvil.url.replace("http://", "http://s3cretuser:s3cretword@") + "/?key=s3cretquery"
    done = rescind("audit", "members", "--rpc", url, "--contracts", tmp_path / "contracts.json")
    assert done.exit_code == 15, done.output
    assert message in " ".join(done.output.split())
    assert anvil.url in done.output
    for secret in SECRETS:
        assert secret not in done.output
