"""The chain of a run: chains that cannot carry a consortium, and Hardhat's, which keeps no state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rescind.contracts import WrongChain, deploy
from rescind.devnet import RunFolder
from rescind.devnet.layout import RunFacts
from tests.contracts.deploy_settings import settings
from tests.support.chain import Anvil, start_anvil
from tests.support.files import rescind
from tests.support.rpc_proxy import rpc_proxy


@pytest.fixture(scope="module")
def cancun() -> Iterator[Anvil]:
    """A chain from before the Prague upgrade."""
    with start_anvil(seed=6, options=["--hardfork", "cancun"]) as anvil:
        yield anvil


def test_a_deployment_without_eip_2537_is_refused_before_anything_is_sent(cancun: Anvil) -> None:
    founder = cancun.funded()
    with pytest.raises(WrongChain, match="without the BLS12-381 precompiles of EIP-2537"):
        deploy(cancun.chain, founder, settings())
    assert cancun.chain.nonce(founder.address) == 0


def test_devnet_init_without_eip_2537_is_refused_before_anything_is_written(
    cancun: Anvil, tmp_path: Path
) -> None:
    with rpc_proxy(cancun.url) as provider:
        done = rescind("devnet", "init", tmp_path / "run", "--rpc", provider.url, "--orgs", "2")
    assert done.exit_code == 15
    assert "EIP-2537" in done.output
    assert "Prague" in done.output
    assert not (tmp_path / "run").exists()


def test_devnet_init_on_a_chain_that_gives_no_ether_names_the_other_way(
    anvil: Anvil, tmp_path: Path
) -> None:
    with rpc_proxy(anvil.url, "no-dev-methods") as provider:
        done = rescind("devnet", "init", tmp_path / "run", "--rpc", provider.url, "--orgs", "2")
    assert done.exit_code == 15
    assert "rescind deploy" in done.output
    assert not RunFolder(tmp_path / "run").facts_file.exists()


def test_hardhats_chain_cannot_be_started_again(tmp_path: Path) -> None:
    facts = RunFacts(
        seed=0,
        coupling="isolated",
        model="model",
        rounds=1,
        chain_id=31337,
        chain="hardhat",
        chain_port=1,
        aggregator_port=2,
        organizations={},
    )
    RunFolder(tmp_path).save(facts)
    done = rescind("devnet", "up", tmp_path)
    assert done.exit_code == 15
    assert "in memory" in done.output
    assert "--chain anvil" in done.output
