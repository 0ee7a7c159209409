"""The slow targets in short: beside a real chain, or with points of the curve."""

import pytest

from tests.fuzz import on_chain, opened
from tests.fuzz.loop import run_plain
from tests.fuzz.registry import slow_names
from tests.support.chain import Anvil

INPUTS = 150


@pytest.mark.slow
def test_a_changed_certificate_disclosure_or_adapter_is_never_a_false_yes(
    monkeypatch: pytest.MonkeyPatch, running_anvil: Anvil
) -> None:
    # The targets replace the connection to the chain; this puts it back.
    monkeypatch.setattr(on_chain.chain_module, "HttpTransport", on_chain.HttpTransport)
    names = []
    for target in (*on_chain.targets(), *opened.targets()):
        names.append(target.name)
        assert run_plain(target, 0, INPUTS) > INPUTS // 2
    assert names == slow_names()
