"""Copies of identities, which a replay is run with."""

from pathlib import Path

from rescind.devnet.layout import RunFolder
from rescind.devnet.setup import copy_identities
from tests.support.file_modes import open_to_others, umask


def test_copied_keys_and_passwords_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    source, target = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run" / "replay")
    with umask(0o077):
        for folder in (source.authority, source.aggregator, source.organization("aurora")):
            (folder / "tls").mkdir(parents=True)
            for name in ("keystore.json", "password", "tls/key.pem"):
                (folder / name).write_text(name)
    with umask(0):
        copy_identities(source, target, ["aurora"])
    assert open_to_others(source.root) == []
    assert (target.organization("aurora") / "password").read_text() == "password"
