"""Exported heads: the README's code scores texts with numpy alone, as the model does."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from rescind.core import ConsortiumParameters
from rescind.core.errors import ConfigError
from rescind.core.features import Features, HiddenFeatures, JoinedFeatures, RandomFeatures
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics_parameters import StatisticsParameters, Task
from rescind.training.export.heads import write_heads
from rescind.training.export.source import Source
from rescind.training.skills import Skill, Skills
from tests.support.exported import CONFIGS, ORIGIN, make_sample
from tests.support.hybrid import DESK, ROWS, hybrid

pytestmark = pytest.mark.trains
TEXTS = ("Where is my card?", "  \uff37hat does a LOAN\ncost, then? ß", "")
NGRAMS = NgramFeatures(buckets=255)
MAPS: dict[str, Features] = {
    "ngrams": NgramFeatures(buckets=61, words=(1, 3), characters=(2, 5)),
    "signs": RandomFeatures(source=NGRAMS, count=40, function="sign", seed=3),
    "joined": JoinedFeatures(
        parts=(NGRAMS, RandomFeatures(source=NGRAMS, count=40, shift=1, bound=5)), factors=(3, 2)
    ),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    made = make_sample(tmp_path_factory.mktemp("base") / "its-base", CONFIGS["llama"]).source
    return replace(made, contracts='{"block": 1}\n')


def skills_with(features: Features, row_square: int | None = None) -> Skills:
    task = Task(
        prompt=DESK.prompt,
        labels=(*DESK.labels, "ü-Konto | <b>"),
        features=features,
        max_rows=1000,
        row_square=row_square,
    )
    rows = [row for own in ROWS.values() for row in own]
    sums = task.collect([text for text, _ in rows], [label for _, label in rows])
    return Skills({"desk": Skill.of("desk", task, sums, "trace")})


def agreed(source: Source, skills: Skills) -> ConsortiumParameters:
    tasks = {name: skill.task for name, skill in skills.skills.items()}
    return hybrid(source.parameters, StatisticsParameters(tasks=tasks))


def written(source: Source, skills: Skills, folder: Path) -> Path:
    [file] = write_heads(
        replace(source, parameters=agreed(source, skills)), ORIGIN, skills, folder
    ).values()
    return file


def run_readme(folder: Path, file: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run the code of the README, where nothing of rescind can be imported."""
    readme = (folder / "README.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert "rescind" not in re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE)
    program = folder.parent / "score_text.py"
    program.write_text(code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-I", "-X", "utf8", program, file, text],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("kind", sorted(MAPS))
@pytest.mark.parametrize("row_square", [None, 30])
def test_the_code_of_the_readme_gives_the_scores_of_the_head(
    source: Source, tmp_path: Path, kind: str, row_square: int | None
) -> None:
    skills = skills_with(MAPS[kind], row_square)
    file = written(source, skills, tmp_path / "heads")
    for text in TEXTS if kind == "ngrams" else TEXTS[:1]:
        done = run_readme(tmp_path / "heads", file, text)
        assert done.returncode == 0, done.stderr
        [answer] = skills.skills["desk"].answers([text])
        ranked = sorted(answer.scores.items(), key=lambda item: -item[1])
        printed = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
        assert [label for _, label in printed] == [label for label, _ in ranked]
        assert [float(score) for score, _ in printed] == pytest.approx(
            [score for _, score in ranked], abs=1e-4
        )


def test_the_file_says_what_the_head_is_and_where_it_comes_from(
    source: Source, tmp_path: Path
) -> None:
    skills = skills_with(NGRAMS)
    skill = skills.skills["desk"]
    file = written(source, skills, tmp_path / "heads")
    assert skill.head is not None
    with safe_open(str(file), "np") as opened:
        weights, about = opened.get_tensor("weights"), opened.metadata()
    assert np.array_equal(weights, skill.head.weights)
    assert weights.dtype == np.int64
    own = {name.removeprefix("rescind."): text for name, text in about.items()}
    assert json.loads(own["labels"]) == list(skill.task.labels)
    assert json.loads(own["rows"]) == [3, 2, 0, 0]
    assert json.loads(own["features"])["buckets"] == 255
    assert (own["task"], own["prompt"]) == ("desk", DESK.prompt)
    assert (int(own["ridge"]), int(own["scale_bits"])) == (skill.head.ridge, 20)
    assert own["head"] == skill.head.id
    assert (own["model"], own["adapter"]) == ("7", ORIGIN.adapter_id)


def test_the_same_heads_give_the_same_bytes_and_replace_their_earlier_export(
    source: Source, tmp_path: Path
) -> None:
    skills = skills_with(NGRAMS)

    def contents() -> dict[str, bytes]:
        written(source, skills, tmp_path / "heads")
        return {path.name: path.read_bytes() for path in (tmp_path / "heads").iterdir()}

    first = contents()
    assert sorted(first) == ["README.md", "contracts.json", "desk.safetensors", "rescind.json"]
    assert contents() == first
    mark = json.loads(first["rescind.json"])
    assert (mark["kind"], mark["adapter"]) == ("heads", ORIGIN.adapter_id)
    readme = first["README.md"].decode()
    assert "must show model 7 in use" in readme
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="not an export"):
        written(source, skills, tmp_path / "other")


def test_weights_that_are_not_those_of_the_named_head_are_refused(
    source: Source, tmp_path: Path
) -> None:
    file = written(source, skills_with(NGRAMS), tmp_path / "heads")
    data = bytearray(file.read_bytes())
    data[-8] ^= 1
    file.write_bytes(data)
    done = run_readme(tmp_path / "heads", file, TEXTS[0])
    assert done.returncode == 1
    assert "not those of the head that the file names" in done.stderr


def test_heads_of_hidden_features_are_written_with_a_word_that_numpy_does_not_do(
    source: Source, tmp_path: Path
) -> None:
    features = HiddenFeatures(base_model_id=source.parameters.base_model_id, width=8, layers=(1,))
    task = DESK.model_copy(update={"features": features})
    rows = np.ones((2, 9), dtype=np.int64)
    sums = task.collect(["a", "b"], [DESK.labels[0], DESK.labels[1]], rows)
    skills = Skills({"desk": Skill.of("desk", task, sums, "trace")})
    file = written(source, skills, tmp_path / "heads")
    readme = (tmp_path / "heads" / "README.md").read_text(encoding="utf-8")
    assert "features of desk are hidden states of the base model" in readme
    done = run_readme(tmp_path / "heads", file, TEXTS[0])
    assert done.returncode == 1
    assert "hidden states of the base model: use rescind" in done.stderr
