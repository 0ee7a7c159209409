"""The public reference of the agreed router, which the aggregator gives to members."""

from __future__ import annotations

from rescind.aggregator.session import AggregatorSession
from rescind.core import decode
from rescind.core.errors import ConfigError


def publish_reference(session: AggregatorSession) -> None:
    """Check the configured reference, and let members download it.

    Raises:
        ConfigError: The members agreed on a router, and its reference is not configured or cannot be
            read.
        WrongReference: It is another one than agreed.
    """
    agreed = session.parameters.statistics
    path = session.config.aggregator.reference
    if agreed is None or agreed.router is None:
        if path is not None:
            raise ConfigError(
                f"aggregator.reference is {path}, and the consortium has not agreed on a router: "
                "remove the setting"
            )
        return
    if agreed.router.reference is not None and session.store.has(agreed.router.reference):
        session.publish(session.store.get(agreed.router.reference))
        return
    if path is None:
        raise ConfigError(
            "the consortium has agreed on a router: name the file of its public reference, "
            f"{agreed.router.reference}, as aggregator.reference"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"aggregator.reference: {path} cannot be read: {error.strerror}. It holds the public "
            f"reference of the agreed router, {agreed.router.reference}: copy it from the former "
            "aggregator, or make it again from the same questions"
        ) from error
    agreed.router.reference_rows(decode(data))
    session.publish(data)
