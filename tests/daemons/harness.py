"""Runs a daemon that is killed at a step: harness.py node|aggregator CONFIG [STEP before|after]

The kill is SIGKILL to the process itself, right before or right after the step's effect.
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


def deadly(steps, name: str, moment: str):
    def killed(perform):
        def step(plan) -> None:
            if moment == "after":
                perform(plan)
            os.kill(os.getpid(), signal.SIGKILL)

        return step

    return {step: killed(do) if step.value == name else do for step, do in steps.items()}


def main(kind: str, config: str, name: str = "", moment: str = "") -> None:
    daemon_logging()
    stop: threading.Event = stop_on_signal()
    if kind == "node":
        with node.open_session(load_config(Path(config), node.NodeConfig), stop) as session:
            daemon = node.Node(session)
            daemon.steps = deadly(daemon.steps, name, moment)
            daemon.run()
    else:
        loaded = load_config(Path(config), aggregator.AggregatorConfig)
        with aggregator.open_aggregator(loaded) as daemon:
            daemon.steps = deadly(daemon.steps, name, moment)
            daemon.run(stop)


main(*sys.argv[1:])
