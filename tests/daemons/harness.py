"""A process that runs a daemon, which may kill itself or lie."""

import os
import signal
import threading
from pathlib import Path

from rescind import aggregator, node
from rescind.cli.printing import daemon_logging, stop_on_signal
from rescind.cli.toml_files import load_config
from rescind.node.disclosing import served
from tests.daemons.lies import Liar


def deadly(steps, name: str, moment: str):
    def killed(perform):
        def step(plan) -> None:
            if moment == "after":
                perform(plan)
            os.kill(os.getpid(), signal.SIGKILL)

        return step

    return {step: killed(do) if step.value == name else do for step, do in steps.items()}


def run(log: Path, kind: str, config: Path, *words: str) -> None:
    """Run a daemon.

    Args:
        log: File for what it prints.
        kind: node, aggregator, or liar for an aggregator that lies.
        config: The daemon's TOML file.
        words: Of a liar, the lie of each round; it tells the truth from then on. Otherwise a step
            and before or after: the process kills itself right before or after the step's effect.
    """
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    daemon_logging()
    stop: threading.Event = stop_on_signal()
    name, moment = (*words, "", "")[:2]
    if kind == "node":
        loaded = load_config(config, node.NodeConfig)
        with node.open_session(loaded, stop) as session, served(session):
            daemon = node.Node(session)
            daemon.steps = deadly(daemon.steps, name, moment)
            daemon.run(stop)
        return
    loaded = load_config(config, aggregator.AggregatorConfig)
    with aggregator.open_aggregator(loaded) as daemon:
        if kind == "liar":
            Liar(daemon, words).corrupt()
        else:
            daemon.steps = deadly(daemon.steps, name, moment)
        daemon.run(stop)
