"""Both daemons refuse contracts whose contributions are not those of the agreed coupling."""

from dataclasses import replace

import pytest

from rescind.contracts import Rule, Settings, rules_of
from rescind.daemon import RulesNotServed, check_rules
from tests.support.consortium import micro_parameters, split_parameters


def settings_of(*, federated: bool) -> Settings:
    rules, chained = rules_of(micro_parameters(federated=federated))
    return Settings("aa", "bb", rules, chained, False, 10, 600, 300, 300)


@pytest.mark.parametrize("federated", [False, True])
def test_the_rules_of_the_agreed_coupling_are_served(federated: bool) -> None:
    check_rules(settings_of(federated=federated), micro_parameters(federated=federated))


def test_the_rules_of_private_and_shared_ranks_are_served() -> None:
    rules, chained = rules_of(split_parameters())
    assert (rules, chained) == ((Rule.BLOCK, Rule.SHARE), False)
    agreed = Settings("aa", "bb", rules, chained, False, 10, 600, 300, 300)
    check_rules(agreed, split_parameters())
    with pytest.raises(RulesNotServed, match="coupling split has the parts block, share"):
        check_rules(settings_of(federated=False), split_parameters())


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"rules": (Rule.SHARE, Rule.BLOCK)}, "the parts share, block"),
        ({"rules": (Rule.LATEST,)}, "the parts latest"),
        ({"chained": True}, "rounds chained"),
    ],
    ids=["two parts", "another rule", "chained"],
)
def test_other_rules_are_refused_in_one_line(changes: dict[str, object], what: str) -> None:
    settings = replace(settings_of(federated=False), **changes)
    with pytest.raises(RulesNotServed, match=what) as caught:
        check_rules(settings, micro_parameters())
    assert "\n" not in str(caught.value)
