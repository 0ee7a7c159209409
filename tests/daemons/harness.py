"""Runs a daemon that misbehaves: harness.py node|aggregator CONFIG [STEP before|after]
or harness.py liar CONFIG LIE [LIE ...]

A STEP is killed: SIGKILL to the process itself, right before or right after the step's effect. A liar
is an aggregator that tells the n-th lie in round n, and the truth from then on.
"""

import os
import signal
import sys
import threading
from pathlib import Path

import aggregator
import node
from rescind.config import load_config
from rescind.console import daemon_logging, stop_on_signal
from tests.daemons.lies import Liar


def deadly(steps, name: str, moment: str):
    def killed(perform):
        def step(plan) -> None:
            if moment == "after":
                perform(plan)
            os.kill(os.getpid(), signal.SIGKILL)

        return step

    return {step: killed(do) if step.value == name else do for step, do in steps.items()}


def main(kind: str, config: str, *words: str) -> None:
    daemon_logging()
    stop: threading.Event = stop_on_signal()
    name, moment = (*words, "", "")[:2]
    if kind == "node":
        with node.open_session(load_config(Path(config), node.NodeConfig), stop) as session:
            daemon = node.Node(session)
            daemon.steps = deadly(daemon.steps, name, moment)
            daemon.run()
        return
    loaded = load_config(Path(config), aggregator.AggregatorConfig)
    with aggregator.open_aggregator(loaded) as daemon:
        if kind == "liar":
            Liar(daemon, words).corrupt()
        else:
            daemon.steps = deadly(daemon.steps, name, moment)
        daemon.run(stop)


main(*sys.argv[1:])
