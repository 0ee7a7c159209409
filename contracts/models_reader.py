"""Reads of models, their content, and the sums behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rescind.contracts.account import Account
from rescind.contracts.chain import Chain
from rescind.contracts.decoding import build
from rescind.contracts.deployment import Deployment
from rescind.contracts.errors import ContractRefused, ContractsMissing
from rescind.contracts.event_index import EventIndex
from rescind.contracts.recorded_points import RecordedPoints
from rescind.contracts.rounds_reader import RoundsReader
from rescind.contracts.types import (
    REPLAY_OFFERS,
    Amendment,
    Entry,
    Fold,
    Model,
    Publication,
    SumProgress,
    Term,
)

_PAGE = 256
_CONTENT_PAGE = 400
"""Contributions in one page of content. docs/gas.md has what it takes at most."""
_POINT_EVENTS = ("PointOffered", "Summed", "Folded")
_NO_FOLD = ("NothingToFold", "NotInUse")


class ModelsReader(RoundsReader):
    """Reads of models and of their content."""

    def __init__(
        self,
        chain: Chain,
        deployment: Deployment,
        account: Account | None = None,
        *,
        index: EventIndex | None = None,
    ) -> None:
        super().__init__(chain, deployment, account, index=index)
        # Views of other blocks share it: a point that has its hash is right at every block.
        self._recorded_points = RecordedPoints()

    # Models

    def latest_model_id(self) -> int:
        """Return the model that rounds build on; 0 is the base model alone."""
        return int(self._read("Models", "head"))

    def model_count(self) -> int:
        """Return the number of the last model."""
        return int(self._read("Models", "modelCount"))

    def models_in_use(self) -> list[int]:
        """Return the head and the released models that were not retired, ascending."""
        return sorted(int(number) for number in self._read("Models", "modelsInUse"))

    def model(self, model_id: int) -> Model:
        """Return a model."""
        struct = self._read("Models", "modelOf", model_id)
        return build(Model, struct, id=model_id, commitments=self.commitments(model_id))

    def commitments(self, model_id: int) -> tuple[str, ...]:
        """Return the hash of a model's commitment for each part."""
        return tuple(
            bytes(self._read("Models", "commitmentOf", model_id, part)).hex()
            for part in range(self.part_count())
        )

    def part_count(self) -> int:
        """Return how many parts a contribution has."""
        return int(self._read("Rounds", "partCount"))

    def is_stale(self, model_id: int) -> bool:
        """Return whether a model misses an amendment that concerns it."""
        return bool(self._read("Models", "isStale", model_id))

    def is_clean(self, model_id: int, organization: str) -> bool:
        """Return whether no contribution of an organization is in a model."""
        member = self.member(organization)
        if not member.status.joined:
            return True
        return bool(self._read("Models", "isClean", model_id, member.number))

    def models_containing(self, organization: str) -> list[int]:
        """Return the models that hold a contribution of an organization."""
        member = self.member(organization)
        models: list[int] = []
        start = 1 if member.status.joined else 0
        while start:
            page = self._read("Models", "modelsContaining", member.number, start, _PAGE)
            models += [int(number) for number in page["ids"]]
            start = int(page["next"])
        return models

    def content(self, model_id: int, part: int = 0) -> list[Entry]:
        """Return every contribution in a model, for one part.

        Counter-deltas (round 0) come first, then rounds, each ascending by member number.
        """
        organizations = self.organizations()
        entries: list[Entry] = []
        start = 0
        while True:
            page = self._read("Models", "contentOf", model_id, part, start, _CONTENT_PAGE)
            entries += [
                build(
                    Entry,
                    entry,
                    {"round_id": "round", "member_number": "member", "point_hash": "point"},
                    organization=organizations[entry["member"]],
                    part=part,
                )
                for entry in page["entries"]
            ]
            start = int(page["next"])
            if not start:
                return sorted(entries, key=lambda each: (each.round_id, each.member_number))

    def contents(self, model_id: int) -> list[Entry]:
        """Return every contribution in a model, part by part; see `content`."""
        parts = range(self.part_count())
        return [entry for part in parts for entry in self.content(model_id, part)]

    def publications(self, model_id: int) -> list[Publication]:
        """Return what publishers said a model's files are, oldest first."""
        names = {"model_id": "model"}
        events = self._logged("Models", "ModelPublished", model=model_id)
        return [build(Publication, event, names) for event in events]

    def amendments(self) -> list[Amendment]:
        """Return every amendment in order."""
        organizations = self.organizations()
        count = int(self._read("Models", "amendmentCount"))
        return [self._amendment(number, organizations) for number in range(1, count + 1)]

    def _amendment(self, number: int, organizations: Sequence[str]) -> Amendment:
        struct = self._read("Models", "amendmentAt", number)
        of_member = int(struct["offer"]) < REPLAY_OFFERS
        return build(
            Amendment,
            struct,
            {
                "member_number": "member",
                "from_round": "from",
                "to_round": "to",
                "offer_id": "offer",
            },
            number=number,
            organization=organizations[struct["member"]] if of_member else "",
        )

    def excluded_by(self, organization: str) -> int:
        """Return the amendment by which an organization is out, or 0."""
        member = self.member(organization)
        if not member.status.joined:
            return 0
        return int(self._read("Models", "excludedBy", member.number))

    def is_folded(self, amendment: int) -> bool:
        """Return whether no model in use misses one of the first so many amendments."""
        return bool(self._read("Models", "settle", amendment))

    # Sums and folds

    def fold(self, source: int) -> Fold | None:
        """Return how far the successor of a model is folded; None if there is nothing to fold."""
        try:
            struct = self._read("Models", "foldOf", source)
        except ContractRefused as refusal:
            if refusal.reason in _NO_FOLD:
                return None
            raise
        return build(Fold, struct, {"round_id": "round"})

    def fold_rows(self, source: int) -> int:
        """Return how many steps the sum of the part under way has."""
        return int(self._read("Models", "rowsOf", source))

    def fold_terms(self, source: int, row: int) -> list[Term]:
        """Return the terms of one step of that sum.

        Raises:
            ContractRefused: With the reason SumMissing, a round's points are not summed yet.
        """
        terms = self._read("Models", "termsOf", source, row)
        return [build(Term, term, {"point_hash": "point"}) for term in terms]

    def sum_progress(self, offer_id: int, round_id: int) -> SumProgress:
        """Return how far the sum of a round, or of a replay's round, is."""
        return build(SumProgress, self._read("Models", "summedOf", offer_id, round_id))

    def sum_of(self, offer_id: int, round_id: int, part: int = 0) -> str:
        """Return the hash of a complete sum, or ""."""
        value = bytes(self._read("Models", "sumOf", offer_id, round_id, part))
        return value.hex() if any(value) else ""

    def points(self, hashes: Iterable[str]) -> dict[str, bytes]:
        """Return points by their hashes, from events; each was hashed again.

        Raises:
            ContractsMissing: The events of the chain hold no such point.
        """
        wanted = set(hashes)
        while True:
            try:
                return self._recorded_points.find(wanted, self._logged_points, self._last_block())
            except ContractsMissing:
                if not self._read_events_again():
                    raise

    def commitment_points(self, model_id: int) -> tuple[bytes, ...]:
        """Return the point of a model's commitment for each part."""
        hashes = self.commitments(model_id)
        points = self.points(hashes)
        return tuple(points[each] for each in hashes)

    def _logged_points(self, from_block: int | None) -> Iterator[bytes]:
        first = self.deployment.block if from_block is None else from_block
        events = {"Rounds": ("UpdateRevealed",), "Models": _POINT_EVENTS}
        topics = [
            self._topic_of(contract, name) for contract, names in events.items() for name in names
        ]
        for log in self._logs(list(events), [topics], first):
            event = self._event_of(log)
            if event is not None:
                arguments = self._arguments(event, log)
                yield bytes(arguments["points"] if "points" in arguments else arguments["point"])
