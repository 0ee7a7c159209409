from pathlib import Path

import yaml
from typer.main import get_command

from rescind.cli.main import app
from rescind.devnet.data import organization_names

ROOT = Path(__file__).parents[2]


def services() -> dict[str, dict[str, object]]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def test_every_command_is_one_that_the_command_line_has() -> None:
    for name, service in services().items():
        if "entrypoint" in service:
            continue
        words, command = list(service["command"]), get_command(app)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        context = command.make_context(name, words)
        assert context.params, name


def test_every_dependency_and_node_exists() -> None:
    found = services()
    for service in found.values():
        assert set(service.get("depends_on", {})) <= set(found)
    nodes = {name.removeprefix("node-") for name in found if name.startswith("node-")}
    assert nodes == set(organization_names(3))


def test_every_file_that_the_image_copies_is_there() -> None:
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source
