import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed
from typer.testing import CliRunner

from rescind.agents import TraceRow, read_trace, write_trace
from rescind.agents.curves import LearningCurve, fit, quality_after
from rescind.agents.experiments import read_experiment
from rescind.agents.experiments.config import Cell
from rescind.agents.experiments.report import as_text, write_report
from rescind.agents.experiments.results import read_results
from rescind.agents.experiments.run import run_cell
from rescind.agents.experiments.statistics import estimate, iqm
from rescind.agents.experiments.store import RunFolder
from rescind.agents.experiments.sweep import sweep
from rescind.cli.main import app
from rescind.core.errors import AgentError

pytestmark = pytest.mark.trains  # policies

STUDIES = Path(__file__).parents[2] / "benchmarks" / "participation"
SMALL = """
[experiment]
name = "small"
question = "Does it run?"
seeds = 3
train_episodes = 5

[game]
organizations = 3
rounds = 6

[sweep]
"game.reward_rule" = ["shapley", "alone"]
"game.compute_price" = [0.02, 0.5]

[[learner]]
name = "q-learning"

[[learner]]
name = "myopic"
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def command(*words: object, **options) -> subprocess.CompletedProcess[str]:
    code = "from rescind.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "agents", *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
        **options,
    )


def invoked(*words: object) -> Result:
    """Run a command in this process, which takes no seconds to begin."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["agents", *map(str, words)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished sweep, with its experiment as small.toml beside it."""
    folder = tmp_path_factory.mktemp("finished")
    experiment, out = folder / "small.toml", folder / "out"
    experiment.write_text(SMALL)
    sweep_run = command("sweep", experiment, "--out", out, "--processes", 2)
    assert sweep_run.returncode == 0, sweep_run.stderr
    assert "8 of 8" in sweep_run.stdout
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished sweep's folder, to change."""
    return shutil.copytree(finished, tmp_path / "out")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.slow
def test_a_sweep_reports_and_warns_of_few_seeds(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert "<svg" in page
    assert "fewer than 10" in page


@pytest.mark.slow
def test_a_table_holds_every_game_with_its_experiment_and_versions(finished: Path) -> None:
    rows = pq.read_table(finished / "measures.parquet")
    assert rows.num_rows == 8 * 3
    experiment = json.loads(rows.schema.metadata[b"rescind.experiment"])
    assert experiment["experiment"]["name"] == "small"
    assert "numpy" in json.loads(rows.schema.metadata[b"rescind.versions"])


@pytest.mark.slow
def test_an_interrupted_sweep_runs_what_is_missing_with_the_same_results(
    finished: Path, out: Path
) -> None:
    for table in ("training", "rounds", "measures"):
        (out / f"{table}.parquet").unlink()
    next((out / "cells").glob("*.measures.parquet")).unlink()
    again = command("sweep", finished.parent / "small.toml", "--out", out, "--processes", 1)
    assert "7 of 8 cells are already done" in again.stdout
    assert contents(out / "cells") == contents(finished / "cells")


@pytest.mark.slow
def test_the_report_is_the_same_without_the_files_of_the_cells(finished: Path, out: Path) -> None:
    shutil.rmtree(out / "cells")
    report = command("report", out)
    assert report.returncode == 0
    assert "q-learning" in report.stdout
    assert (out / "report.html").read_text() == (finished / "report.html").read_text()


@pytest.mark.slow
def test_a_finished_sweep_keeps_its_tables_without_the_files_of_the_cells(
    finished: Path, out: Path
) -> None:
    shutil.rmtree(out / "cells")
    again = command("sweep", finished.parent / "small.toml", "--out", out)
    assert "8 of 8 cells are already done" in again.stdout
    before, after = contents(finished), contents(out)
    for table in ("rounds.parquet", "measures.parquet"):
        assert after[table] == before[table]


@pytest.mark.slow
def test_a_sweep_survives_the_death_of_its_processes(small: Path, tmp_path: Path) -> None:
    small.write_text(SMALL.replace("train_episodes = 5", "train_episodes = 3000"))
    experiment, messages = read_experiment(small), []
    folder = RunFolder(tmp_path / "out")
    others = {child.pid for child in psutil.Process().children()}
    killed: list[int] = []

    def kill_one() -> None:
        # While it compiles, so that cells are left however late this thread runs.
        while not killed:
            for child in psutil.Process().children():
                if child.pid not in others and "spawn_main" in " ".join(child.cmdline()):
                    child.send_signal(signal.SIGKILL)
                    killed.append(child.pid)
                    return
            time.sleep(0.01)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    sweep(experiment, folder, say=messages.append, processes=2)
    killer.join()
    assert killed
    assert any("a process died" in text for text in messages)
    assert all(folder.has(cell) for cell in experiment.cells())


@pytest.mark.slow
def test_a_ray_cluster_of_two_workers_loses_one_and_finishes(small: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    small.write_text(SMALL.replace("train_episodes = 5", "train_episodes = 2000"))
    on_ray, local = tmp_path / "on-ray", tmp_path / "local"
    environment = {
        **os.environ,
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "PYTHONPATH": str(Path.cwd()),
    }
    with ray_cluster(environment) as address:
        code = "from rescind.cli.main import main; main()"
        words = ["agents", "sweep", small, "--out", on_ray, "--ray", address]
        running = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        _busy_worker().kill()
        stdout, stderr = running.communicate(timeout=280)
    assert running.returncode == 0, stderr
    assert "8 of 8" in stdout
    sweep(read_experiment(small), RunFolder(local), say=print, processes=2)
    for table in ("measures", "rounds", "training"):
        rows = [
            pq.read_table(folder / f"{table}.parquet").to_pylist() for folder in (on_ray, local)
        ]
        same = repr(rows[0]) == repr(rows[1])
        assert same, "the cluster's results are not this machine's"


@contextlib.contextmanager
def ray_cluster(environment: dict[str, str]) -> Iterator[str]:
    """Start a cluster of two workers on this machine, and yield its address."""
    program = Path(sys.executable).parent / "ray"
    port = 20000 + os.getpid() % 10000
    start = [program, "start", "--head", "--num-cpus=2", f"--port={port}", "--disable-usage-stats"]
    start += ["--include-dashboard=false", "--block", f"--temp-dir={tmp_path_of_ray()}"]
    cluster = subprocess.Popen(
        start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    try:
        _listening(port)
        yield f"127.0.0.1:{port}"
    finally:
        children = psutil.Process(cluster.pid).children(recursive=True)
        cluster.terminate()
        cluster.wait(60)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        shutil.rmtree(tmp_path_of_ray(), ignore_errors=True)


def tmp_path_of_ray() -> Path:
    """Return a short path: Ray puts sockets there, whose paths have at most 107 bytes."""
    return Path(f"/tmp/ray-{os.getpid()}")


@retry(stop=stop_after_delay(60), wait=wait_fixed(0.1), reraise=True)
def _listening(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()


@retry(
    retry=retry_if_result(lambda process: process is None),
    stop=stop_after_delay(120),
    wait=wait_fixed(0.05),
)
def _busy_worker() -> psutil.Process | None:
    """Return a worker of Ray that runs a cell now, by the name that it gives its process."""
    for process in psutil.process_iter(["cmdline"]):
        if "ray::run_cell" in " ".join(process.info["cmdline"] or []):
            return process
    return None


def test_a_missing_ray_cluster_is_one_clear_error(small: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    done = invoked("sweep", small, "--out", tmp_path / "o", "--ray", "127.0.0.1:1")
    assert done.exit_code not in (0, 1)
    assert "error[" in done.stderr
    assert "127.0.0.1:1" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("organizations = 3", "organisations = 3", "organisations: unknown key"),
        ("rounds = 6", "rounds = 0", "rounds: Input should be greater"),
        ("seeds = 3", "seeds = 3\nepochs = 2", "experiment.epochs: unknown key"),
        ('"game.reward_rule"', '"game.rule"', "not a parameter of the game"),
        ('["shapley", "alone"]', '["shapley", "fair"]', "reward_rule"),
        ('name = "myopic"', 'name = "greedy"', "unknown policy 'greedy'"),
        ('name = "myopic"', 'name = "dqn"', "one organization"),
        ('name = "myopic"', 'name = "q-learning"', "have the same name"),
        ('name = "myopic"', 'name = "sarsa"\nsettings = { gama = 1 }', "no setting gama"),
        ('name = "small"', 'name = "Small One"', "experiment.name"),
        ("[game]", "trace = 3\n[game]", "trace"),
        ("[experiment]", "[experiment", "is not valid TOML"),
    ],
)
def test_bad_experiments_are_refused_before_anything_runs(
    small: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    small.write_text(SMALL.replace(old, new))
    with pytest.raises(AgentError, match=message) as caught:
        read_experiment(small)
    assert str(small) in str(caught.value)


def test_an_error_is_one_line_and_its_exit_code(small: Path, tmp_path: Path) -> None:
    small.write_text(SMALL.replace("rounds = 6", "rouns = 6"))
    out = tmp_path / "out"
    done = invoked("sweep", small, "--out", out)
    assert done.exit_code not in (0, 1)
    assert done.stderr.count("\n") == 1
    assert "rouns: unknown key" in done.stderr
    assert not out.exists()


def test_a_folder_of_another_experiment_is_left_alone(small: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out")
    folder.begin(read_experiment(small))
    small.write_text(SMALL.replace('"small"', '"other"'))
    with pytest.raises(AgentError, match="choose another --out"):
        folder.begin(read_experiment(small))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """An experiment with one cell, and the policies that were trained for its first seed."""
    folder = tmp_path_factory.mktemp("trained")
    experiment = folder / "small.toml"
    experiment.write_text(SMALL[: SMALL.index("[sweep]")] + '[[learner]]\nname = "q-learning"\n')
    training = invoked("train", experiment, "--out", folder / "out")
    assert training.exit_code == 0, training.output
    return experiment, sorted((folder / "out" / "policies" / "seed-0").iterdir())


def test_each_organization_gets_a_policy_file(trained: tuple[Path, list[Path]]) -> None:
    _, policies = trained
    assert [path.name for path in policies] == [f"organization-{n}.json" for n in range(3)]


def test_a_policy_is_evaluated_on_every_seat(trained: tuple[Path, list[Path]]) -> None:
    experiment, policies = trained
    assert invoked("evaluate", experiment, policies[0]).exit_code == 0


def test_policies_are_evaluated_on_the_seats_they_are_numbered_for(
    trained: tuple[Path, list[Path]],
) -> None:
    experiment, policies = trained
    evaluation = invoked("evaluate", experiment, *policies, "--json")
    assert 0 <= json.loads(evaluation.stdout)[0]["participation"]["iqm"] <= 1


def test_policies_for_some_organizations_are_refused(trained: tuple[Path, list[Path]]) -> None:
    experiment, policies = trained
    evaluation = invoked("evaluate", experiment, *policies[:2])
    assert "for all of them, or one for each" in evaluation.stderr


def test_a_policy_for_other_observations_is_refused(
    trained: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    experiment, policies = trained
    path = tmp_path / "organization-0.json"
    content = json.loads(policies[0].read_text())
    path.write_text(json.dumps({**content, "observation_version": 99}))
    evaluation = invoked("evaluate", experiment, path)
    assert "observations of version 99" in evaluation.stderr


def test_a_cell_is_the_same_whenever_it_is_run(small: Path) -> None:
    cell: Cell = read_experiment(small).cells()[0]
    first, second = run_cell(cell), run_cell(cell)
    assert json.dumps(vars(first)) == json.dumps(vars(second))


def test_the_report_holds_what_was_measured(small: Path, tmp_path: Path) -> None:
    experiment, folder = read_experiment(small), RunFolder(tmp_path / "out")
    sweep(experiment, folder, say=lambda _: None, processes=1)
    page = write_report(read_results(folder), folder).read_text()
    for word in ("price of anarchy", "exploitability", "fairness", "95 %", "myopic"):
        assert word in page
    assert len(list(folder.root.glob("*.svg"))) >= 4


def test_a_changed_byte_of_a_result_is_an_error_and_never_another_result(
    small: Path, tmp_path: Path
) -> None:
    experiment, folder = read_experiment(small), RunFolder(tmp_path / "out")
    folder.begin(experiment)
    cell = experiment.cells()[0]
    folder.put(cell, run_cell(cell))
    path = folder.cells / f"{cell.key}.measures.parquet"
    data, rows, refused = path.read_bytes(), repr(folder.rows(cell, "measures")), 0
    for offset in range(4, len(data), 37):
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 0x40]) + data[offset + 1 :])
        with contextlib.suppress(AgentError):
            assert repr(folder.rows(cell, "measures")) == rows, offset
            continue
        refused += 1
    assert refused > 10


def test_a_changed_number_in_the_results_is_refused(small: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out")
    sweep(read_experiment(small), folder, say=lambda _: None, processes=1)
    path = folder.root / "results.json"
    document = json.loads(path.read_text())
    next(iter(document["cells"].values()))["measures"]["quality"][0] += 0.01
    path.write_text(json.dumps(document))
    with pytest.raises(AgentError, match="was changed after it was written"):
        read_results(folder)


def test_a_report_without_results_says_to_sweep(small: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out")
    folder.begin(read_experiment(small))
    with pytest.raises(AgentError, match="Run `rescind agents sweep` with --out"):
        read_results(folder)


@pytest.mark.parametrize("study", sorted(path.stem for path in STUDIES.glob("*.toml")))
def test_the_committed_results_are_complete_and_can_be_reported(study: str, tmp_path: Path) -> None:
    for name in ("experiment.json", "results.json"):
        shutil.copy(STUDIES / "results" / study / name, tmp_path)
    folder = RunFolder(tmp_path)
    results = read_results(folder)
    assert folder.experiment().experiment.name == study
    assert all(len(r.values["quality"]) == 10 for r in results.cells)
    header, *rows = as_text(results)
    assert len(rows) == len(results.cells)
    assert all(len(row) == len(header) for row in rows)


EIGHT = [0.0, 1, 2, 3, 4, 5, 6, 100]


def test_an_interquartile_mean_leaves_out_the_outer_quarters() -> None:
    assert iqm(np.array(EIGHT)) == pytest.approx((2 + 3 + 4 + 5) / 4)


def test_an_interval_contains_its_interquartile_mean() -> None:
    result = estimate([EIGHT])
    assert result.low <= result.iqm <= result.high


def test_equal_values_have_an_interval_of_one_point() -> None:
    result = estimate([[1.0] * 10])
    assert result.low == result.iqm == result.high == 1.0


def test_an_estimate_without_measurements_is_not_a_number() -> None:
    assert np.isnan(estimate([[float("nan")]]).iqm)


CURVE = LearningCurve(ceiling=0.9, scale=2.0, shape=1.6, data_exponent=0.7, noise_loss=1.0)


def trace_of(curve: LearningCurve) -> list[TraceRow]:
    rows = []
    for organization, fraction in (("a", 1.0), ("b", 0.5)):
        rounds = []
        for number in range(1, 6):
            rounds.append((1.0, fraction, 0.0))
            rows.append(
                TraceRow(
                    organization=organization,
                    round=number,
                    effort=1.0,
                    data_fraction=fraction,
                    took_part=True,
                    quality_before=0.0,
                    quality=quality_after(curve, rounds),
                    score=1,
                    paid=0.1,
                    compute_price=0.02,
                    quality_value=0.5,
                )
            )
    return rows


def test_fitting_a_trace_recovers_its_curve(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    write_trace(path, trace_of(CURVE))
    curve, error = fit(read_trace(path))
    assert error < 1e-4
    assert curve.ceiling == pytest.approx(CURVE.ceiling, abs=0.01)
    assert curve.shape == pytest.approx(CURVE.shape, abs=0.05)
    assert curve.scale == pytest.approx(CURVE.scale, rel=0.02)
    assert curve.data_exponent == pytest.approx(CURVE.data_exponent, abs=0.02)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "format None"),
        ("nonsense", "is not a trace file"),
        ('{"format": "rescind.trace/9"}', "rescind.trace/9"),
        ('{"format": "rescind.trace/1"}', "contains no rounds"),
        ('{"format": "rescind.trace/1"}\n{"organization": "a"}', "line 2: round"),
        ('{"format": "rescind.trace/1"}\n{"rnd": 1}', "line 2"),
    ],
)
def test_a_trace_of_another_format_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(content)
    with pytest.raises(AgentError, match=message):
        read_trace(path)


def test_an_experiment_takes_its_curve_from_a_trace(small: Path, tmp_path: Path) -> None:
    write_trace(tmp_path / "trace.jsonl", trace_of(CURVE))
    small.write_text('trace = "trace.jsonl"\n' + SMALL)
    game = read_experiment(small).cells()[0].game
    assert game.curve.ceiling == pytest.approx(0.9, abs=0.01)
