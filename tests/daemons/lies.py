"""An aggregator that lies: the real daemon, with altered statements, files and transactions."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from rescind.aggregator import Aggregator
from rescind.aggregator.facts import ModelFact
from rescind.aggregator.state import Plan, Step
from rescind.contracts import RejectReason, SumPiece
from rescind.core import Opening, decode_openings, encode, encode_openings
from rescind.wire import NotPublished


class Liar:
    """The lies of an aggregator. Each is a method.

    Args:
        daemon: The honest aggregator.
        lies: The lie of each model or round, in order; it tells the truth from then on.
    """

    def __init__(self, daemon: Aggregator, lies: Sequence[str]) -> None:
        self.daemon, self.lies = daemon, list(lies)
        self.session = daemon.session

    def corrupt(self) -> None:
        """Put the lies in place of what the daemon does."""
        honest = self.daemon.steps

        def build(plan: Plan) -> None:
            lie = self.lie(plan.model_id)
            if lie == "publish_nothing":
                return self.save(self.fact_of(plan.model_id, "", ""))
            if lie not in ("change_a_block", "change_an_opening", "keep_the_last_model"):
                return honest[Step.BUILD](plan)
            # No member gets the honest files in the moment before the lie.
            with patch.object(self.daemon._models, "files", side_effect=NotPublished("not yet")):
                honest[Step.BUILD](plan)
                self.save(getattr(self, lie)(self.built(plan.model_id)))
            return None

        self.daemon.steps = {**honest, Step.BUILD: build}
        consortium = self.session.consortium
        send, judge = consortium.send, consortium.judge

        def send_piece(piece: Any) -> object:
            false = isinstance(piece, SumPiece) and self.lie(piece.round_id) == "send_a_false_sum"
            return send(replace(piece, points=piece.points[::-1]) if false else piece)

        def judge_round(round_id: int, scores: dict, reasons: dict) -> object:
            if self.lie(round_id) == "reject_the_first":
                first = min(scores)
                kept = {name: score for name, score in scores.items() if name != first}
                return judge(round_id, kept, {first: RejectReason.WRONG_DIGEST})
            return judge(round_id, scores, reasons)

        consortium.send, consortium.judge = send_piece, judge_round

    def lie(self, number: int) -> str:
        """Return the lie about a model or in a round, or "truth"."""
        return self.lies[number - 1] if number <= len(self.lies) else "truth"

    def change_a_block(self, fact: ModelFact) -> ModelFact:
        """Change one value of the first owner's tensors."""
        tensors = dict(self.session.store.load(fact.adapter_id))
        name = min(tensors)
        changed = tensors[name].copy()
        changed.flat[0] += 1
        adapter_id = self.session.publish(encode({**tensors, name: changed}))
        return replace(fact, adapter_id=adapter_id)

    def change_an_opening(self, fact: ModelFact) -> ModelFact:
        """Change one word of the first owner's opening."""
        openings = decode_openings(self.session.store.get(fact.opening_id))
        name = min(openings)
        words = openings[name].words.copy()
        words[0] += 1
        changed = {**openings, name: Opening.from_words(name, words)}
        return replace(fact, opening_id=self.session.publish(encode_openings(changed.values())))

    def keep_the_last_model(self, fact: ModelFact) -> ModelFact:
        """Name the files of the model before."""
        before = self.built(fact.model_id - 1)
        return replace(fact, adapter_id=before.adapter_id, opening_id=before.opening_id)

    def built(self, model_id: int) -> ModelFact:
        commitments = self.session.consortium.commitments(model_id)
        fact = ModelFact.load(self.session.journal, model_id, commitments)
        assert fact is not None
        return fact

    def fact_of(self, model_id: int, adapter_id: str, opening_id: str) -> ModelFact:
        commitments = self.session.consortium.commitments(model_id)
        return ModelFact(model_id, commitments, adapter_id, opening_id)

    def save(self, fact: ModelFact) -> None:
        fact.save(self.session.journal)
