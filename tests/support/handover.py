"""An aggregator that loses everything, and another one that the members vote in."""

import shutil
import tomllib
from collections.abc import Mapping

import tomli_w

from rescind.contracts import Consortium
from rescind.devnet import RunFolder
from rescind.devnet.setup import load_account, make_identity, take_certificate
from rescind.wire import CertificateAuthority
from tests.support.daemons import Daemon, rpc, wait_for

ETHER = 10**18
_ROUNDS = 3


def replace_aggregator(
    run: RunFolder, record: Consortium, daemons: dict[str, Daemon], *, rebuilt: int
) -> None:
    """Delete the aggregator's files, vote another one in, and wait until it has rebuilt a model.

    Args:
        run: The run; its aggregator is running.
        record: The public record.
        daemons: The run's daemons; the new one is added as "successor".
        rebuilt: The model.
    """
    daemons["aggregator"].stop()
    shutil.rmtree(run.store)
    shutil.rmtree(run.aggregator / "state")
    successor = _new_aggregator(run, record)
    _vote_in(run, record, successor)
    folder = run.root / "successor"
    daemons["successor"] = Daemon("aggregator", folder / "aggregator.toml", folder / "log")
    daemons["successor"].start()
    wait_for("the rebuilt files", lambda: _publishers(record, rebuilt) == [successor], 150)


def _publishers(record: Consortium, model_id: int) -> list[str]:
    """Return who stated a model's files after the first aggregator."""
    return [each.publisher for each in record.publications(model_id)][1:]


def _new_aggregator(run: RunFolder, record: Consortium) -> str:
    """Set an aggregator up at the address of the one before; return its account."""
    folder, authority = run.root / "successor", CertificateAuthority.load(run.authority)
    address, request = make_identity(folder, "successor")
    take_certificate(folder, authority.issue(request), authority.pem)
    rpc(record, "anvil_setBalance", address, hex(1000 * ETHER))
    content = tomllib.loads((run.aggregator / "aggregator.toml").read_text())
    content["aggregator"] |= {"rounds": _ROUNDS, "store": str(folder / "store")}
    (folder / "aggregator.toml").write_text(tomli_w.dumps(content))
    if (reference := run.aggregator / "reference.safetensors").is_file():
        shutil.copy(reference, folder)
    return address


def _vote_in(run: RunFolder, record: Consortium, aggregator: str) -> None:
    members: Mapping[str, Consortium] = {
        name: Consortium(record.chain, record.deployment, load_account(run.organization(name)))
        for name in run.facts().organizations
    }
    proposal = members["aurora"].propose_aggregator(aggregator)
    members["borealis"].vote(proposal)
    members["aurora"].execute(proposal)
