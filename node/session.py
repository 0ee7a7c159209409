"""The session of a running node: its configuration, keys, connections and records."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from rescind.agents import Agent
from rescind.contracts import Account, Consortium, Member, MemberStatus
from rescind.core import (
    ArtifactStore,
    ConsortiumParameters,
    StoreCorrupt,
    StoreMissing,
    make_private_folder,
)
from rescind.core.errors import ConfigError
from rescind.daemon import (
    Activities,
    Journal,
    ServerCheck,
    check_aggregator,
    check_certificates,
    check_file_modes,
    check_rules,
    finish_renewal,
    load_account,
    open_consortium,
)
from rescind.ledger import Ledger, load_key
from rescind.node.agent import agent_of, check_agent
from rescind.node.checks import (
    check_anchor,
    check_carried_out,
    check_membership,
    check_text,
)
from rescind.node.config import NodeConfig
from rescind.node.data_checks import check_lengths, read_data
from rescind.node.facts import open_journal
from rescind.node.split import check_public
from rescind.node.statistics_rows import check_questions, check_rows, read_rows
from rescind.node.subjects import Withdrawn
from rescind.node.turns import Turns
from rescind.node.unavailable import Unavailable
from rescind.wire import AggregatorClient

if TYPE_CHECKING:
    from rescind.training import Example, LoraModel
    from rescind.training.reading.examples import Located

_MAX_PARAMETERS_BYTES = 2**24
"""Far above any agreed document; bounds what the aggregator can make a node download."""


@dataclass
class Session:
    """Everything that outlives a step of the node.

    Parameters, agent, examples and model are loaded when they are first needed.

    Attributes:
        config: The node's TOML file.
        account: The organization's Ethereum account.
        consortium: The contracts, called with the account.
        client: The connection to the aggregator.
        journal: Durable facts.
        store: The node's own artifacts.
        ledger: The private ledger.
        stop: Set when the daemon is asked to stop.
        turns: When this node first saw the moves that anyone may send.
        unavailable: Models whose files could not be had a moment ago.
        paused_uploads: Rounds whose update the aggregator did not take a moment ago.
        meanwhile: Called between the batches of a training that no round waits for; may raise to
            end it.
    """

    config: NodeConfig
    account: Account
    consortium: Consortium
    client: AggregatorClient
    journal: Journal
    store: ArtifactStore
    ledger: Ledger
    stop: threading.Event
    turns: Turns = field(default_factory=Turns)
    unavailable: Unavailable = field(default_factory=Unavailable)
    paused_uploads: Unavailable = field(default_factory=lambda: Unavailable(longest=30.0))
    meanwhile: Callable[[], None] | None = None
    _cache: dict[str, Any] = field(default_factory=dict)

    @property
    def activities(self) -> Activities:
        """Where the node says how far a long step is."""
        if "activities" not in self._cache:
            self._cache["activities"] = Activities(self.config.node.state_dir)
        activities: Activities = self._cache["activities"]
        return activities

    @property
    def me(self) -> str:
        """The organization's address."""
        return self.account.address

    def between_batches(self) -> None:
        """Leave a training if the daemon was asked to stop, and let the node answer a round."""
        self.halt_if_stopped()
        if self.meanwhile is not None:
            self.meanwhile()

    def halt_if_stopped(self) -> None:
        """Leave a long step at once when the daemon was asked to stop.

        The step is repeated, or resumed from a checkpoint, when the daemon starts again.
        """
        if self.stop.is_set():
            raise SystemExit(0)

    def knows_parameters(self) -> bool:
        """Return whether the agreed document is at hand. A damaged one is deleted and fetched again."""
        try:
            self.store.get(self.consortium.settings().parameters_id)
        except (StoreMissing, StoreCorrupt):
            return False
        return True

    @property
    def parameters(self) -> ConsortiumParameters:
        """The agreed document, fetched by the id that the chain has.

        Raises:
            RulesNotServed: The contracts take contributions of another kind.
            NotCarriedOut: The node's configuration cannot carry it out.
        """
        if "parameters" not in self._cache:
            parameters_id = self.consortium.settings().parameters_id
            if not self.store.has(parameters_id):
                self.store.put(self.client.download(parameters_id, _MAX_PARAMETERS_BYTES))
            agreed = ConsortiumParameters.parse(self.store.get(parameters_id))
            check_rules(self.consortium.settings(), agreed)
            check_carried_out(agreed, self.config.engine.processes)
            check_text(agreed, self.config.model.path)
            self._cache["parameters"] = agreed
        parameters: ConsortiumParameters = self._cache["parameters"]
        return parameters

    @property
    def agent(self) -> Agent:
        """The agent that decides about taking part."""
        if "agent" not in self._cache:
            self._cache["agent"] = agent_of(self.config, self.parameters)
        agent: Agent = self._cache["agent"]
        return agent

    @property
    def examples(self) -> list[Example]:
        """The examples to train on: those of data subjects who were not withdrawn."""
        return self.without_withdrawn(self.all_examples)

    def without_withdrawn(self, examples: Sequence[Example]) -> list[Example]:
        """Return the examples of data subjects who were not withdrawn."""
        withdrawn = Withdrawn.of(self.journal)
        subjects = {example.subject for example in examples}
        kept = {subject for subject in subjects if subject not in withdrawn}
        return [example for example in examples if example.subject in kept]

    @property
    def all_examples(self) -> list[Example]:
        """Every example of the data file."""
        return [located.example for located in self._located]

    @property
    def public(self) -> tuple[str, ...]:
        """The subjects whose rows are public; none where the members agreed on no split."""
        return self.config.split.public if self.parameters.split else ()

    @property
    def statistics_rows(self) -> dict[str, list[Located]]:
        """Every row that statistics are sums of, by task."""
        if "statistics" not in self._cache:
            self._cache["statistics"] = read_rows(self.config)
        rows: dict[str, list[Located]] = self._cache["statistics"]
        return rows

    @property
    def _located(self) -> list[Located]:
        if "data" not in self._cache:
            self._cache["data"] = read_data(self.config)
        located: list[Located] = self._cache["data"]
        return located

    def check_data(self) -> None:
        """Check once that the node's data can be trained on under the agreed parameters.

        Raises:
            DataUnfit: It cannot. The message has file and line.
        """
        if "data checked" not in self._cache:
            check_lengths(self.config, self.parameters, self._located)
            check_rows(self.statistics_rows, self.parameters.statistics)
            check_questions(self._located, self.parameters.statistics)
            self.check_public(self.parameters)
            self._cache["data checked"] = True

    def check_public(self, parameters: ConsortiumParameters | None) -> None:
        """Check the subjects whose rows are declared public.

        Args:
            parameters: The agreed parameters; None where they are not known yet.

        Raises:
            DataUnfit: A row cannot be read, one of them has none, or no split was agreed on.
        """
        withdrawn = Withdrawn.of(self.journal)
        check_public(self.config, parameters, self._located, withdrawn)

    @property
    def model(self) -> LoraModel:
        """The base model with its LoRA adapters.

        Raises:
            WrongBaseModel: The files are not those that the consortium agreed on.
        """
        if "model" not in self._cache:
            self._cache["model"] = _load_model(self.config, self.parameters)
        model: LoraModel = self._cache["model"]
        return model

    def forget_model(self) -> None:
        """Drop the model from memory: it may hold the tensors of an erased adapter."""
        self._cache.pop("model", None)


@contextmanager
def open_session(config: NodeConfig, stop: threading.Event) -> Iterator[Session]:
    """Open everything that a node needs, and check it before anything is done.

    Args:
        config: The node's TOML file.
        stop: Set when the daemon is asked to stop.

    Raises:
        RescindError: The configuration, membership, ledger or journal is not usable.
    """
    check_file_modes(
        [folder for folder in (config.node.state_dir, config.ledger.dir) if folder],
        config.identity,
        private=[
            *([config.node.data] if config.node.data else []),
            *config.statistics.data.values(),
        ],
        secrets=[config.ledger.key_file] if config.ledger.key_file else [],
    )
    check_certificates(config.identity.tls, serves=config.ledger.serve is not None)
    account = load_account(config.identity)
    consortium = open_consortium(config.chain, account, state=config.node.state_dir, stop=stop)
    consortium.tend(starting=True)
    finish_renewal(consortium, config.identity.tls, account.address)
    member = check_membership(consortium, config, account.address)
    make_private_folder(config.node.state_dir)
    with ExitStack() as stack:
        key = load_key(config.ledger.key_file, config.ledger.key_program)
        ran_ahead = config.ledger.ran_ahead
        ledger = stack.enter_context(Ledger.open(config.ledger.location, key, ran_ahead=ran_ahead))
        check_anchor(ledger, consortium.anchor(account.address))
        client = stack.enter_context(
            AggregatorClient(
                config.aggregator.address,
                config.identity.tls,
                check=ServerCheck(consortium, check_aggregator),
                downloads=config.node.state_dir / "downloads",
            )
        )
        session = Session(
            config=config,
            account=account,
            consortium=consortium,
            client=client,
            journal=open_journal(config.node.state_dir),
            store=ArtifactStore(config.node.state_dir / "store", mends=True),
            ledger=ledger,
            stop=stop,
        )
        _check_agreed(session, member)
        # A transfer on a slow link may take long; it goes on after the next start.
        client.on_piece = session.halt_if_stopped
        yield session


def _check_agreed(session: Session, member: Member) -> None:
    """Check the [agent] section and the data, as far as the agreed parameters are known.

    A node that does not know them yet checks the rest before it joins. An organization that is out
    may have deleted its data, and its node still has a bond to reclaim.
    """
    takes_part = member.status in (MemberStatus.ADMITTED, MemberStatus.ACTIVE)
    known = session.knows_parameters()
    if known:
        agent_of(session.config, session.parameters)
    else:
        check_agent(session.config)
    if takes_part and known:
        session.check_data()
    elif takes_part:
        _ = session.statistics_rows
        session.check_public(None)


def _load_model(config: NodeConfig, parameters: ConsortiumParameters) -> LoraModel:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        import torch

        from rescind.training import load_agreed
    except ImportError as error:
        raise ConfigError(
            f"Training needs the package {error.name}. Install it with: pip install "
            "'rescind[train]'"
        ) from error
    torch.set_num_threads(config.model.threads)
    section = config.model
    model = load_agreed(
        section.path,
        parameters,
        section.device,
        section.dtype,
        remote_code=section.remote_code,
        shared_weights=section.shared_weights,
    )
    for note in model.base.notes:
        structlog.get_logger().warning("base model", note=note)
    return model
