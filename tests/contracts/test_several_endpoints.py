"""A consortium through several providers that misbehave, each in its own way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest

from rescind.contracts import Chain, ChainUnavailable, Consortium, EventIndex, Member
from rescind.contracts.errors import EndpointsDisagree
from tests.contracts.providers import Time
from tests.support.chain import CHAIN_ID, Anvil
from tests.support.consortium import ChainConsortium, make_consortium
from tests.support.lying_rpc import lying_rpc
from tests.support.rpc_proxy import rpc_proxy


@pytest.fixture(scope="module")
def consortium(running_anvil: Anvil) -> Iterator[ChainConsortium]:
    with running_anvil.rewound():
        played = make_consortium(running_anvil, members=2)
        running_anvil.rpc("anvil_mine", hex(40))
        played.play_round(np.random.default_rng(0))
        yield played


def reader(consortium: ChainConsortium, urls: list[str], agree: int) -> Consortium:
    chain = Chain(urls, CHAIN_ID, agree=agree)
    chain.rpc.waiting = Time().waiting()
    index = EventIndex(chain, consortium.deployment, pause=lambda _: None)
    return Consortium(chain, consortium.deployment, index=index)


def seen(reader: Consortium) -> tuple[list[Member], int]:
    with reader.chain.at_one_block():
        assert reader.chain.now() > 0
        return list(reader.members()), len(list(reader.events()))


@pytest.mark.parametrize(
    ("agree", "modes"),
    [
        (1, ("502", "")),
        (1, ("stale-head=8", "")),
        (2, ("502", "limit-exceeded@0.2", "cut-json@0.2")),
    ],
    ids=repr,
)
def test_a_consortium_is_read_through_providers_that_misbehave(
    consortium: ChainConsortium, agree: int, modes: tuple[str, ...]
) -> None:
    expected = seen(reader(consortium, [consortium.anvil.url], 1))
    with ExitStack() as stack:
        urls = [
            stack.enter_context(rpc_proxy(consortium.anvil.url, *words.split())).url
            for words in modes
        ]
        several = reader(consortium, urls, agree)
        several.check()
        assert seen(several) == expected


def test_a_lie_of_one_endpoint_is_no_verdict_where_two_must_agree(
    consortium: ChainConsortium,
) -> None:
    url = consortium.anvil.url

    def lie(method: str, _: object, result: object) -> object:
        return "0x" + "00" * 31 + "07" if method == "eth_call" else result

    with lying_rpc(url, lie) as liar:
        assert reader(consortium, [liar, url], 1).current_round_id() == 7
        with pytest.raises(EndpointsDisagree, match=f"{liar} and {url}") as error:
            reader(consortium, [liar, url], 2).current_round_id()
    assert isinstance(error.value, ChainUnavailable)


def test_transactions_go_through_when_one_endpoint_is_down(consortium: ChainConsortium) -> None:
    with rpc_proxy(consortium.anvil.url, "502") as proxy:
        chain = Chain([proxy.url, consortium.anvil.url], CHAIN_ID)
        chain.rpc.waiting = Time().waiting()
        sender = Consortium(chain, consortium.deployment, consortium.organizations[0])
        proposal = sender.propose_admission(consortium.anvil.funded().address, "late")
    assert len(consortium.of().proposals()) == proposal
