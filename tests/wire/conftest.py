from collections.abc import Iterator
from pathlib import Path

import pytest

from rescind.wire import CertificateAuthority, fingerprint, serve
from tests.wire.handler import ORGANIZATION, Handler, Wire, identity


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    authority = CertificateAuthority.create(tmp_path / "ca", "test authority")
    server_tls = identity(tmp_path / "aggregator", authority, "aggregator")
    client_tls = identity(tmp_path / "node", authority, "node")
    handler = Handler({fingerprint(client_tls.certificate.read_bytes()): ORGANIZATION})
    server = serve(handler, "127.0.0.1:0", server_tls)
    opened = Wire(
        handler, f"localhost:{server.port}", client_tls, authority, tmp_path, server, server_tls
    )
    yield opened
    opened.server.stop(0)
