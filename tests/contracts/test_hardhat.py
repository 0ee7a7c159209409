"""The same client on Anvil and on Hardhat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rescind.contracts import (
    Account,
    Chain,
    ContractRefused,
    MemberStatus,
    RoundState,
    WithdrawalMethod,
    WithdrawalState,
    WrongChain,
    check_precompiles,
    next_piece,
)
from rescind.core.errors import ChainError
from tests.support.chain import ETHER, Anvil, start_anvil, start_hardhat
from tests.support.consortium import ChainConsortium, make_consortium


@pytest.fixture(scope="module", params=["anvil", "hardhat"])
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Anvil]:
    if request.param == "anvil":
        with start_anvil(seed=5) as anvil:
            yield anvil
        return
    with start_hardhat(tmp_path_factory.mktemp("hardhat"), seed=5) as hardhat:
        yield hardhat


@pytest.fixture(scope="module")
def consortium(node: Anvil) -> ChainConsortium:
    return make_consortium(node, exit_seconds=0)


def test_a_round_is_played_and_a_member_removed(consortium: ChainConsortium) -> None:
    public = consortium.of()
    round_id = consortium.play_round(np.random.default_rng(0))
    assert public.round(round_id).state is RoundState.FINAL
    client = consortium.of(consortium.organizations[0])
    client.request_withdrawal(WithdrawalMethod.REMOVAL)
    consortium.fold()
    assert next_piece(public) is None
    consortium.of(consortium.aggregator).close_withdrawal(1)
    assert public.withdrawals()[0].state is WithdrawalState.CLOSED
    assert public.is_clean(public.latest_model_id(), consortium.organizations[0].address)


def test_the_events_are_read_in_the_order_of_the_chain(consortium: ChainConsortium) -> None:
    events = list(consortium.of().events())
    assert [event.block for event in events] == sorted(event.block for event in events)
    joined = [event.args["organization"] for event in events if event.name == "Joined"]
    assert joined == [account.address for account in consortium.organizations]


def test_a_refusal_is_in_the_contracts_own_words(consortium: ChainConsortium) -> None:
    member = consortium.organizations[1].address
    with pytest.raises(ContractRefused) as refused:
        consortium.of(consortium.founder).admit(member, "again")
    assert refused.value.reason
    assert "rescind" in str(refused.value) or "joined already" in str(refused.value)
    assert consortium.of().member(member).status is MemberStatus.ACTIVE


def test_a_read_that_reverts_is_explained(consortium: ChainConsortium) -> None:
    with pytest.raises(ContractRefused, match=r"UnknownModel|refused"):
        consortium.of().content(999)


def test_an_account_without_ether_sends_nothing(consortium: ChainConsortium) -> None:
    poor = Account.from_key("0x" + "13" * 32)
    chain = consortium.anvil.chain
    assert chain.balance(poor.address) == 0
    with pytest.raises(ChainError, match="has 0 ether"):
        chain.send(poor, {"to": consortium.founder.address, "value": ETHER, "data": "0x"})
    assert chain.nonce(poor.address) == 0


def test_the_time_of_the_next_block_is_not_in_the_past(node: Anvil) -> None:
    chain = Chain(node.url)
    before = chain.now()
    node.pass_time(100)
    assert chain.now() >= before + 100
    assert chain.time_of(chain.final_block_number()) <= chain.now()


def test_a_state_of_a_past_block_is_read(consortium: ChainConsortium) -> None:
    public = consortium.of()
    block = public.deployment.block
    assert public.at(block).current_round_id() == 0
    assert public.current_round_id() == 1


@pytest.mark.parametrize("kind", ["anvil", pytest.param("hardhat", marks=pytest.mark.slow)])
def test_a_chain_without_eip_2537_is_refused(tmp_path: Path, kind: str) -> None:
    starting = (
        start_anvil(options=["--hardfork", "cancun"])
        if kind == "anvil"
        else start_hardhat(tmp_path, hardfork="cancun")
    )
    with starting as node, pytest.raises(WrongChain, match="EIP-2537"):
        check_precompiles(node.chain)
