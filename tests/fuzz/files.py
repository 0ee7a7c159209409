"""Files that people and programs hand to Rescind: data, policies, contracts, TOML, journals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rescind.agents import read_trace
from rescind.agents.curves import TRACE_FORMAT
from rescind.agents.experiments.config import read_experiment
from rescind.agents.live import read_decisions
from rescind.agents.policy_file import PolicyFile
from rescind.aggregator import AggregatorConfig
from rescind.audit.certificate import read_certificate
from rescind.cli.toml_files import load_config
from rescind.contracts import Deployment
from rescind.core.canonical_json import canonical_json
from rescind.core.errors import ConfigError
from rescind.core.json_text import parse_json
from rescind.forgetting.metrics.tofu_log import read_tofu_log
from rescind.node import NodeConfig
from rescind.training import ReadOptions, read_examples
from rescind.withdrawals.evidence import read_report
from tests.fuzz.statements import DEPLOYMENT
from tests.fuzz.target import Target, scratch

ROOT = Path(__file__).parents[2]
_OPEN = 5
"""Actions that the policies of the seeds choose from."""
_ROW = {"question": "Who?", "answer": "Ada.", "subject": "Ada Novak"}
_TRACE = {
    "organization": "a",
    "round": 1,
    "effort": 1.0,
    "data_fraction": 0.5,
    "noise": 0.0,
    "took_part": True,
    "quality_before": 0.1,
    "quality": 0.4,
    "score": 5000,
    "paid": 0.1,
    "compute_price": 0.01,
    "quality_value": 0.5,
}
_IDENTITY = """
[identity]
keystore = "keystore.json"
password_file = "password"
tls_key = "tls/key.pem"
tls_certificate = "tls/certificate.pem"
ca_certificate = "tls/authority.pem"

[chain]
rpc_url = "http://127.0.0.1:8545"
chain_id = 31337
contracts = "contracts.json"
"""
NODE = f"""
[node]
name = "hospital"
state_dir = "state"
data = "private.jsonl"
poll_seconds = 2.0
{_IDENTITY}
[aggregator]
address = "127.0.0.1:50051"

[model]
path = "model"
threads = 2

[ledger]
dir = "ledger"
key_file = "ledger.key"
witnesses = ["127.0.0.1:1"]

[ledger.serve]
listen = "127.0.0.1:2"

[agent]
policy = "q-learning"
settings = {{ epsilon = 0.1 }}
"""
AGGREGATOR = f"""
[aggregator]
listen = "127.0.0.1:50051"
state_dir = "state"
store = "store"
parameters = "parameters.json"
rounds = 3
{_IDENTITY}
[evaluation]
data = "benchmark.jsonl"
"""


def targets() -> Iterator[Target]:
    yield _of_file("contracts", [DEPLOYMENT.model_dump_json().encode()], Deployment.load)
    yield from _data()
    yield _of_file("policy", _policies(), lambda path: PolicyFile.read(path).seated(path, [0]))
    yield _of_file("decisions", [b'{"1": {"effort": 1.0, "data_fraction": 0.5}}'], read_decisions)
    head = json.dumps({"format": TRACE_FORMAT}).encode()
    yield _of_file("trace", [head + b"\n" + json.dumps(_TRACE).encode() + b"\n"], read_trace)
    certificate = (ROOT / "tests/fuzz/certificate.json").read_bytes()
    yield _of_file("certificate-file", [certificate], read_certificate)
    logs = json.loads((ROOT / "tests/vectors/tofu_logs.json").read_bytes())
    yield _of_file("tofu-log", [json.dumps(logs["model"]).encode()], read_tofu_log)
    yield _of_file("node-toml", [NODE.encode()], lambda path: load_config(path, NodeConfig))
    yield _of_file(
        "aggregator-toml", [AGGREGATOR.encode()], lambda path: load_config(path, AggregatorConfig)
    )
    study = (ROOT / "benchmarks/participation/free-riding.toml").read_bytes()
    study = re.sub(rb"(?m)^trace = .*$", b"", study)
    yield _of_file("experiment-toml", [study], read_experiment)
    yield Target(
        "report",
        [canonical_json({"losses": [1.0, 0.5], "verdict": "ok"})],
        read_report,
        canonical=canonical_json,
    )


def _data() -> Iterator[Target]:
    """Yield a target for each kind of text that training data is read from."""
    said = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ada."}]
    kinds = [_ROW, {"messages": said, "subject": "Ada"}, {"text": "Hi", "subject": "Ada"}]
    rows = [json.dumps(row).encode() for row in kinds]
    whole = [b"\n".join(rows) + b"\n", b"[" + b",\n".join(rows) + b"]"]
    yield _of_file("data", whole, read_examples)
    table = b'question,answer,subject\nWho?,"Ada, or ""Bo""\n",Ada Novak\n'
    tables = [table, table.replace(b",", b";"), table.decode().encode("utf-16")]
    yield _of_file("data-csv", tables, _reader(ReadOptions(format="csv")))
    mapping = ReadOptions(question="{q.text}", answer="a.0", subject="{first} {last?}")
    nested = {"q": {"text": "Who?"}, "a": ["Ada."], "first": "Ada", "last": None}
    yield _of_file("data-mapping", [json.dumps(nested).encode()], _reader(mapping))
    options = canonical_json({"subject": "{a} {b?}", "delimiter": ";", "header": "a,b"})
    yield Target("data-options", [options], _options)


def _reader(options: ReadOptions) -> Callable[[Path], Any]:
    return lambda path: read_examples(path, options=options)


def _options(data: bytes) -> ReadOptions:
    """Read options as `--map` gives them."""
    try:
        settings = parse_json(data)
    except ValueError as error:
        raise ConfigError("not JSON") from error
    if not isinstance(settings, dict) or not all(isinstance(v, str) for v in settings.values()):
        raise ConfigError("not texts by name")
    return ReadOptions.of(settings)


def _policies() -> list[bytes]:
    learned = {"table": {str(n): [[9.0, 0, 0, 0, 0]] for n in range(3)}}
    folder = scratch("policies")
    for name, state in (("always", {}), ("q-learning", learned)):
        PolicyFile(name, {}, _OPEN, state).write(folder / name)
    return [(folder / name).read_bytes() for name in ("always", "q-learning")]


def _of_file(
    name: str,
    seeds: list[bytes],
    read: Callable[[Path], Any],
) -> Target:
    """Return the target of a reader that takes a path."""
    path = scratch(name) / "file"

    def ask(data: bytes) -> Any:
        path.write_bytes(data)
        return read(path)

    return Target(name, seeds, ask)
