"""An aggregator that lies: the real daemon, with altered messages to the chain."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rescind.aggregator import Aggregator
from rescind.contracts import Contribution, DeltaId
from rescind.core import (
    adapter_totals,
    add_totals,
    encode,
    weighted_sum,
)


class Liar:
    """Replace what the daemon would say by a lie. Each lie is a method."""

    def __init__(self, daemon: Aggregator, lies: Sequence[str]) -> None:
        self.daemon, self.lies = daemon, list(lies)
        self.told: set[object] = set()

    def corrupt(self) -> None:
        consortium = self.daemon.session.consortium
        honest, honest_carry_out = consortium.aggregate, consortium.carry_out

        def aggregate(round_id, accepted, rejected, aggregate_, adapter):
            said = (accepted, rejected, aggregate_, adapter)
            lie = self.lies[round_id - 1] if round_id <= len(self.lies) else "truth"
            if lie not in ("truth", "keep_withdrawn") and round_id not in self.told:
                self.told.add(round_id)
                said = getattr(self, lie)(round_id, *said)
            return honest(round_id, *said)

        def carry_out(withdrawal_id, source, adapter, *rest):
            if "keep_withdrawn" in self.lies and "withdrawal" not in self.told:
                self.told.add("withdrawal")
                model = consortium.model(source)
                adapter = DeltaId(model.adapter_id, model.digest_root)
            return honest_carry_out(withdrawal_id, source, adapter, *rest)

        consortium.aggregate, consortium.carry_out = aggregate, carry_out

    def drop_from_sum(self, round_id, accepted, rejected, aggregate, adapter):
        """List a delta but leave it out of the sum."""
        return accepted, rejected, *self.sums(round_id, accepted[1:])

    def drop_from_list(self, round_id, accepted, rejected, aggregate, adapter):
        return accepted[1:], rejected, *self.sums(round_id, accepted[1:])

    def list_a_stranger(self, round_id, accepted, rejected, aggregate, adapter):
        """List an organization that revealed nothing."""
        stranger = replace(accepted[0], organization="0x" + "00" * 19 + "01")
        return [stranger, *accepted[1:]], rejected, aggregate, adapter

    def add_to_sum(self, round_id, accepted, rejected, aggregate, adapter):
        """Add an extra delta to the sum."""
        extra = {
            name: np.ones_like(value)
            for name, value in self.daemon.session.store.load(accepted[0].artifact_id).items()
        }
        return accepted, rejected, *self.sums(round_id, accepted, weighted_sum([(extra, 1)]))

    def weigh_in_list(self, round_id, accepted, rejected, aggregate, adapter):
        return [replace(accepted[0], weight=9_999), *accepted[1:]], rejected, aggregate, adapter

    def weigh_in_sum(self, round_id, accepted, rejected, aggregate, adapter):
        heavy = [replace(accepted[0], weight=20_000), *accepted[1:]]
        return accepted, rejected, *self.sums(round_id, heavy)

    def replay_model(self, round_id, accepted, rejected, aggregate, adapter):
        """Name the previous model as the new one."""
        consortium = self.daemon.session.consortium
        model = consortium.model(consortium.latest_model_id())
        return accepted, rejected, aggregate, DeltaId(model.adapter_id, model.digest_root)

    def name_another_adapter(self, round_id, accepted, rejected, aggregate, adapter):
        """Name the digest of the sum with the id of another adapter, which is served."""
        totals = self.daemon.session.store.load(adapter.artifact_id)
        other = {name: value + 1 for name, value in totals.items()}
        artifact = self.daemon.session.publish(encode(other))
        return accepted, rejected, aggregate, DeltaId(artifact, adapter.digest_root)

    def keep_digests(self, round_id, accepted, rejected, aggregate, adapter):
        """Name a wrong sum and serve no digests."""
        self.daemon.session.digests.by_root = lambda root: None
        return self.drop_from_sum(round_id, accepted, rejected, aggregate, adapter)

    def sums(self, round_id, contributions: Sequence[Contribution], extra=None):
        """Publish the sums of these contributions and return their names."""
        session = self.daemon.session
        new = weighted_sum((session.store.load(c.artifact_id), c.weight) for c in contributions)
        new = add_totals([new, extra]) if extra else new
        latest = session.consortium.latest_model_id()
        before = adapter_totals(session.consortium.content(latest), session.store.load)
        return (
            session.named(session.publish(encode(new))),
            session.named(session.publish(encode(add_totals([before, new])))),
        )
