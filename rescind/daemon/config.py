"""The sections that both daemons' TOML files have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from rescind.wire.identity import TlsFiles


class Section(BaseModel):
    """A table of a TOML file; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ChainSettings(Section):
    """`contracts`: the JSON file with the consortium's contract addresses. `confirmations`: how many
    blocks must lie on top of what the chain says before it is taken for final."""

    rpc_url: str
    chain_id: Annotated[int, Field(ge=1)]
    contracts: Path
    confirmations: Annotated[int, Field(ge=0, le=10_000)] = 0


class IdentitySettings(Section):
    keystore: Path
    password_file: Path
    tls_key: Path
    tls_certificate: Path
    ca_certificate: Path

    @property
    def tls(self) -> TlsFiles:
        return TlsFiles(self.tls_key, self.tls_certificate, self.ca_certificate)
