"""Evidence of replays, and repetitions of their rounds, as organizations and auditors make them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rescind.contracts import Account, Contribution, WithdrawalMethod
from rescind.core import artifact_id, encode, l2_norm
from rescind.core.canonical_json import canonical_json
from rescind.wire import offer_typed_data, sign_typed
from rescind.withdrawals import (
    EvidenceDocument,
    ModelPart,
    OfferedPart,
    RepeatedPart,
    Repetition,
    StackPart,
    TermPart,
    draw_sample,
    last_offers,
)
from tests.support.certified import Story
from tests.support.chain import Anvil
from tests.support.consortium import Tensors, make_consortium, micro_parameters

STACK = StackPart(
    torch="2", device="cpu", cpu="AVX2", threads=1, precision="float32", deterministic=True
)
OFFERED_ON = STACK.model_copy(update={"threads": 2})
"""The stack of the offered deltas, by their reports: another one than the repetition's."""
LARGEST = 800_000
"""So large that one step of one number is less than a millionth of a delta, as in real ones."""

Retrain = Callable[[Account, int, Tensors], Tensors]
"""The delta that an organization offers for a round, from the one that it registered first."""


def one_number_changed(_: Account, __: int, old: Tensors) -> Tensors:
    new = {name: value.copy() for name, value in old.items()}
    next(iter(new.values())).flat[0] += 1
    return new


class ReplayedConsortium:
    """A shared layout whose first organization is replayed away, by offers of the others.

    Args:
        anvil: The chain.
        folder: For the artifacts.
        retrain: What the others offer.
        subject: Whether the first organization withdraws a subject, not all of its data.
    """

    def __init__(
        self,
        anvil: Anvil,
        folder: Path,
        retrain: Retrain,
        *,
        subject: bool = False,
        rounds: int = 2,
    ) -> None:
        parameters = micro_parameters(federated=True)
        small = make_consortium(anvil, 3, parameters, store=folder / "store")
        self.consortium = replace(small, largest=LARGEST)
        self.folder, self._retrain = folder, retrain
        self.consortium.store.put(parameters.canonical_bytes())
        rng = np.random.default_rng(0)
        for _ in range(rounds):
            self.consortium.play_round(rng)
        self._replay(subject=subject)
        self.evidence = self._evidence()

    @property
    def stores(self) -> list[Path]:
        return [self.folder / "store"]

    def _replay(self, *, subject: bool) -> None:
        consortium = self.consortium
        leaver, *others = consortium.organizations
        client = consortium.of(leaver)
        if subject:
            client.request_subject_withdrawal("5b" * 32, WithdrawalMethod.REPLAY)
            client.offer(1, 1, consortium.register(self._new(leaver, 1)))
            client.ready(1)
        else:
            client.request_withdrawal(WithdrawalMethod.REPLAY)
        consortium.fold()
        aggregator = consortium.of(consortium.aggregator)
        aggregator.start_replay()
        replay = consortium.of().current_replay()
        assert replay is not None
        for number in range(replay.from_round, replay.to_round + 1):
            for each in [leaver, *others] if subject else others:
                parts = consortium.register(self._new(each, number))
                consortium.of(each).offer_replayed(number, parts)
            aggregator.advance_replay()
        consortium.fold()
        aggregator.finish_replay(1)
        Story(consortium, self.folder).publish()

    def _new(self, account: Account, number: int) -> Tensors:
        return self._retrain(account, number, self._old(account, number))

    def _old(self, account: Account, number: int) -> Tensors:
        revealed = self.consortium.of().contributions(number)
        old = next(each for each in revealed if each.organization == account.address)
        return self.consortium.load(old.parts.artifact_ids[0])

    def _evidence(self) -> EvidenceDocument:
        reader = self.consortium.of()
        model_id, withdrawal = reader.latest_model_id(), reader.withdrawal(1)
        content, model = reader.content(model_id), reader.model(model_id)
        source = model_id
        while reader.model(source).amendments >= withdrawal.amendment:
            source = reader.model(source).source
        published = reader.publications(model_id)[-1]
        return EvidenceDocument(
            chain_id=reader.deployment.chain_id,
            withdrawals=reader.deployment.withdrawals,
            withdrawal_id=1,
            method="replay",
            organization=withdrawal.organization,
            subject=withdrawal.subject,
            coupling="federated",
            amendment=withdrawal.amendment,
            source_id=source,
            model=ModelPart(
                model_id=model_id,
                commitments=model.commitments,
                adapter_id=published.adapter_id,
                opening_id=published.opening_id,
            ),
            terms=tuple(
                TermPart(
                    round_id=entry.round_id,
                    organization=entry.organization,
                    artifact_id=each.parts.artifact_ids[0],
                    point_hash=entry.point_hash,
                    weight=entry.weight,
                )
                for entry, each in zip(content, reader.registered(content), strict=True)
            ),
            offered=tuple(self._offered(offer) for offer in last_offers(reader, 1)),
            change_norm=None,
        )

    def start_of(self, offer: Contribution) -> str:
        reader = self.consortium.of()
        content = reader.content(reader.latest_model_id())
        before = [each for each in content if each.round_id < offer.round_id]
        return artifact_id(encode(self.consortium.sum_of(before))) if before else ""

    def _offered(self, offer: Contribution) -> OfferedPart:
        consortium = self.consortium
        report = {"start": self.start_of(offer), "seed": 1, "steps": 80, "examples": 50}
        report |= {"first_loss": 2.0, "last_loss": 0.5, "stack": OFFERED_ON.model_dump()}
        wanted, size = offer.parts.artifact_ids[0], 10
        document = offer_typed_data(
            chain_id=consortium.deployment.chain_id,
            rounds_address=consortium.deployment.rounds,
            offer_id=offer.offer_id,
            round_id=offer.round_id,
            artifact_id=wanted,
            size=size,
            report=canonical_json(report),
        )
        return OfferedPart(
            offer_id=offer.offer_id,
            round_id=offer.round_id,
            organization=offer.organization,
            artifact_id=wanted,
            point_hash=offer.parts.point_hashes[0],
            size=size,
            report=report,
            signature="0x" + sign_typed(document, self.account(offer.organization).key).hex(),
            norm=l2_norm(consortium.load(wanted)) / 2.0**consortium.parameters.fraction_bits,
        )

    def account(self, address: str) -> Account:
        return next(each for each in self.consortium.organizations if each.address == address)

    def repetitions(
        self,
        *,
        trained: Mapping[str, Tensors] | None = None,
        witness: Account | None = None,
        alone: bool = False,
        stack: StackPart = STACK,
    ) -> list[Repetition]:
        """Return the report of every organization that offered.

        Args:
            trained: The delta that an organization's repetition gives; by default what it offered.
            witness: The auditor who watches; by default the first.
            alone: Whether no one watches.
            stack: What the repetition runs on.
        """
        reader, made = self.consortium.of(), []
        withdrawal = reader.withdrawal(1)
        for address in sorted({each.organization for each in self.evidence.offered}):
            sample = draw_sample(reader, withdrawal, address, 0.25)
            report = Repetition(
                chain_id=reader.deployment.chain_id,
                withdrawals=reader.deployment.withdrawals,
                withdrawal_id=1,
                organization=address,
                block=sample.block,
                block_hash=sample.block_hash,
                stack=stack,
                rounds=self._parts(sample.offers, (trained or {}).get(address)),
            ).signed(self.account(address))
            watcher = witness or self.consortium.auditors[0]
            made.append(report if alone else report.witnessed(watcher))
        return made

    def _parts(
        self, offers: Sequence[Contribution], trained: Tensors | None
    ) -> tuple[RepeatedPart, ...]:
        return tuple(
            RepeatedPart(
                offer_id=offer.offer_id,
                round_id=offer.round_id,
                offered=offer.parts.artifact_ids[0],
                repeated=self.consortium.store.put(encode(trained))
                if trained
                else offer.parts.artifact_ids[0],
                start=self.start_of(offer),
                steps=80,
                examples=50,
                first_loss=2.0,
                last_loss=0.5,
            )
            for offer in offers
        )
