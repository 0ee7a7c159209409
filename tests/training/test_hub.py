"""Downloads by hub id, from a small hub on this machine."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "c0ffee" * 6 + "beef"
INDEX = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
SMALL = {"config.json": "{}", "tokenizer.json": "{}", "generation_config.json": "{}"}
SHARDS = dict.fromkeys(INDEX["weight_map"].values(), "x")
REPOSITORIES: dict[str, dict[str, str]] = {
    "org/sharded": {
        **SMALL,
        **SHARDS,
        "model.safetensors.index.json": json.dumps(INDEX),
        "chat_template.jinja": "{{ x }}",
        "additional_chat_templates/tools.jinja": "{{ x }}",
        "original/consolidated.safetensors": "y",
        "consolidated.safetensors": "y",
        "own.py": "raise",
        "README.md": "z",
    },
    "org/single": {**SMALL, "model.safetensors": "x", "model.fp16.safetensors": "y"},
    "org/pickled": {**SMALL, "pytorch_model.bin": "x"},
    "org/gated": {**SMALL, "model.safetensors": "x"},
}
SCRIPT = """
import json, sys
from rescind.training.model.hub import HubModel, download
from rescind.core.errors import TrainingError
result = {}
for name in sys.argv[1:]:
    try:
        folder = download(name)
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        model = HubModel.of_folder(folder)
        result[name] = {"files": files, "id": model.id, "revision": model.revision}
    except TrainingError as error:
        result[name] = str(error)
print(json.dumps(result))
"""


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does, as far as a download asks."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/").removeprefix("api/models/")
        repository = "/".join(path.split("/")[:2])
        files = REPOSITORIES.get(repository)
        parts = path.split("/")[2:]
        if files is None:
            self.answer(404, {"error": "x"}, {"X-Error-Code": "RepoNotFound"})
        elif parts[:1] in (["revision"], []):
            if parts[1:] not in ([], ["main"], [COMMIT]):
                self.answer(404, {"error": "x"}, {"X-Error-Code": "RevisionNotFound"})
            else:
                siblings = [{"rfilename": name} for name in files]
                self.answer(200, {"id": repository, "sha": COMMIT, "siblings": siblings})
        elif parts[0] == "tree":
            rows = [
                {"type": "file", "path": n, "size": len(t), "oid": digest(t)}
                for n, t in files.items()
            ]
            self.answer(200, rows)
        elif repository == "org/gated":
            self.answer(403, {"error": "x"}, {"X-Error-Code": "GatedRepo"})
        else:
            text = files["/".join(parts[2:])]
            self.answer(200, text, {"ETag": f'"{digest(text)}"', "X-Repo-Commit": COMMIT})

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def digest(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def downloads(endpoint: str, cache: Path, *names: str, **environment: str) -> dict[str, Any]:
    own = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONPATH": str(Path.cwd())}
    free = {n: v for n, v in os.environ.items() if "proxy" not in n.lower()}
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, *names]
    done = subprocess.run(
        command, env={**free, **own, **quiet, **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_only_what_is_loaded_is_fetched_and_each_refusal_says_why(hub: str, tmp_path: Path) -> None:
    revised = f"org/single@{COMMIT}"
    result = downloads(
        hub, tmp_path, "org/sharded", "org/single", revised, "org/pickled", "org/gated",
        "org/unknown", "org/single@v9",
    )  # fmt: skip
    assert result["org/sharded"]["files"] == [
        "additional_chat_templates/tools.jinja",
        "chat_template.jinja",
        "config.json",
        "model-1-of-2.safetensors",
        "model-2-of-2.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
    ]
    assert result["org/single"]["files"] == ["config.json", "model.safetensors", "tokenizer.json"]
    assert result[revised] == result["org/single"]
    assert result["org/single"]["id"] == "org/single"
    assert result["org/single"]["revision"] == COMMIT
    assert "only pickled weights on the hub (pytorch_model.bin)" in result["org/pickled"]
    assert "is gated" in result["org/gated"]
    assert "HF_TOKEN" in result["org/gated"]
    assert "nor a model on the hub" in result["org/unknown"]
    assert "no revision 'v9'" in result["org/single@v9"]
    offline = downloads(hub, tmp_path, "org/single", "org/new", HF_HUB_OFFLINE="1")
    assert offline["org/single"] == result["org/single"]
    assert "cannot be reached" in offline["org/new"]
    for answer in (*result.values(), *offline.values()):
        assert not isinstance(answer, str) or len(answer.splitlines()) == 1
