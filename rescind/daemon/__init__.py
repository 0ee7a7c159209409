"""What both daemons share: the journal of durable facts and the configuration sections."""

from rescind.daemon.config import ChainSettings, IdentitySettings, Section
from rescind.daemon.journal import Journal

__all__ = ["ChainSettings", "IdentitySettings", "Journal", "Section"]
