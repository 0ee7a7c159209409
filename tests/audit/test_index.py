"""An auditor's index of events, and a provider that answers for few blocks at once."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rescind.audit import Inputs, verify
from rescind.contracts import IndexRefused
from tests.support.certified import Story
from tests.support.commands import rescind
from tests.support.rpc_proxy import rpc_proxy


def test_a_certificate_is_verified_through_a_provider_of_few_blocks(
    story: Story, tmp_path: Path
) -> None:
    inputs = Inputs(story.folder / "contracts.json", [story.store])
    expected = story.check(inputs)
    index = tmp_path / "events.db"
    with rpc_proxy(story.consortium.anvil.url, "log-range=10") as proxy:
        for _ in range(2):
            checked = verify(story.path, rpc_url=proxy.url, inputs=inputs, index=index)
            assert checked == expected
    assert stat.S_IMODE(index.stat().st_mode) == 0o600


def test_an_index_that_is_another_file_is_refused(story: Story) -> None:
    before = story.path.read_bytes()
    inputs = Inputs(story.folder / "contracts.json", [story.store])
    with pytest.raises(IndexRefused, match="is not an event index, and was left as it is"):
        verify(story.path, rpc_url=story.consortium.anvil.url, inputs=inputs, index=story.path)
    assert story.path.read_bytes() == before


def test_the_command_reads_events_with_an_index(story: Story, tmp_path: Path) -> None:
    options = ("--rpc", story.consortium.anvil.url, "--index", tmp_path / "events.db")
    contracts = ("--contracts", story.folder / "contracts.json")
    read = rescind("audit", "events", *options, *contracts)
    assert read.returncode == 0, read.stderr
    assert "RoundOpened" in read.stdout
    assert (tmp_path / "events.db").is_file()
    other = rescind("audit", "events", *options[:3], story.path, *contracts)
    assert other.returncode == 10
    assert other.stderr.count("\n") <= 2
    assert "is not an event index" in other.stderr.replace("\n", " ")
