"""Run the proxy as a command: python -m tests.support.rpc_proxy --to URL --mode NAME=AMOUNT@RATE ..."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading

from tests.support.rpc_proxy import MODES, Proxy, Server, make_modes


def main(arguments: list[str]) -> None:
    """Serve until SIGINT or SIGTERM, then print the counts as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.rpc_proxy", description=__doc__)
    parser.add_argument("--to", required=True, help="URL of the node")
    parser.add_argument("--port", type=int, default=0, help="port of 127.0.0.1; 0 for a free one")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws")
    parser.add_argument(
        "--mode",
        action="append",
        default=[],
        metavar="NAME[=AMOUNT][@RATE]",
        help=f"may be repeated. Names: {', '.join(MODES)}",
    )
    options = parser.parse_args(arguments)
    try:
        proxy = Proxy(options.to, make_modes(options.mode, options.seed))
    except ValueError as error:
        parser.error(str(error))
    server = Server(proxy, options.port)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    sys.stdout.write(f"{proxy.url}\n")
    sys.stdout.flush()
    stopped.wait()
    server.shutdown()
    sys.stdout.write(json.dumps(proxy.counts()) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
