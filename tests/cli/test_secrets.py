"""No command and no daemon prints the key in an RPC URL, a password, or the name of a person."""

import io
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import structlog

from rescind.cli import printing
from rescind.contracts import Account, Chain, ChainUnavailable, Deployment
from rescind.contracts.deployment import NAMES
from rescind.core import write_private
from rescind.core.errors import RescindError, StoreError
from rescind.daemon import Journal
from rescind.ledger import Ledger, LocalKey
from rescind.ledger.database import Database
from rescind.node.requests import forget_and_retain
from rescind.training import Example
from tests.support.files import rescind

SECRETS = ("s3cretpath", "s3cretuser", "s3cretword", "s3cretquery")


def secret_url(port: int) -> str:
    return f"http://s3cretuser:s3cretword@127.0.0.1:{port}/v3/s3cretpath?key=s3cretquery"


def assert_no_secret(text: str) -> None:
    for secret in SECRETS:
        assert secret not in text


@pytest.fixture
def dead_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    addresses = {name.lower(): f"0x{n:040d}" for n, name in enumerate(NAMES, start=1)}
    facts = {"chain_id": 31337, "block": 1, **addresses}
    fields = {name: facts[name] for name in Deployment.model_fields if name in facts}
    write_private(tmp_path / "contracts.json", json.dumps(fields).encode())
    return tmp_path / "contracts.json"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """The text that a daemon would write to standard error."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    before = logging.root.manager.disable
    handlers = logging.root.handlers[:]
    printing.daemon_logging()
    yield stream
    structlog.reset_defaults()
    logging.disable(before)
    logging.root.handlers[:] = handlers


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "members"],
        ["audit", "models"],
        ["audit", "waits"],
        ["govern", "list"],
    ],
)
def test_a_command_on_a_dead_port_shows_host_and_port_alone(
    dead_port: int, contracts: Path, words: list[str]
) -> None:
    done = rescind(*words, "--rpc", secret_url(dead_port), "--contracts", contracts)
    assert done.exit_code == 15, done.output
    assert f"http://127.0.0.1:{dead_port} " in done.output
    assert_no_secret(done.output)


def test_the_errors_cause_holds_no_url_either(dead_port: int) -> None:
    with pytest.raises(ChainUnavailable) as refused:
        Chain(secret_url(dead_port)).check()
    assert refused.value.__suppress_context__
    assert refused.value.__cause__ is None
    assert_no_secret(str(refused.value))


def test_a_bug_in_a_command_prints_a_traceback_without_the_url(dead_port: int) -> None:
    code = (
        "import requests\n"
        "from rescind.cli.printing import show_unexpected_errors\n"
        "show_unexpected_errors()\n"
        f"requests.post({secret_url(dead_port)!r}.replace('v3', 'v4'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "requests.exceptions.ConnectionError" in done.stderr
    assert_no_secret(done.stderr)


def test_a_log_line_with_a_traceback_holds_neither_url_nor_values_of_variables(
    dead_port: int, log: io.StringIO
) -> None:
    subject, url = "Ada Novak", secret_url(dead_port)
    try:
        requests.post(url, data=subject, timeout=1)
    except requests.RequestException:
        structlog.get_logger().exception("internal error", url=url, more=[url, {"at": url}])
        logging.getLogger("another.package").exception("failed for %s", url)
        logging.getLogger("another.package").error("failed for %s", url)
    line, *_ = log.getvalue().splitlines()
    assert json.loads(line)["event"] == "internal error"
    assert "ConnectionError" in line
    assert_no_secret(log.getvalue())
    assert subject not in log.getvalue()


def test_a_databases_url_is_shown_by_host_alone() -> None:
    for url in (
        "postgresql://s3cretuser:s3cretword@127.0.0.1:1/s3cretpath",
        "postgresql://s3cretuser:s3cretword@127.0.0.1:s3cretpath/db",
        "mysql://s3cretuser:s3cretword@127.0.0.1:1/db",
    ):
        with pytest.raises(RescindError) as refused:
            Database(url).exists()
        assert_no_secret(str(refused.value).replace("db", ""))


def test_a_failed_write_of_a_fact_does_not_show_the_fact(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "node.db")
    with journal._engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE facts")
    with pytest.raises(StoreError, match="no such table: facts") as refused:
        journal.set("withdrawn/3", {"subject": "Ada Novak"})
    assert "Ada" not in str(refused.value)


def test_a_name_that_is_no_text_is_not_repeated(tmp_path: Path) -> None:
    with (
        Ledger.create(tmp_path / "ledger", LocalKey(bytes(32))) as ledger,
        pytest.raises(RescindError, match="lone surrogate") as refused,
    ):
        ledger.append("consent", {"event": "given"}, subject="Ada \ud800")
    assert "Ada" not in str(refused.value)


@pytest.mark.parametrize(
    ("subject", "own"),
    [
        ("Ada Novak", [("q", "a", "Bo Lind")]),
        ("Ada Novak", [("q", "a", "Ada Novak")]),
        ("Ada Novak", [("q", "a", "Ada Novak"), ("q", "a", "Bo Lind")]),
    ],
)
def test_why_nothing_can_be_forgotten_is_said_without_names(
    subject: str, own: list[tuple[str, str, str]]
) -> None:
    """A node logs this error and writes it into its ledger."""
    with pytest.raises(RescindError) as refused:
        forget_and_retain([Example(*each) for each in own], subject, None)
    assert "Ada" not in str(refused.value)
    assert "Bo" not in str(refused.value)


def test_a_wrong_password_is_not_shown(tmp_path: Path) -> None:
    Account.create(tmp_path / "keystore.json", "right")
    with pytest.raises(RescindError) as refused:
        Account.load(tmp_path / "keystore.json", "s3cretword")
    assert_no_secret(str(refused.value))
