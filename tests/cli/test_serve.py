"""rescind serve: what it refuses before it serves anything."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rescind.cli.main import app
from rescind.serving import server
from tests.support.tiny_models import give_own_code, save_model


def serve(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["serve", "--port", "0", "--device", "cpu", *map(str, words)])
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "Pass one source of models"),
        (("--store", "here", "--config", "node.toml"), "Pass one source of models"),
        (("--store", "here", "--base", "tiny"), "--rpc"),
        (("--store", "here", "--host", "0.0.0.0"), "there is no key"),
    ],
)
def test_a_source_of_models_and_a_key_are_asked_for(words: tuple[str, ...], reason: str) -> None:
    code, output = serve(*words)
    assert (code, reason in output) == (10, True), output


@pytest.mark.trains
def test_code_that_comes_with_a_model_runs_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    monkeypatch.setattr(server, "_run", lambda *_: None)
    model, keys = give_own_code(save_model(tmp_path / "model")), tmp_path / "keys"
    keys.write_text("k" * 16)
    keys.chmod(0o600)
    words = ("--base", model, "--accept-adapters", tmp_path, "--api-key-file", keys)
    code, output = serve(*words)
    assert (code, "allow it with --remote-code" in output) == (17, True), output
    assert serve(*words, "--remote-code") == (0, "")
