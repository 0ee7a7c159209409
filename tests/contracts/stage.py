"""A consortium on a chain that starts over for every play."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from rescind.contracts import DeltaId
from rescind.core import ZERO_DIGEST, Digest, digest
from tests.contracts.reference import Reference, Tensors
from tests.support.chain import start_anvil
from tests.support.consortium import ChainConsortium, make_consortium, micro_parameters


@dataclass
class Stage:
    """One consortium on one chain, wound back to its start for every play. `reached`: how often
    each action was taken, or refused for which reason, in all plays."""

    consortium: ChainConsortium
    snapshot: object = None
    named: dict[str, tuple[DeltaId, Digest]] = field(default_factory=dict)
    reached: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.chain = self.consortium.anvil.chain
        self.rpc("anvil_setBlockTimestampInterval", 0)
        self.clients = {
            account.address: self.consortium.of(account)
            for account in [self.consortium.aggregator, *self.consortium.organizations]
        }
        self.record = self.clients[self.consortium.aggregator.address]
        self.snapshot = self.rpc("evm_snapshot")

    def rpc(self, method: str, *arguments: object) -> object:
        return self.consortium.anvil.rpc(method, *arguments)

    def rewind(self) -> Reference:
        self.rpc("evm_revert", self.snapshot)
        self.snapshot = self.rpc("evm_snapshot")
        now = int(self.record.chain.web3.eth.get_block("latest")["timestamp"])
        names = [account.address for account in self.consortium.organizations]
        shared = self.consortium.parameters.layout == "shared"
        reference = Reference(self.consortium.aggregator.address, names, now, shared=shared)
        reference.zero_root = ZERO_DIGEST.root
        return reference

    def name(self, key: str, tensors: Tensors) -> DeltaId:
        if key not in self.named:
            delta = self.consortium.register(dict(tensors))
            self.named[key] = self.named[delta.artifact_id] = (delta, digest(dict(tensors)))
        return self.named[key][0]

    def digest_of(self, artifact_id: str) -> Digest:
        return ZERO_DIGEST if int(artifact_id, 16) == 0 else self.named[artifact_id][1]


@contextlib.contextmanager
def open_stage(layout: str) -> Iterator[Stage]:
    parameters = micro_parameters(federated=layout == "shared")
    with start_anvil() as anvil:
        yield Stage(make_consortium(anvil, 3, parameters))
