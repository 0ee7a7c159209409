"""Checks before a node starts: membership, agreed parameters and ledger."""

from __future__ import annotations

import importlib.util

from rescind.contracts import Anchor, Consortium, Member, MemberStatus
from rescind.core import ConsortiumParameters, TextParameters
from rescind.core.errors import ConfigError, LedgerError, TrainingError
from rescind.ledger import Ledger
from rescind.node.config import NodeConfig
from rescind.wire import fingerprint


class NotCarriedOut(ConfigError):
    """The node's configuration cannot carry out the agreed parameters; refuse to start."""

    code = "config-not-carried-out"


class LedgerBehind(LedgerError):
    """The ledger is older than the anchored one, or is another ledger."""

    code = "ledger-behind"


def check_membership(consortium: Consortium, config: NodeConfig, address: str) -> Member:
    """Check that the organization is a member and that its certificate is the one on chain.

    Raises:
        ConfigError: It is not a member, or the certificate's fingerprint is another.
    """
    member = consortium.member(address)
    if member.status is MemberStatus.NONE:
        depth = config.chain.confirmations
        recent = f" If it was admitted within the last {depth} blocks, start again in a moment."
        raise ConfigError(
            f"{address} is not a member. Ask the consortium's operator to admit it."
            + (recent if depth else "")
        )
    own = fingerprint(config.identity.tls.read()[1])
    if member.status.joined and member.fingerprint != own:
        raise ConfigError(
            f"the certificate {config.identity.tls_certificate} has fingerprint {own}, the chain "
            f"has {member.fingerprint} for {address}. Use that certificate, or register yours with "
            "rescind node rotate-certificate."
        )
    return member


def check_anchor(ledger: Ledger, anchor: Anchor) -> None:
    """Check that the ledger continues the one that its organization anchored on chain.

    Raises:
        LedgerBehind: The ledger has fewer records than the anchor, or other ones.
    """
    if anchor.size > ledger.size:
        raise LedgerBehind(
            f"the ledger {ledger.database.name} has {ledger.size} records and the chain anchors "
            f"{anchor.size}: it is an older state. Bring back a newer one with rescind ledger "
            "restore."
        )
    if anchor.size and ledger.root(anchor.size).hex() != anchor.root:
        raise LedgerBehind(
            f"the first {anchor.size} records of {ledger.database.name} are not those that are "
            "anchored on chain: it is another ledger, or was rewritten. Find the first differing "
            "record with rescind ledger fsck."
        )


def check_carried_out(parameters: ConsortiumParameters, processes: int) -> None:
    """Check that the agreed training runs in this node's number of processes.

    Client rules, alternating LoRA matrices and split adapters are implemented in one process only.

    Raises:
        NotCarriedOut: They are agreed on, and `processes` is more than one.
    """
    rule = parameters.training.rule
    agreed = {
        f"training.rule {rule.name}" if rule else "": rule is not None,
        "lora.alternate": parameters.lora.alternate,
        "coupling split": parameters.split is not None,
    }
    what = next((name for name, holds in agreed.items() if holds), "")
    if processes > 1 and what:
        raise NotCarriedOut(
            f"engine.processes is {processes}, and the consortium agreed on {what}, which runs in "
            "one process only. In your configuration set engine.processes to 1."
        )


def check_text(parameters: ConsortiumParameters, model: str) -> None:
    """Check that the tokenizer of this node's base model can do what the members agreed on.

    A node whose model is not there yet, or without the packages for training, is told so when it
    trains.

    Raises:
        NotCarriedOut: The tokenizer cannot.
    """
    if parameters.text == TextParameters() or importlib.util.find_spec("transformers") is None:
        return
    from rescind.training.checking.tokens import load_tokenizer
    from rescind.training.model.presets import resolve
    from rescind.training.text.chat import TemplateUnusable
    from rescind.training.text.encoder import Encoder, TextRulesUnmet

    try:
        tokenizer = load_tokenizer(resolve(model))
    except TrainingError:
        return
    try:
        Encoder(tokenizer, parameters.text)
    except (TemplateUnusable, TextRulesUnmet) as error:
        raise NotCarriedOut(f"{error} The base model is {model}.") from error
