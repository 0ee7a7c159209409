"""The agreed parameters against the contracts: whether this software can serve the consortium."""

from __future__ import annotations

from rescind.contracts import Settings, rules_of
from rescind.core import ConsortiumParameters
from rescind.core.errors import ConfigError


class RulesNotServed(ConfigError):
    """The contracts add contributions up in another way than the agreed coupling does."""

    code = "config-rules-not-served"


def check_rules(settings: Settings, parameters: ConsortiumParameters) -> None:
    """Check that contributions have the parts and the rules of the agreed coupling.

    The contracts take contributions of one to four parts.

    Args:
        settings: The settings of the consortium on chain.
        parameters: What the consortium agreed on.

    Raises:
        RulesNotServed: The contracts were deployed for other contributions.
    """
    rules, chained = rules_of(parameters)
    if (settings.rules, settings.chained) == (rules, chained):
        return
    configured = ", ".join(rule.value for rule in settings.rules)
    wanted = ", ".join(rule.value for rule in rules)
    raise RulesNotServed(
        f"the contracts take contributions with the parts {configured} "
        f"({_chained(settings.chained)}), but coupling {parameters.coupling} has the parts "
        f"{wanted} ({_chained(chained)}): use a version of rescind that serves them, or deploy "
        "the contracts for this coupling"
    )


def _chained(chained: bool) -> str:
    return "rounds chained" if chained else "rounds not chained"
