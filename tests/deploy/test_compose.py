import re
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


def test_base_images_are_pinned_by_digest() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    images = [line.split()[1] for line in lines if line.startswith("FROM")]
    assert len(images) == 2
    for image in images:
        assert re.fullmatch(r"[a-z]+:[a-z0-9.-]+@sha256:[0-9a-f]{64}", image), image


def test_the_image_runs_as_a_user_without_privileges() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    (user,) = [line.split()[1] for line in lines if line.startswith("USER")]
    assert user == "10001:10001"
    assert lines.index(f"USER {user}") > max(
        number for number, line in enumerate(lines) if line.startswith(("RUN", "COPY"))
    )


def test_every_service_has_a_read_only_file_system_and_no_privileges() -> None:
    for name, service in services().items():
        assert service["read_only"] is True, name
        assert service["user"] == "10001:10001", name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "devices", "network_mode", "pid"} & set(service), name
        assert [mount.split(":")[1] for mount in service["volumes"]] == ["/consortium"], name
        assert [mount.split(":")[0] for mount in service["tmpfs"]] == ["/tmp"], name


def test_what_the_services_write_is_in_a_writable_place() -> None:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    variables = dict(re.findall(r"\b([A-Z_]+)=(/\S+)", text))
    for name in ("HOME", "HF_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR"):
        assert variables[name].startswith("/tmp"), name
    for name, service in services().items():
        for word in service.get("command", []):
            if str(word).startswith("/"):
                assert str(word).startswith("/consortium/"), (name, word)
