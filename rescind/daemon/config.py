"""Sections that both daemons' TOML files have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from rescind.contracts import DEFAULT_CEILING_GWEI
from rescind.core.frozen import Frozen
from rescind.wire import TlsFiles


class Section(Frozen):
    """A table of a TOML file. An unknown key is an error."""


def _listed(value: object) -> object:
    """Return a URL as a list of one."""
    if isinstance(value, str):
        return [value]
    if value == []:
        raise ValueError("name at least one endpoint")
    return value


class ChainSettings(Section):
    """The [chain] section: how to reach the public chain.

    Attributes:
        rpc_url: URLs of Ethereum JSON-RPC endpoints, the preferred one first; a text names one.
        agree: How many of the endpoints must give the same answers.
        chain_id: The chain's EIP-155 id.
        contracts: The JSON file with the consortium's contract addresses.
        confirmations: How many blocks must follow a block before the daemon treats it as final.
        max_fee_gwei: Most gwei for a unit of gas. Above it transactions wait.
    """

    rpc_url: Annotated[tuple[str, ...], BeforeValidator(_listed)]
    chain_id: Annotated[int, Field(ge=1)]
    contracts: Path
    confirmations: Annotated[int, Field(ge=0, le=10_000)] = 0
    agree: Annotated[int, Field(ge=1)] = 1
    max_fee_gwei: Annotated[float, Field(gt=0, allow_inf_nan=False)] = DEFAULT_CEILING_GWEI

    @model_validator(mode="after")
    def _enough_endpoints(self) -> ChainSettings:
        if self.agree > len(set(self.rpc_url)):
            raise ValueError(
                f"agree is {self.agree}, but rpc_url names {len(set(self.rpc_url))} different "
                "endpoints: name more, or lower agree"
            )
        return self


class IdentitySettings(Section):
    """The [identity] section: the Ethereum key, and the TLS key with its certificates.

    Attributes:
        keystore: Web3 Secret Storage file, version 3.
        password_file: Text file with the keystore's password.
        tls_key: PEM file of the TLS private key.
        tls_certificate: PEM file of the certificate whose fingerprint is on chain.
        ca_certificate: PEM file of the consortium's certificate authority.
    """

    keystore: Path
    password_file: Path
    tls_key: Path
    tls_certificate: Path
    ca_certificate: Path

    @property
    def tls(self) -> TlsFiles:
        """The three TLS files, as the wire takes them."""
        return TlsFiles(self.tls_key, self.tls_certificate, self.ca_certificate)


class ModelSection(Section):
    """The [model] section: the base model, and the device that runs it.

    Attributes:
        path: The name of a preset, a folder, or a Hugging Face hub id.
        device: A torch device, or "auto".
        threads: Number of torch threads on a CPU.
        dtype: Of the frozen base weights in memory.
        remote_code: Let Python files that come with the model run.
        shared_weights: File of the base's weights converted to `dtype`, which processes on this
            machine share. `rescind demo` writes one where the base's own files have the other type.
    """

    path: str
    device: str = "auto"
    dtype: Literal["float32", "bfloat16", "4bit"] = "float32"
    remote_code: bool = False
    threads: Annotated[int, Field(ge=1)] = 1
    shared_weights: Path | None = None
