"""The read side of the typed client: one consortium's public record.

Every read sees one block: the newest final one, that of `Chain.at_one_block`, or with
`reader.at(block)` any other. Bitmaps of member numbers become addresses here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from rescind.contracts.attestations import (
    round_attestation_hash,
    withdrawal_attestation_hash,
)
from rescind.contracts.decoding import build
from rescind.contracts.errors import ContractRefused, ContractsMissing
from rescind.contracts.models_reader import ModelsReader
from rescind.contracts.states import WithdrawalState
from rescind.contracts.types import (
    Anchor,
    Contribution,
    Entry,
    Replay,
    StatedPrivacy,
    Withdrawal,
)

UNBOUNDED = 2**64 - 1
"""The epsilon, in millionths, that stands for no bound."""


class ConsortiumReader(ModelsReader):
    """Reads of the public record. None of them needs an account."""

    # Withdrawals

    def withdrawal(self, withdrawal_id: int) -> Withdrawal:
        """Return a withdrawal."""
        struct = self._read("Withdrawals", "withdrawalOf", withdrawal_id)
        withdrawal = build(
            Withdrawal,
            struct,
            {"from_round": "from"},
            id=withdrawal_id,
            empty_if_zero=("subject", "evidence"),
        )
        # While it is prepared, the contract keeps the mark of an offer where evidence comes later.
        preparing = withdrawal.state is WithdrawalState.PREPARING
        return replace(withdrawal, evidence="") if preparing else withdrawal

    def withdrawals(self) -> list[Withdrawal]:
        """Return every withdrawal, by number."""
        count = int(self._read("Withdrawals", "count"))
        return [self.withdrawal(number) for number in range(1, count + 1)]

    def withdrawal_order(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return when each withdrawal was requested, and when closed, as places in one order."""
        names = ("WithdrawalRequested", "WithdrawalClosed")
        topics = [self._topic_of("Withdrawals", name) for name in names]
        places: dict[str, dict[int, int]] = {name: {} for name in names}
        for place, log in enumerate(self._logs(["Withdrawals"], [topics], self.deployment.block)):
            event = self._event_of(log)
            if event is not None:
                number = int(self._arguments(event, log)["id"])
                places[event.name].setdefault(number, place)
        return places[names[0]], places[names[1]]

    def open_withdrawal(self, organization: str) -> int:
        """Return the open withdrawal of an organization, or 0."""
        return int(self._read("Withdrawals", "openOf", organization))

    def offers(self, offer_id: int | None = None) -> list[Contribution]:
        """Return what was offered for withdrawals and replays, in the order of the chain.

        An organization may offer for the same round again: its last offer counts.

        Args:
            offer_id: A withdrawal or a replay; without it, all of them.
        """
        filters = {} if offer_id is None else {"offer": offer_id}
        organizations = self.organizations()
        return [
            self._contribution(event, organizations[event["member"]], int(event["offer"]))
            for event in self._logged("Models", "PointOffered", **filters)
        ]

    def registered(self, entries: Iterable[Entry]) -> list[Contribution]:
        """Return the contribution behind each entry of a model's content.

        Raises:
            ContractsMissing: No event registers such a point.
        """
        wanted = [(e.round_id, e.member_number, e.point_hash) for e in entries]
        rounds = {round_id for round_id, _, _ in wanted} - {0}
        while True:
            known = [each for number in sorted(rounds) for each in self.contributions(number)]
            by_point = {
                (each.round_id, each.member_number, point): each
                for each in [*known, *self.offers()]
                for point in each.parts.point_hashes
            }
            missing = [each[2] for each in wanted if each not in by_point]
            if not missing:
                return [by_point[each] for each in wanted]
            if not self._read_events_again():
                raise ContractsMissing(
                    f"no event registers the point with the hash {missing[0]}, which a model holds. "
                    "Use an RPC endpoint that keeps all events of the contracts."
                )

    def round_attestation_hash(self, round_id: int, evidence: str) -> bytes:
        """Return the EIP-712 hash that an auditor signs for a final round."""
        commitments = self.commitments(self.round(round_id).model_id)
        return round_attestation_hash(self.deployment, round_id, commitments, evidence)

    def withdrawal_attestation_hash(
        self, withdrawal_id: int, model_id: int, evidence: str
    ) -> bytes:
        """Return the EIP-712 hash that an auditor signs for a replay or a counter-training."""
        commitments = self.commitments(model_id)
        return withdrawal_attestation_hash(
            self.deployment, withdrawal_id, model_id, commitments, evidence
        )

    # Replays

    def replay(self, replay_id: int) -> Replay:
        """Return a replay."""
        names = {"from_round": "from", "to_round": "to", "round_id": "round"}
        struct = self._read("Replays", "replayOf", replay_id)
        running = replay_id == int(self._read("Replays", "current")) and self._replay_runs()
        return build(Replay, struct, names, id=replay_id, running=running)

    def _replay_runs(self) -> bool:
        try:
            self._read("Replays", "expected")
        except ContractRefused as refusal:
            if refusal.reason == "NoReplay":
                return False
            raise
        return True

    def current_replay(self) -> Replay | None:
        """Return the running replay, or the last one; None if there was none."""
        replay_id = int(self._read("Replays", "current"))
        return self.replay(replay_id) if replay_id else None

    def replay_is_pending(self) -> bool:
        """Return whether a withdrawal waits for a replay or one runs, so that no round opens."""
        return bool(self._read("Replays", "isPending"))

    def queued_withdrawals(self) -> list[int]:
        """Return the withdrawals that wait for the next replay."""
        return [int(number) for number in self._read("Replays", "queued")]

    def replay_of(self, withdrawal_id: int) -> int:
        """Return the replay that a withdrawal joined; 0 while it waits."""
        return int(self._read("Replays", "joined", withdrawal_id))

    def expected_replayers(self) -> list[str]:
        """Return the members that the current round of the replay waits for; empty without one."""
        if not self._replay_runs():
            return []
        return list(self._addresses(self._read("Replays", "expected")))

    def replay_is_closed(self, replay_id: int, round_id: int) -> bool:
        """Return whether a round of a replay is closed."""
        return bool(self._read("Replays", "isClosed", replay_id, round_id))

    def replayed(self, replay_id: int, round_id: int) -> list[Contribution]:
        """Return what members offered for one round of a replay, by member number."""
        offers = [each for each in self.offers(replay_id) if each.round_id == round_id]
        return sorted(offers, key=lambda each: each.member_number)

    def replay_cost(self, from_round: int) -> int:
        """Return the price of training again every round from one on, in wei."""
        return int(self._read("Replays", "priceFrom", from_round))

    def replay_refund(self, account: str) -> int:
        """Return the unused deposits for replays that an account can take back, in wei."""
        return int(self._read("Replays", "refundOf", account))

    # Rewards and anchors

    def claimable_rounds(self, organization: str) -> list[int]:
        """Return the rounds whose reward an organization can claim now."""
        return [
            number
            for number in self.rounds_of(organization)
            if self.is_payable(number) and self.claimable(organization, [number])
        ]

    def claimable(self, organization: str, rounds: Sequence[int]) -> int:
        """Return what an organization can still claim for rounds, in wei."""
        return int(self._read("Rewards", "claimable", organization, list(rounds)))

    def reward_of(self, round_id: int) -> int:
        """Return what was set aside for a final round, in wei."""
        return int(self._read("Rewards", "reservedFor", round_id))

    def reward_available(self) -> int:
        """Return what the next final round will share out, in wei."""
        per_round = int(self._read("Rewards", "rewardPerRound"))
        return min(per_round, self.pool())

    def pool(self) -> int:
        """Return what is left in the reward pool, in wei."""
        return int(self._read("Rewards", "pool"))

    def anchor(self, organization: str) -> Anchor:
        """Return what an organization anchored last."""
        return build(Anchor, self._read("Anchors", "latest", organization), {"block": "anchoredAt"})

    def privacy_spent(self, organization: str) -> StatedPrivacy | None:
        """Return the privacy budget that an organization stated last, or None."""
        struct = self._read("Anchors", "spentBy", organization)
        if not struct["statedAt"]:
            return None
        epsilon = struct["epsilonMicro"]
        return StatedPrivacy(
            math.inf if epsilon == UNBOUNDED else epsilon / 1e6,
            struct["deltaPico"] / 1e12,
            struct["statedAt"],
        )
