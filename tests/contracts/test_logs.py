"""Logs of a real play, decoded beside web3."""

from __future__ import annotations

from typing import Any

import numpy as np
from web3 import HTTPProvider, Web3

from rescind.contracts import WithdrawalMethod, load_compiled
from tests.support.chain import Anvil
from tests.support.consortium import ChainConsortium, make_consortium


def plain(value: Any) -> Any:
    """A decoded value without web3's own types."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return bytes(value) if isinstance(value, bytes) else value


def play(anvil: Anvil) -> ChainConsortium:
    consortium = make_consortium(anvil, exit_seconds=0)
    consortium.play_round(np.random.default_rng(0))
    client = consortium.of(consortium.organizations[0])
    client.propose_admission(anvil.funded().address, "späte")
    client.request_withdrawal(WithdrawalMethod.REMOVAL)
    consortium.fold()
    return consortium


def test_the_logs_of_a_play_are_decoded_as_web3_decodes_them(anvil: Anvil) -> None:
    consortium = play(anvil)
    public, web3 = consortium.of(), Web3(HTTPProvider(anvil.url))
    events = list(public.events())
    addresses = consortium.deployment.addresses()
    decoders = {
        name: web3.eth.contract(address=address, abi=load_compiled(name).abi)
        for name, address in addresses.items()
    }
    logs = web3.eth.get_logs(
        {"address": list(addresses.values()), "fromBlock": public.deployment.block}
    )
    assert len(logs) == len(events)
    for log, event in zip(logs, events, strict=True):
        expected = decoders[event.contract].events[event.name]().process_log(log)
        assert plain(dict(expected["args"])) == plain(dict(event.args))
        assert expected["address"] == addresses[event.contract]
        assert (expected["blockNumber"], expected["transactionHash"].to_0x_hex()) == (
            event.block,
            event.tx_hash,
        )
    assert len({f"{event.contract}.{event.name}" for event in events}) > 12
