from collections.abc import Iterator

import pytest

from tests.support.certified import Story, begin, remove_first
from tests.support.chain import Anvil
from tests.support.consortium import make_consortium


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, running_anvil: Anvil) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    with running_anvil.rewound():
        story = begin(make_consortium(running_anvil, store=folder / "store"), folder)
        remove_first(story)
        yield story


@pytest.fixture
def story(played: Story) -> Story:
    played.certify()
    return played
