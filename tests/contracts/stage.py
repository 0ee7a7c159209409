"""A consortium on a chain that starts over for every play."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from rescind.contracts import Account, Parts, Rule
from rescind.core import Digest, Opening, digest
from tests.contracts.reference import Content, Reference
from tests.support.chain import begin_timeline, start_anvil
from tests.support.consortium import ChainConsortium, make_consortium, micro_parameters


@dataclass
class Stage:
    """One consortium on one chain, wound back to its start for every play.

    Attributes:
        consortium: The consortium.
        reached: How often each action was taken, or refused for which reason, in all plays.
        digests: Digests by the hash of their points.
        made: Contributions that were made so far: the same ones serve in every play.
    """

    consortium: ChainConsortium
    rule: Rule
    reached: Counter[str] = field(default_factory=Counter)
    digests: dict[str, Digest] = field(default_factory=dict)
    made: dict[tuple[str, int], Parts] = field(default_factory=dict)
    snapshot: object = None

    def __post_init__(self) -> None:
        # The clock stands still unless a play lets it run, however slow the machine is.
        self.rpc("anvil_setBlockTimestampInterval", 0)
        self.record = self.consortium.of(self.consortium.aggregator)
        self.clients = {
            account.address: self.consortium.of(account)
            for account in [self.consortium.aggregator, *self.consortium.organizations]
        }
        self.snapshot = self.rpc("evm_snapshot")

    def rpc(self, method: str, *arguments: object) -> object:
        """Return the result of a call of the node's."""
        return self.consortium.anvil.rpc(method, *arguments)

    def pass_time(self, seconds: int) -> None:
        """Let the chain's clock run."""
        latest = self.record.chain.rpc.request("eth_getBlockByNumber", "latest", False)
        self.rpc("evm_setNextBlockTimestamp", latest["timestamp"].number() + seconds)
        self.rpc("evm_mine")

    def rewind(self) -> Reference:
        """Start over, and return what the contracts must agree with."""
        self.rpc("evm_revert", self.snapshot)
        begin_timeline()
        self.snapshot = self.rpc("evm_snapshot")
        names = [account.address for account in self.consortium.organizations]
        return Reference(self.rule, names)

    def parts(self, account: Account, number: int) -> Parts:
        """Return the contribution of an organization with a number."""
        key = (account.address, number)
        if key not in self.made:
            place = self.consortium.organizations.index(account)
            delta = self.consortium.random_delta(account, np.random.default_rng([place, number]))
            self.made[key] = self.consortium.register(delta)
            self.digests[self.made[key].point_hashes[0]] = digest(delta)
        return self.made[key]

    def commitment(self, content: Content) -> bytes:
        """Return the commitment of a content, from the integers of its digests."""
        terms = [(self.digests[point], weight) for _, _, weight, point in content]
        return Opening.build("all", terms).commitment


@contextlib.contextmanager
def open_stage(layout: str) -> Iterator[Stage]:
    """Deploy a consortium of three on a chain of its own."""
    shared = layout == "shared"
    with start_anvil() as anvil:
        consortium = make_consortium(anvil, parameters=micro_parameters(federated=shared))
        yield Stage(consortium, Rule.SHARE if shared else Rule.BLOCK)
