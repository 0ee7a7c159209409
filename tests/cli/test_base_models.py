"""rescind model get and check, as a person runs them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rescind.cli.main import app
from rescind.core.features import HiddenFeatures
from rescind.core.ngrams import NgramFeatures
from rescind.core.router_statistics import RouterStatistics
from rescind.core.statistics_parameters import StatisticsParameters, Task
from rescind.devnet.defaults import default_lora, default_parameters
from rescind.devnet.model_check import CheckOptions, check_model
from rescind.devnet.statistics_check import measure_statistics
from rescind.training import LoraModel, load_base
from rescind.training.model.presets import preset
from tests.support.tiny_models import save_model


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["model", *words])


def refusal(result: Result) -> str:
    assert result.exit_code == 17
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert lines[-1].startswith("error[training]: ")
    return lines[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "gpt2", "gpt2")


def test_get_names_folder_and_id_of_the_shipped_model() -> None:
    result = run("get", "tiny", "--json")
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["id"] == preset("tiny").base_model_id
    assert Path(facts["folder"]) == preset("tiny").folder


@pytest.mark.parametrize(
    "words", [("get", "/no/such"), ("check", "/no/such"), ("check", "smollm2")]
)
def test_a_model_that_is_not_here_is_refused_with_exit_code_17(
    words: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESCIND_MODELS", str(tmp_path))
    assert "exist" in refusal(run(*words))


def test_check_says_what_a_model_is_and_what_it_takes(folder: Path) -> None:
    result = run("check", str(folder), "--orgs", "5", "--tokens", "8", "--device", "cpu", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["statistics"] is None
    report = facts["report"]
    assert report["architecture"] == "GPT2LMHeadModel"
    assert report["positions"] == 256
    assert report["tensors"] == 16
    assert report["adapter_bytes"] > 5 * 2 * (report["delta_bytes"] - 8192)
    assert facts["trial"]["seconds"] > 0
    assert facts["trial"]["pairs"] == preset("tiny").settings.batch_size
    assert not report["problems"]


def test_check_prints_everything_and_then_refuses_parameters_that_do_not_fit(
    folder: Path, tmp_path: Path
) -> None:
    other = default_parameters(
        "isolated", "ab" * 32, {"x.lora_A": (8, 4), "x.lora_B": (4, 8)}, seed=0
    )
    path = tmp_path / "parameters.json"
    path.write_bytes(other.canonical_bytes())
    result = run("check", str(folder), "--parameters", str(path), "--device", "cpu")
    line = refusal(result)
    assert "GPT2LMHeadModel" in result.stdout
    for text in ("abababab", "LoRA tensors", "max_length is 512", "at most 256 tokens"):
        assert text in line


def test_parameters_that_cannot_be_read_are_a_configuration_error(folder: Path) -> None:
    result = run("check", str(folder), "--parameters", "/no/such.json", "--device", "cpu")
    assert result.exit_code == 10


def test_check_says_what_statistics_take(folder: Path) -> None:
    options = CheckOptions(str(folder), coupling="hybrid", tokens=8, device="cpu", threads=1)
    checked = check_model(options, lambda _: None)
    statistics = checked.statistics
    assert statistics is not None
    [task] = statistics.tasks
    assert task.features == 512
    least = 512 * 513 // 2 + 512 * task.labels
    # Sums are int32 here, and in an adapter int64.
    assert 4 * least < statistics.bytes < 4 * least + 2 * statistics.noise_bytes
    assert 8 * least < statistics.summed_bytes < checked.report.adapter_bytes
    assert statistics.memory > 8 * least
    assert min(statistics.register, task.row, task.sums, task.check, task.head) > 0
    lines = dict(checked.lines())
    assert "64.0 KiB move" in lines["statistics"]
    assert "to solve the head" in lines["task departments"]


def test_check_refuses_features_that_the_model_does_not_have(folder: Path, tmp_path: Path) -> None:
    base = load_base(folder, device="cpu")
    model = LoraModel(base, default_lora("hybrid"))
    width = base.model.config.hidden_size
    features = HiddenFeatures(base_model_id=base.id, width=width, layers=(1, 99))
    task = Task(prompt="Which desk? {text}", labels=("a", "b"), features=features, max_rows=100)
    router = RouterStatistics(
        features=NgramFeatures(buckets=31), max_members=64, max_rows=100, reference="ab" * 32
    )
    agreed = StatisticsParameters(tasks={"desk": task}, router=router)
    parameters = default_parameters("hybrid", base.id, model.shapes, seed=0, statistics=agreed)
    short = parameters.training.model_copy(update={"max_length": 64})
    parameters = parameters.model_copy(update={"training": short})
    path = tmp_path / "parameters.json"
    path.write_bytes(parameters.canonical_bytes())
    words = ("--tokens", "8", "--device", "cpu", "--parameters", str(path))
    assert "99" in refusal(run("check", str(folder), *words))

    near = task.model_copy(update={"features": features.model_copy(update={"layers": (1,)})})
    cost = measure_statistics(model, StatisticsParameters(tasks={"desk": near}, router=router))
    assert [each.name for each in cost.tasks] == ["desk", "router"]
