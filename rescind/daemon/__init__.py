"""The shell that both daemons share: journal, configuration sections, identity and loop."""

from rescind.daemon.activity import Activities, Activity, Tell, activity_of, activity_status
from rescind.daemon.agreement import RulesNotServed, check_rules
from rescind.daemon.certificates import (
    CertificateWatch,
    certificate_status,
    check_certificates,
    finish_renewal,
    renew_certificate,
)
from rescind.daemon.config import ChainSettings, IdentitySettings, ModelSection, Section
from rescind.daemon.facts import read_fact
from rescind.daemon.file_modes import (
    check_config_mode,
    check_file_modes,
    keep_new_files_private,
)
from rescind.daemon.identity import (
    certificate_claim,
    certificate_owners,
    load_account,
    open_consortium,
    open_keystore,
)
from rescind.daemon.journal import Journal, open_journal
from rescind.daemon.loop import DaemonLoop
from rescind.daemon.pinning import (
    NotTheAggregator,
    NotTheOrganization,
    ServerCheck,
    check_active_member,
    check_aggregator,
    organization_check,
)
from rescind.daemon.scrubbing import scrub

__all__ = [
    "Activities",
    "Activity",
    "CertificateWatch",
    "ChainSettings",
    "DaemonLoop",
    "IdentitySettings",
    "Journal",
    "ModelSection",
    "NotTheAggregator",
    "NotTheOrganization",
    "RulesNotServed",
    "Section",
    "ServerCheck",
    "Tell",
    "activity_of",
    "activity_status",
    "certificate_claim",
    "certificate_owners",
    "certificate_status",
    "check_active_member",
    "check_aggregator",
    "check_certificates",
    "check_config_mode",
    "check_file_modes",
    "check_rules",
    "finish_renewal",
    "keep_new_files_private",
    "load_account",
    "open_consortium",
    "open_journal",
    "open_keystore",
    "organization_check",
    "read_fact",
    "renew_certificate",
    "scrub",
]
