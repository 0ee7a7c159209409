"""What a running node holds: its configuration, keys, connections and records."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rescind.agents import Agent, PolicyFile, make_agent
from rescind.agents.learners import make_learner
from rescind.contracts import (
    Account,
    Anchor,
    Consortium,
    Member,
    MemberStatus,
)
from rescind.core import ArtifactStore, ConsortiumParameters
from rescind.core.errors import ConfigError, LedgerError
from rescind.daemon import Journal, load_account, open_consortium
from rescind.ledger import Ledger, load_key
from rescind.node.config import NodeConfig
from rescind.node.subjects import Withdrawn
from rescind.wire import AggregatorClient, fingerprint

if TYPE_CHECKING:
    from rescind.training import Example, LoraModel


class NotCarriedOut(ConfigError):
    """What was agreed on is nothing that this node, as it is configured, can do: it must not start."""

    code = "config-not-carried-out"


class LedgerBehind(LedgerError):
    """The ledger is not the one that was anchored, or is older."""

    code = "ledger-behind"


@dataclass
class Session:
    """`me` is the organization's address. The model is loaded when it is first needed."""

    config: NodeConfig
    account: Account
    consortium: Consortium
    client: AggregatorClient
    journal: Journal
    store: ArtifactStore
    ledger: Ledger
    stop: threading.Event
    _cache: dict[str, Any] = field(default_factory=dict)

    @property
    def me(self) -> str:
        return self.account.address

    def halt_if_stopped(self) -> None:
        """Leave a long step at once when the daemon was asked to stop; it is done anew later."""
        if self.stop.is_set():
            raise SystemExit(0)

    @property
    def parameters(self) -> ConsortiumParameters:
        """The agreed document, fetched by the id that the chain holds. Raises NotCarriedOut."""
        if "parameters" not in self._cache:
            wanted = self.consortium.parameters_id()
            if not self.store.has(wanted):
                self.store.put(self.client.download(wanted, 2**24))
            agreed = ConsortiumParameters.parse(self.store.get(wanted))
            check_carried_out(agreed, self.config.engine.processes)
            self._cache["parameters"] = agreed
        parameters: ConsortiumParameters = self._cache["parameters"]
        return parameters

    @property
    def agent(self) -> Agent:
        if "agent" not in self._cache:
            self._cache["agent"] = agent_of(self.config, self.parameters)
        agent: Agent = self._cache["agent"]
        return agent

    @property
    def examples(self) -> list[Example]:
        """What one trains on: without the data subjects who were withdrawn."""
        gone = Withdrawn.of(self.journal)
        known = {it.subject for it in self.all_examples}
        kept = {subject for subject in known if subject not in gone}
        return [example for example in self.all_examples if example.subject in kept]

    @property
    def all_examples(self) -> list[Example]:
        if "examples" not in self._cache:
            from rescind.training import read_examples

            self._cache["examples"] = read_examples(self.config.node.data)
        examples: list[Example] = self._cache["examples"]
        return examples

    @property
    def model(self) -> LoraModel:
        """Raises WrongBaseModel unless its files are those that the consortium agreed on."""
        if "model" not in self._cache:
            self._cache["model"] = _load_model(self.config, self.parameters)
        model: LoraModel = self._cache["model"]
        return model


@contextmanager
def open_session(config: NodeConfig, stop: threading.Event) -> Iterator[Session]:
    """Everything is checked before anything is done; each problem is one clear error."""
    account = load_account(config.identity)
    consortium = open_consortium(config.chain, account)
    _check_membership(consortium, config, account)
    config.node.state_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        ledger = stack.enter_context(
            Ledger.open(
                config.ledger.where, load_key(config.ledger.key_file, config.ledger.key_program)
            )
        )
        check_anchor(ledger, consortium.anchor(account.address))
        client = stack.enter_context(
            AggregatorClient(config.aggregator.address, config.identity.tls)
        )
        session = Session(
            config=config,
            account=account,
            consortium=consortium,
            client=client,
            journal=Journal(config.node.state_dir / "node.db"),
            store=ArtifactStore(config.node.state_dir / "store"),
            ledger=ledger,
            stop=stop,
        )
        if session.store.has(consortium.parameters_id()):
            check_carried_out(session.parameters, config.engine.processes)
            agent_of(config, session.parameters)
        else:
            check_agent(config)
        yield session


def check_anchor(ledger: Ledger, known: Anchor) -> None:
    """Raises LedgerBehind unless the ledger continues what its organization anchored on chain."""
    if known.size > ledger.size:
        raise LedgerBehind(
            f"the ledger {ledger.database.name} has {ledger.size} records and the chain anchors "
            f"{known.size}: it is an older state. Bring back a newer one with rescind ledger restore"
        )
    if known.size and ledger.root(known.size).hex() != known.root:
        raise LedgerBehind(
            f"the first {known.size} records of {ledger.database.name} are not those that are anchored "
            "on chain: it is another ledger, or was rewritten; rescind ledger fsck says where"
        )


def check_carried_out(parameters: ConsortiumParameters, processes: int) -> None:
    """Raises NotCarriedOut for what several processes would not do."""
    rule = parameters.training.rule
    if processes > 1 and (rule is not None or parameters.lora.alternate):
        what = f"training.rule {rule.name}" if rule else "lora.alternate"
        raise NotCarriedOut(
            f"engine.processes is {processes}, and the consortium agreed on {what}, which is carried "
            "out in one process only: set engine.processes to 1"
        )


def _check_membership(consortium: Consortium, config: NodeConfig, account: Account) -> Member:
    member = consortium.member(account.address)
    if member.status is MemberStatus.NONE:
        depth = config.chain.confirmations
        young = f", or, if that was within the last {depth} blocks, start again in a moment"
        raise ConfigError(
            f"{account.address} is not a member: ask the consortium's operator to admit it"
            + young * bool(depth)
        )
    mine = fingerprint(config.identity.tls.read()[1])
    if member.fingerprint != mine:
        raise ConfigError(
            f"the certificate {config.identity.tls_certificate} has fingerprint {mine}, the chain "
            f"has {member.fingerprint} for {account.address}: use that one, or rotate it on chain"
        )
    return member


def check_agent(config: NodeConfig) -> None:
    """As far as it can be told before one knows what the consortium agreed on."""
    section = config.agent
    if section.start is not None:
        PolicyFile.read(section.start)
    if section.policy != "recorded":
        make_learner(section.policy, section.settings)


def agent_of(config: NodeConfig, parameters: ConsortiumParameters) -> Agent:
    section, costs = config.agent, config.costs
    own: dict[str, float | int | str] = {}
    if section.policy in ("q-learning", "double-q", "sarsa", "bandit", "myopic"):
        own["quality_value"] = costs.quality_value
    if section.policy == "myopic":
        own["privacy_price"] = costs.privacy_price
    return make_agent(
        section.policy,
        seed=section.seed,
        table=config.node.state_dir / "agent.json",
        settings={**own, **section.settings},
        decisions=section.decisions,
        start=section.start,
        frozen=section.frozen,
        private=parameters.training.privacy is not None,
    )


def _load_model(config: NodeConfig, parameters: ConsortiumParameters) -> LoraModel:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        import torch

        from rescind.training import LoraModel, load_base
    except ImportError as error:
        raise ConfigError(f"training needs {error.name}: pip install 'rescind[train]'") from error
    torch.set_num_threads(config.model.threads)
    base = load_base(
        config.model.path, parameters.base_model_id, config.model.device, config.model.dtype
    )
    model = LoraModel(base, parameters.lora)
    if model.shapes != parameters.shapes:
        raise ConfigError(
            "the base model's LoRA tensors are not those that the consortium agreed on"
        )
    return model
