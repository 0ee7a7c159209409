"""A run's model answers only while it is in use and its files are there."""

from pathlib import Path

import pytest

from rescind.core.errors import ConfigError
from rescind.devnet import RunFolder
from rescind.devnet.layout import RunFacts
from rescind.devnet.serving import NotServed, ServedModel, model_before, newest_model
from tests.support.certified import Story, begin, remove_first
from tests.support.chain import Anvil
from tests.support.consortium import make_consortium


@pytest.fixture
def story(anvil: Anvil, tmp_path: Path) -> Story:
    run = RunFolder(tmp_path)
    return begin(make_consortium(anvil, store=run.store), tmp_path)


def run_of(story: Story) -> RunFolder:
    run, deployment = RunFolder(story.folder), story.consortium.deployment
    port = int(story.consortium.anvil.url.rpartition(":")[2])
    facts = RunFacts(
        seed=0,
        coupling="isolated",
        model="",
        rounds=2,
        chain_id=deployment.chain_id,
        chain_port=port,
        aggregator_port=1,
        organizations={},
    )
    run.save(facts)
    return run


def newest(story: Story) -> ServedModel:
    return newest_model(run_of(story), story.consortium.parameters)


def test_a_model_in_memory_answers_no_more_once_its_organization_withdrew(story: Story) -> None:
    with pytest.raises(NotServed, match="has not published the files of model 2 yet"):
        newest(story)
    story.publish()
    served = newest(story)
    served.check()
    story.consortium.of(story.consortium.organizations[0]).request_withdrawal()
    for check in (served.check, lambda: newest(story)):
        with pytest.raises(NotServed, match=r"^Model 2 is not in use any more: .* was withdrawn\."):
            check()
    story.consortium.remove(1)
    with pytest.raises(NotServed, match=r"^Model 2 .*: model 3 took its place\. Start again"):
        served.check()
    story.publish()
    assert newest(story).model_id == 3


def test_a_model_whose_files_were_erased_answers_no_more(story: Story) -> None:
    story.publish()
    served = newest(story)
    served.files[0].unlink()
    with pytest.raises(NotServed, match="files of model 2 are not in the run's store any more"):
        served.check()


def test_the_model_before_a_withdrawal_answers_until_it_is_erased(story: Story) -> None:
    remove_first(story)
    story.certify(evaluated=False)
    before = model_before(run_of(story), story.consortium.parameters)
    before.check()
    before.files[0].unlink()
    erased = "^The model before the withdrawal, model 2, was erased .* without --before-withdrawal"
    for check in (
        before.check,
        lambda: model_before(run_of(story), story.consortium.parameters),
    ):
        with pytest.raises(ConfigError, match=erased):
            check()


def test_a_statement_of_a_stranger_is_not_what_a_run_serves(story: Story) -> None:
    published, _ = story.publish()
    stranger = story.consortium.of(story.consortium.organizations[0])
    stranger.publish(2, "ab" * 32, "cd" * 32)
    assert newest(story).adapter_id == published
