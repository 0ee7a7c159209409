"""Where the files of a run are."""

from __future__ import annotations

import datetime
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters import Coupling
from adapters.errors import ConfigError
from devnet.errors import DiskFull, NotARun

_ROOM_NEEDED = 200 * 2**20


@dataclass(frozen=True)
class ConsortiumFolder:
    """One consortium: a chain, an aggregator, organizations."""

    root: Path

    @property
    def chain(self) -> Path:
        return self.root / "chain"

    @property
    def contracts(self) -> Path:
        return self.root / "contracts.json"

    @property
    def parameters(self) -> Path:
        return self.root / "parameters.json"

    @property
    def authority(self) -> Path:
        return self.root / "ca"

    @property
    def governance(self) -> Path:
        return self.root / "governance"

    @property
    def aggregator(self) -> Path:
        return self.root / "aggregator"

    @property
    def aggregator_config(self) -> Path:
        return self.aggregator / "aggregator.toml"

    @property
    def store(self) -> Path:
        return self.aggregator / "store"

    def organization(self, name: str) -> Path:
        return self.root / "orgs" / name

    def node_config(self, name: str) -> Path:
        return self.organization(name) / "node.toml"

    def data(self, name: str) -> Path:
        return self.organization(name) / "data" / "private.jsonl"


@dataclass(frozen=True)
class RunFolder(ConsortiumFolder):
    """What `rescind demo` leaves behind."""

    @property
    def record(self) -> Path:
        return self.root / "run.json"

    @property
    def replay(self) -> ConsortiumFolder:
        return ConsortiumFolder(self.root / "replay")

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation"

    @property
    def certificate(self) -> Path:
        return self.root / "certificate.json"

    @property
    def summary(self) -> Path:
        return self.root / "summary.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"


class _Recorded(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OrganizationRecord(_Recorded):
    name: str
    address: str
    fingerprint: str


class ModelRecord(_Recorded):
    """`model_id`: the contract's number; `adapter_id`: the artifact it is served from."""

    model_id: int
    adapter_id: str


class RunRecord(_Recorded):
    """run.json: what the other commands need to know of a run."""

    format: Literal["rescind.run/1"] = "rescind.run/1"
    created_at: str
    seed: int
    coupling: Coupling
    rounds: int
    withdraw: str
    data: str | None
    model: str
    organizations: tuple[OrganizationRecord, ...]
    chain_id: int
    chain_port: Annotated[int, Field(ge=1, le=65535)]
    aggregator_port: Annotated[int, Field(ge=1, le=65535)]
    before: ModelRecord | None = None
    after: ModelRecord | None = None
    replay: ModelRecord | None = None

    @property
    def chain_url(self) -> str:
        return f"http://127.0.0.1:{self.chain_port}"

    def name_of(self, address: str) -> str:
        """The organization's name; the address itself when it is not one of this run's."""
        for organization in self.organizations:
            if organization.address.lower() == address.lower():
                return organization.name
        return address

    def address_of(self, name: str) -> str:
        for organization in self.organizations:
            if organization.name == name:
                return organization.address
        known = ", ".join(organization.name for organization in self.organizations)
        raise ConfigError(f"there is no organization {name!r} in this run; there are {known}")


def create_run(out: Path, seed: int) -> RunFolder:
    """A new folder `<time>-seed<seed>` under `out`. Raises ConfigError or DiskFull."""
    stamp = datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    try:
        out.mkdir(parents=True, exist_ok=True)
        room = os.statvfs(out)
        free = room.f_bavail * room.f_frsize
        if free < _ROOM_NEEDED:
            raise DiskFull(
                f"{out} has {free // 2**20} MiB free and a run needs about "
                f"{_ROOM_NEEDED // 2**20} MiB: free some disk or choose another --out"
            )
        for attempt in range(100):
            root = out / (f"{stamp}-seed{seed}" + (f"-{attempt}" if attempt else ""))
            try:
                root.mkdir()
            except FileExistsError:
                continue
            return RunFolder(root.absolute())
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written: {error.strerror}") from error
    raise ConfigError(f"--out {out}: too many runs have started this second; try again")


def open_run(root: Path) -> tuple[RunFolder, RunRecord]:
    """A finished or broken-off run. Raises NotARun with what to name instead."""
    folder = RunFolder(root.absolute())
    try:
        record = RunRecord.model_validate_json(folder.record.read_bytes())
    except OSError as error:
        raise NotARun(
            f"{root} is not a run: it has no run.json; name a folder that `rescind demo` made, "
            "such as runs/20260101-120000-seed0"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotARun(f"{folder.record}: {where}: {first['msg']}") from error
    return folder, record


def write_record(folder: RunFolder, record: RunRecord) -> None:
    write_text(folder.record, record.model_dump_json(indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Complete or absent: written beside, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with full_disk_is_clear(path):
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


@contextmanager
def full_disk_is_clear(path: Path) -> Iterator[None]:
    """Turns the system's "no space left" into DiskFull."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no room to write {path}: free some disk and start again") from error
        raise
