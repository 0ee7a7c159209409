"""Hidden digests: noise is part of every sum and of no model."""

from pathlib import Path

import pytest

from rescind.core import (
    HIDING,
    ArtifactStore,
    decode,
    split_owner,
)
from tests.support.daemons import consortium, finals, wait_for
from tests.support.withdrawals import adapter

pytestmark = pytest.mark.slow


def test_a_consortium_with_hiding_trains_and_adds_up(tmp_path: Path) -> None:
    with consortium(tmp_path, 1, hiding=True) as (run, record, daemons):
        for daemon in daemons.values():
            daemon.start()
        wait_for("the round", lambda: finals(record) == 1)
        store = ArtifactStore(run.store)
        contributed = [each.parts.artifact_ids[0] for each in record.contributions(1)]
        for artifact in [adapter(record), *contributed]:
            tensors = decode(store.get(artifact))
            noise = [v for n, v in tensors.items() if split_owner(n)[1] == HIDING]
            assert noise
            assert all(abs(value).max() > 2**20 for value in noise)
        nodes = [daemons[name] for name in run.facts().organizations]
        wait_for("the nodes adopt it", lambda: all(n.said('"step": "settle"') for n in nodes))
        assert not any(n.said('"level": "error"') for n in nodes)
