import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rescind.cli.main import app

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests" / "vectors" / "tofu_logs.json").read_text())
PUBLISHED = ROOT / ".." / "shared" / "data" / "tofu-eval-logs"


@pytest.fixture
def logs(tmp_path: Path) -> tuple[Path, Path]:
    model, retain = tmp_path / "model.json", tmp_path / "retain.json.gz"
    model.write_text(json.dumps(VECTORS["model"]))
    retain.write_bytes(gzip.compress(json.dumps(VECTORS["retain"]).encode(), mtime=0))
    return model, retain


def run(model: Path, retain: Path, *options: str):
    words = ["evaluate", "tofu-log", "--retain", str(retain), str(model), *options]
    return CliRunner().invoke(app, words)


def test_two_logs_give_utility_and_forget_quality_as_json(logs) -> None:
    done = run(*logs, "--json")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert list(figures) == ["model_utility", "ks_statistic", "ks_pvalue", "n"]
    assert figures == pytest.approx({name: VECTORS["expected"][name] for name in figures})


def test_without_json_it_is_a_table(logs) -> None:
    done = run(*logs)
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["model", "utility", "0.63153"] in rows
    assert ["ks", "statistic", "0.65"] in rows
    assert ["n", "20"] in rows


def test_the_published_logs_give_the_published_figures() -> None:
    if not PUBLISHED.is_dir():
        pytest.skip("the published evaluation logs of TOFU are not beside the repository")
    full, retain90 = (PUBLISHED / f"llama2-7b-{n}.json.gz" for n in ("full", "retain90"))
    figures = json.loads(run(full, retain90, "--json").stdout)
    shown = (f"{figures['model_utility']:.5f}", f"{figures['ks_statistic']:.4f}")
    assert shown == ("0.62268", "0.3967")
    assert f"{figures['ks_pvalue']:.3e}" == "1.834e-21"
    assert figures["n"] == 300
    itself = json.loads(run(retain90, retain90, "--json").stdout)
    assert f"{itself['model_utility']:.4f}" == "0.6137"
    assert (itself["ks_statistic"], itself["ks_pvalue"]) == (0, 1)


def test_what_is_no_log_is_one_clear_error(logs, tmp_path: Path) -> None:
    model, retain = logs
    truncated = tmp_path / "cut.json.gz"
    truncated.write_bytes(retain.read_bytes()[:-20])
    garbage = tmp_path / "garbage.json"
    garbage.write_bytes(b"\x00\x01 no log")
    lacking = tmp_path / "lacking.json"
    lacking.write_text(json.dumps({k: v for k, v in VECTORS["model"].items() if "forget" not in k}))
    fewer = tmp_path / "fewer.json"
    short = {
        field: dict(list(column.items())[:-1])
        for field, column in VECTORS["model"]["eval_log_forget.json"].items()
    }
    fewer.write_text(json.dumps({**VECTORS["model"], "eval_log_forget.json": short}))
    for pair, message in [
        ((model, truncated), "cut.json.gz: not a whole gzip file"),
        ((garbage, retain), "garbage.json: not a JSON file"),
        ((lacking, retain), "lacking.json: the key 'eval_log_forget.json' is missing"),
        ((model, lacking), "lacking.json: the key 'eval_log_forget.json' is missing"),
        ((fewer, retain), "The forget sets differ: one has 19 questions and the other 20"),
        ((tmp_path / "none.json", retain), "none.json: cannot be read"),
    ]:
        done = run(*pair, "--json")
        assert done.exit_code == 11, done.output
        assert done.stdout == ""
        assert done.stderr.startswith("error[")
        assert message in done.stderr


_WITHOUT_TORCH = """
import sys

class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "peft", "sklearn", "rouge_score"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nowhere())
from rescind.cli.main import app
app(["evaluate", "tofu-log", "--retain", *sys.argv[1:], "--json"])
"""


def test_logs_are_evaluated_without_torch(logs) -> None:
    model, retain = logs
    command = [sys.executable, "-W", "ignore", "-c", _WITHOUT_TORCH, str(retain), str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["n"] == 20
