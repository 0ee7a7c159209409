"""A node starts though a file of its store is damaged, and gets the file again."""

from pathlib import Path

from tests.aggregator.scene import open_scene
from tests.node.stage import open_node
from tests.support.chain import Anvil
from tests.support.stored_files import damage


def test_a_node_starts_with_a_damaged_copy_of_the_agreed_parameters(
    running_anvil: Anvil, tmp_path: Path
) -> None:
    with open_scene(running_anvil, tmp_path) as scene:
        member = scene.honest
        with open_node(scene, member) as node:
            agreed = node.session.parameters
            store = Path(str(node.session.config.node.state_dir)) / "store"
        damage(store, agreed.id)
        with open_node(scene, member) as node:
            assert not node.session.store.has(agreed.id)
            assert node.session.parameters == agreed
