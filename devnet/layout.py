"""The files and folders of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from rescind.core import ConsortiumParameters, make_private_folder, write_atomically
from rescind.core.errors import ConfigError
from rescind.devnet.chain import ChainKind
from rescind.training.model.presets import Dtype


class RunFacts(BaseModel):
    """The content of run.json. `organizations` holds addresses by name, in order.

    `dtype`, `threads`, `deterministic` and `shared_weights` are how the daemons compute: a replay
    repeats them.
    """

    model_config = ConfigDict(extra="forbid")

    format: str = "rescind.run/1"
    seed: int
    coupling: str
    model: str
    dtype: Dtype = "float32"
    threads: int = 1
    deterministic: bool = False
    shared_weights: str | None = None
    rounds: int
    chain_id: int
    chain: ChainKind = "anvil"
    chain_port: int
    aggregator_port: int
    organizations: dict[str, str]
    withdrawn: str | None = None
    before_model: int | None = None
    after_model: int | None = None


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run; each property is the path of one of its parts."""

    root: Path

    @property
    def facts_file(self) -> Path:
        return self.root / "run.json"

    @property
    def contracts(self) -> Path:
        return self.root / "contracts.json"

    @property
    def parameters(self) -> Path:
        return self.root / "parameters.json"

    @property
    def chain(self) -> Path:
        return self.root / "chain"

    @property
    def authority(self) -> Path:
        return self.root / "ca"

    @property
    def aggregator(self) -> Path:
        return self.root / "aggregator"

    def auditor(self, number: int) -> Path:
        return self.root / "auditors" / str(number)

    @property
    def store(self) -> Path:
        return self.aggregator / "store"

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation"

    @property
    def certificate(self) -> Path:
        return self.root / "certificate.json"

    @property
    def trace(self) -> Path:
        return self.root / "trace.jsonl"

    @property
    def replay(self) -> RunFolder:
        return RunFolder(self.root / "replay")

    def organization(self, name: str) -> Path:
        return self.root / "orgs" / name

    def node_state(self, name: str) -> Path:
        """The state folder of an organization's node."""
        return self.organization(name) / "state"

    def save(self, facts: RunFacts) -> None:
        """Write run.json."""
        make_private_folder(self.root)
        write_atomically(self.facts_file, (facts.model_dump_json(indent=2) + "\n").encode())

    def agreed(self) -> ConsortiumParameters:
        """Read what the members of the run agreed on.

        Raises:
            ConfigError: The file is missing, or is not such a document.
        """
        try:
            return ConsortiumParameters.parse(self.parameters.read_bytes())
        except OSError as error:
            raise ConfigError(
                f"{self.parameters} cannot be read: {error.strerror}. Every store of the run "
                "holds a copy, named by its SHA-256: put one back, or run the demo again"
            ) from error

    def facts(self) -> RunFacts:
        """Read run.json.

        Raises:
            ConfigError: This is not the folder of a run.
        """
        try:
            return RunFacts.model_validate_json(self.facts_file.read_bytes())
        except OSError as error:
            raise ConfigError(
                f"{self.root} is not the folder of a run: it has no readable run.json."
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "file"
            raise ConfigError(f"{self.facts_file}: {where}: {first['msg']}") from error

    @classmethod
    def find(cls, path: Path) -> Self:
        """Return the run folder at `path`.

        Raises:
            ConfigError: It is not the folder of a run.
        """
        folder = cls(path)
        folder.facts()
        return folder
