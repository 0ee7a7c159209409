import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from rescind.aggregator import AggregatorConfig
from rescind.audit import CHECKS
from rescind.cli.chain_access import stopped_chain_hint
from rescind.cli.exit_codes import BY_ERROR, exit_code
from rescind.cli.main import app
from rescind.cli.printing import print_facts, reported_errors
from rescind.cli.toml_files import load_config
from rescind.contracts import ChainUnavailable
from rescind.core.errors import ConfigError, RescindError
from rescind.node import NodeConfig

DOCS = Path(__file__).parents[2] / "docs"
NODE = """
[node]
name = "a"
state_dir = "state"
data = "private.jsonl"
[chain]
rpc_url = "http://127.0.0.1:8545"
chain_id = 31337
contracts = "contracts.json"
[identity]
keystore = "k"
password_file = "p"
tls_key = "t"
tls_certificate = "c"
ca_certificate = "ca"
[aggregator]
address = "localhost:1"
[model]
path = "model"
[ledger]
dir = "ledger"
"""


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(text)
    return path


def test_paths_are_those_beside_the_file(tmp_path: Path) -> None:
    loaded = load_config(config(tmp_path, NODE), NodeConfig)
    assert loaded.node.data == tmp_path / "private.jsonl"
    assert loaded.ledger.key_file is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("name =", "nmae ="),
            r"unknown key node\.nmae. Allowed keys: data, keep_withdrawn, name,|node\.name",
        ),
        (("chain_id = 31337", 'chain_id = "one"'), r"chain\.chain_id"),
        (('data = "private.jsonl"', ""), r"node\.toml: the node has no data: give node\.data"),
        (
            ("[chain]", "[costs]\nstatistics_price = inf\n[chain]"),
            r"costs\.statistics_price: .*finite",
        ),
        (("[chain]", "[statistics]\ndata = { desk = nan }\n[chain]"), r"statistics\.data\.desk"),
        (("[ledger]", "[ledgre]"), r"unknown key ledgre|ledger: field required"),
        (("[node]", "[node"), "not TOML"),
    ],
)
def test_a_bad_configuration_names_file_and_key(tmp_path: Path, change, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(config(tmp_path, NODE.replace(*change)), NodeConfig)
    assert "node.toml" in str(caught.value)


def test_an_unknown_key_is_told_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"unknown key node\.colour. Allowed keys: data, exports, keep_withdrawn, name",
    ):
        load_config(
            config(tmp_path, NODE.replace('name = "a"', 'name = "a"\ncolour = 1')), NodeConfig
        )
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml", AggregatorConfig)


def test_every_error_has_an_exit_code_and_every_code_a_line_in_the_docs() -> None:
    text = (DOCS / "exit-codes.md").read_text()
    documented = {int(n) for n in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert set(BY_ERROR.values()) <= documented
    assert len(set(BY_ERROR.values())) == len(BY_ERROR)
    pending = [RescindError]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        assert exit_code(kind("x")) in documented
    for name, code in CHECKS.items():
        assert re.search(rf"^\| {code} \| .*`{name}`", text, re.MULTILINE), name


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["node", "run", "-c", "none.toml"], 10, "cannot be read"),
        (["audit", "lineage"], 10, "--rpc URL and --contracts FILE"),
        (["ask", "/tmp", "who?"], 10, "not the folder of a run"),
        (["ledger", "verify", "/nowhere"], 16, "no ledger key"),
        (["audit", "models", "--rpc", "http://127.0.0.1:1"], 10, "--rpc URL and --contracts FILE"),
        (["govern", "list", "/nowhere"], 10, "not the folder of a run"),
        (["govern", "vote", "1", "-c", "none.toml"], 10, "cannot be read"),
        (["node", "resign", "-c", "none.toml"], 10, "cannot be read"),
        (["aggregator", "bond", "-c", "none.toml"], 10, "cannot be read"),
        (["govern", "vote", "one", "-c", "none.toml"], 2, "as an integer"),
        (["verify", "/nowhere/c.json", "--rpc", "http://127.0.0.1:1"], 40, "cannot be read"),
    ],
)
def test_bad_input_is_one_clear_error(arguments: list[str], code: int, message: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, done.output
    assert message in " ".join(done.output.split())


@pytest.mark.parametrize("command", [("ask", "who?"), ("chat",), ("export", "--peft", "peft")])
def test_another_folder_is_refused_before_torch_is_loaded(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    name, *others = command
    result = CliRunner().invoke(app, [name, str(tmp_path), *others])
    assert result.exit_code == 10
    assert "is not the folder of a run" in " ".join(result.output.split())


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in getattr(group, "commands", {}).items():
        yield (*path, name)
        yield from commands(command, (*path, name))


def test_every_command_explains_itself() -> None:
    every = list(commands(typer.main.get_command(app)))
    for words in (
        ("govern", "propose", "revoke"),
        ("audit", "attest-round"),
        ("rewards", "claim"),
        ("withdraw", "start-replay"),
        ("aggregator", "resign"),
    ):
        assert words in every
    for words in every:
        done = CliRunner().invoke(app, [*words, "--help"])
        assert done.exit_code == 0, words
        assert "Usage:" in done.output


def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(tmp_path / "certificate.json")])
    assert result.exit_code == 10
    assert "certificate.json cannot be read: No such file." in " ".join(result.output.split())
    result = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert result.exit_code == 10
    assert "cannot be read: It is not a file." in " ".join(result.output.split())


def test_the_facts_of_a_run_that_are_cut_off_or_not_text_are_one_clear_line(tmp_path: Path) -> None:
    for content, words in ((b'{"seed": 1', "file: Invalid JSON"), (b"\xff\xfe", "file: ")):
        (tmp_path / "run.json").write_bytes(content)
        result = CliRunner().invoke(app, ["ask", str(tmp_path), "hello"])
        assert result.exit_code == 10
        assert f"run.json: {words}" in " ".join(result.output.split())


def test_an_unreachable_chain_of_a_run_says_how_to_start_it() -> None:
    with (
        pytest.raises(
            ChainUnavailable, match=r"^Nothing answers\. Start .*: rescind devnet up RUN$"
        ),
        stopped_chain_hint(Path("RUN")),
    ):
        raise ChainUnavailable("Nothing answers.")


def test_names_from_the_chain_cannot_send_codes_to_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hostile = "\x1b[2Jclean"
    print_facts({"organization": hostile}, as_json=False)
    with pytest.raises(typer.Exit), reported_errors():
        raise ConfigError(f"Members: {hostile}.\nSecond line.")
    shown = capsys.readouterr()
    assert "\x1b[2J" not in shown.out + shown.err
    assert "?[2Jclean" in shown.out
    assert "Second line." in shown.err.splitlines()
