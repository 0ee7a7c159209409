"""TLS files that are replaced while a daemon runs."""

from __future__ import annotations

import threading
from typing import Any

import grpc
import structlog

from rescind.wire.errors import CertificateProblem
from rescind.wire.identity import Contents, TlsFiles
from rescind.wire.validity import check_identity

_Stamp = tuple[tuple[int, int, int], ...]


class WatchedFiles:
    """The newest usable content of TLS files. Files that do not belong together are not taken up.

    Args:
        tls: The files.

    Raises:
        CertificateProblem: A file cannot be read.
    """

    def __init__(self, tls: TlsFiles) -> None:
        self._tls = tls
        self._lock = threading.Lock()
        # The stamp comes first: what is replaced in between is read again.
        self._stamp = _stamp(tls)
        self._contents = tls.read()
        self._complaint = ""

    @property
    def contents(self) -> Contents:
        """Key, certificate and authority in PEM, as of the last look."""
        return self._contents

    def changed(self) -> bool:
        """Look at the files. Return whether there is new content since the last look."""
        with self._lock:
            try:
                stamp = _stamp(self._tls)
                if stamp == self._stamp:
                    return False
                contents = self._tls.read()
                check_identity(self._tls.paths, contents)
            except CertificateProblem as error:
                self._complain(str(error))
                return False
            differs = contents != self._contents
            self._stamp, self._contents, self._complaint = stamp, contents, ""
        return differs

    def _complain(self, reason: str) -> None:
        """Log why new files are not taken up, once. A moment later the other file may be there."""
        if reason != self._complaint:
            structlog.get_logger().warning("new TLS files are not taken up yet", reason=reason)
        self._complaint = reason


def server_credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    """Return credentials of a server that follow its files: each handshake has the newest ones.

    Args:
        tls: The server's key and certificate, and the authority of its callers.

    Raises:
        CertificateProblem: A file cannot be read.
    """
    files = WatchedFiles(tls)

    def newest() -> Any:
        if not files.changed():
            return None
        structlog.get_logger().info("TLS files taken up", certificate=str(tls.certificate))
        return _configuration(files.contents)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(files.contents), newest, require_client_authentication=True
    )


def _configuration(contents: Contents) -> Any:
    key, certificate, authority = contents
    return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)


def _stamp(tls: TlsFiles) -> _Stamp:
    try:
        statuses = [path.stat() for path in tls.paths]
    except OSError as error:
        raise CertificateProblem(f"cannot read {error.filename}: {error.strerror}") from error
    return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in statuses)
