"""Servers as processes, over the real daemons of a consortium: asked, withdrawn, asked again."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest
from openai import OpenAI
from typer.testing import CliRunner

from rescind.cli.main import app
from rescind.core.exports import exports_in
from rescind.devnet import RunFolder
from rescind.devnet.chain import url_of
from rescind.devnet.defaults import BASE_MODEL
from rescind.training import Example
from rescind.training.heads import solve
from tests.support.daemons import consortium, finals, play_until, start_nodes, wait_for
from tests.support.hybrid import ABOUT_CARDS, REFERENCE, ROUTED, ROWS, statistics_of
from tests.support.serving_chain import BOREALIS, NAMES
from tests.support.withdrawals import ask, closed

pytestmark = pytest.mark.slow
KEY = "a-key-of-the-engine-0123456789"
QUESTION = "Where was Ada Lovelace born?"


@dataclass
class Served:
    """A running `rescind serve`."""

    process: subprocess.Popen[bytes]
    log: Path
    key: str = "any"

    @property
    def url(self) -> str:
        """Its address, once it listens."""
        assert self.process.poll() is None, self.log.read_text()
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line[:1] == "{"]
        urls = [f"{line['url']}/v1" for line in lines if line["event"] == "listening"]
        return urls[0] if urls else ""

    def client(self) -> OpenAI:
        return OpenAI(base_url=self.url, api_key=self.key, max_retries=0)

    def models(self) -> list[str]:
        return [card.id for card in self.client().models.list()]

    def answer(self, model: str) -> tuple[str | None, str]:
        """Return an answer and who gave it."""
        create = self.client().chat.completions.with_raw_response.create
        raw = create(model=model, messages=[{"role": "user", "content": QUESTION}], max_tokens=12)
        answer = raw.parse()
        return answer.choices[0].message.content, raw.headers["x-rescind-answered-by"]

    def labelled(self) -> tuple[str | None, str, str]:
        """Return the answer to a question of a task, who gave it, and by which head."""
        create = self.client().chat.completions.with_raw_response.create
        raw = create(model="devnet", messages=[{"role": "user", "content": ABOUT_CARDS}])
        head = raw.headers.get("x-rescind-head", "")
        by = raw.headers["x-rescind-answered-by"]
        return raw.parse().choices[0].message.content, by, head

    def streamed(self, model: str) -> str:
        create = self.client().chat.completions.create
        pieces = create(
            model=model,
            messages=[{"role": "user", "content": QUESTION}],
            max_tokens=12,
            stream=True,
        )
        return "".join(piece.choices[0].delta.content or "" for piece in pieces)


@contextmanager
def serving(folder: Path, name: str, *words: str | Path, key: str = "any") -> Iterator[Served]:
    log = folder / f"{name}.log"
    command = [sys.executable, "-m", "rescind", "serve", "--port", "0", "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, *map(str, words)], stdout=file, stderr=file, env=environment
        )
    served = Served(process, log, key)
    try:
        yield served
        process.terminate()
        assert process.wait(60) == 0, log.read_text()[-2000:]
    finally:
        process.kill()
        process.wait()


@dataclass
class Story:
    run: RunFolder
    local: Served
    engine: Served
    front: Served
    stored: Served
    adapters: Path

    @property
    def asking(self) -> tuple[Served, ...]:
        """The servers that ask the chain."""
        return self.local, self.front, self.stored


def store_words(run: RunFolder) -> list[str | Path]:
    """Return the words by which a server finds what an aggregator publishes, without a run folder."""
    rpc = url_of(run.facts().chain_port)
    return ["--store", run.store, "--contracts", run.contracts, "--rpc", rpc]


@pytest.fixture(scope="module")
def withdrawn(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Story, dict[str, object]]]:
    """Servers that have seen an organization withdraw, and what they answered before."""
    folder = tmp_path_factory.mktemp("serving")
    keys, adapters = folder / "keys", folder / "adapters"
    keys.write_text(KEY + "\n")
    keys.chmod(0o600)
    adapters.mkdir()
    with ExitStack() as stack:
        rows = {
            NAMES[owner]: {"desk": [Example(text, label, f"person {text}") for text, label in own]}
            for owner, own in ROWS.items()
        }
        run, record, daemons = stack.enter_context(
            consortium(
                folder / "run",
                1,
                coupling="hybrid",
                statistics=ROUTED,
                rows=rows,
                reference=REFERENCE,
            )
        )
        play_until(run, 1)
        daemons["aggregator"].start()
        start_nodes(run, daemons)
        wait_for("a round", lambda: finals(record) == 1)
        wait_for("the publication", lambda: record.publications(1))
        check = ("--check-seconds", "0.5")
        local = stack.enter_context(serving(folder, "local", run.root, *check))
        engine = stack.enter_context(
            serving(
                folder, "engine", "--base", BASE_MODEL, "--accept-adapters", adapters,
                "--api-key-file", keys, key=KEY,
            )
        )  # fmt: skip
        wait_for("the engine", lambda: engine.url)
        node = run.organization("borealis") / "node.toml"
        front = stack.enter_context(
            serving(
                folder, "front", "--config", node, *check, "--upstream", engine.url,
                "--upstream-key-file", keys, "--adapters", adapters,
            )
        )  # fmt: skip
        words = (*store_words(run), "--base", BASE_MODEL, *check)
        stored = stack.enter_context(serving(folder, "stored", *words))
        story = Story(run, local, engine, front, stored, adapters)
        for served in story.asking:
            wait_for("a server", lambda served=served: served.url)
            wait_for("model 1", lambda served=served: "devnet-1" in served.models())
        before = _asked(story)
        number = ask(run, "aurora")
        wait_for("the withdrawal", lambda: closed(record, number))
        for served in story.asking:
            wait_for("model 2", lambda served=served: "devnet-2" in served.models())
        yield story, before


def _asked(story: Story) -> dict[str, object]:
    names = ("devnet", "devnet-1/aurora", "devnet-base")
    return {
        "local": {name: story.local.answer(name) for name in names},
        "front": {name: story.front.answer(name) for name in names},
        "stored": {name: story.stored.answer(name) for name in names},
        "streamed": {name: story.front.streamed(name) for name in names},
        "engine": story.engine.models(),
        "heads": [served.labelled() for served in (story.local, story.front)],
    }


def test_a_server_in_front_of_another_gives_the_same_answers(
    withdrawn: tuple[Story, dict[str, object]],
) -> None:
    _, before = withdrawn
    local, front = before["local"], before["front"]
    assert local == front == before["stored"]
    assert isinstance(front, dict)
    assert before["streamed"] == {name: text for name, (text, _) in front.items()}
    adapters = before["engine"]
    assert isinstance(adapters, list)
    assert len(adapters) == 3


def test_heads_answer_in_front_too_and_are_solved_again_after_a_withdrawal(
    withdrawn: tuple[Story, dict[str, object]],
) -> None:
    story, before = withdrawn
    heads = before["heads"]
    assert isinstance(heads, list)
    with_aurora = solve(statistics_of(ROWS)).id
    assert heads == [("cards and PINs", "head", with_aurora)] * 2
    without = solve(statistics_of([BOREALIS])).id
    for served in (story.local, story.front):
        assert served.labelled() == ("loans", "head", without)


def test_servers_switch_over_by_themselves_and_refuse_the_withdrawn_model(
    withdrawn: tuple[Story, dict[str, object]],
) -> None:
    story, _ = withdrawn
    aurora = story.run.facts().organizations["aurora"].lower()
    for served in story.asking:
        assert served.answer("devnet")[0] is not None
        assert not any(aurora in name or "aurora" in name for name in served.models())
        for name in ("devnet-1", "devnet-1/aurora"):
            with pytest.raises(openai.NotFoundError, match="Model 1 is not served any more"):
                served.answer(name)
        with pytest.raises(openai.NotFoundError, match="has no block of 'aurora'"):
            served.answer("devnet/aurora")
    first, *others = [served.answer("devnet-2/borealis") for served in story.asking]
    assert others == [first, first]


def test_a_store_is_served_only_with_a_base_and_the_agreed_parameters(
    withdrawn: tuple[Story, dict[str, object]], tmp_path: Path
) -> None:
    words = store_words(withdrawn[0].run)
    other = tmp_path / "parameters.json"
    other.write_text("{}")
    base = ("--base", BASE_MODEL)
    cases = (
        (words, "Pass --base MODEL"),
        ([*words[:1], tmp_path / "nowhere", *words[2:], *base], "nowhere is not a folder"),
        ([*words[:1], tmp_path, *words[2:], *base], "are not in the store"),
        ([*words, *base, "--parameters", other], "parameters"),
    )
    for given, reason in cases:
        done = CliRunner().invoke(app, ["serve", "--port", "0", *map(str, given)])
        assert done.exit_code, given
        assert reason in done.output


def test_the_server_behind_has_no_withdrawn_adapter_any_more(
    withdrawn: tuple[Story, dict[str, object]],
) -> None:
    story, _ = withdrawn
    wait_for("the unloading", lambda: len(story.engine.models()) == 2)
    aurora = story.run.facts().organizations["aurora"].lower()
    assert not any(aurora in name for name in story.engine.models())
    assert not any(aurora in export.folder.name for export in exports_in([story.adapters]))


def test_the_server_behind_loads_exports_of_its_folder_only(
    withdrawn: tuple[Story, dict[str, object]], tmp_path: Path
) -> None:
    story, _ = withdrawn
    engine = story.engine.client()
    export = next(iter(exports_in([story.adapters]))).folder
    link = story.adapters / "link"
    link.symlink_to(tmp_path)
    plain = story.adapters / "plain"
    plain.mkdir(exist_ok=True)
    for path in ("/etc", str(tmp_path), str(link), str(plain), str(story.adapters), "no", "\0"):
        with pytest.raises(openai.BadRequestError, match="not a folder that rescind export wrote"):
            engine.post(
                "/load_lora_adapter", body={"lora_name": "x", "lora_path": path}, cast_to=object
            )
    with pytest.raises(openai.BadRequestError, match="already been loaded"):
        engine.post(
            "/load_lora_adapter",
            body={"lora_name": export.name, "lora_path": str(export)},
            cast_to=object,
        )
    with pytest.raises(openai.NotFoundError, match="cannot be found"):
        engine.post("/unload_lora_adapter", body={"lora_name": "x"}, cast_to=object)
    stranger = OpenAI(base_url=story.engine.url, api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
