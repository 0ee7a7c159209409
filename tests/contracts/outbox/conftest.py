import pytest

from tests.support.scripted_pool import DurableOutbox, FakeAccount, ScriptedNode


@pytest.fixture
def node() -> ScriptedNode:
    return ScriptedNode()


@pytest.fixture
def account() -> FakeAccount:
    return FakeAccount(DurableOutbox())
