import warnings

from hypothesis import given
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pymerkle import InmemoryTree

from rescind.ledger import merkle


def brute_root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle.node_hash(brute_root(leaves[:split]), brute_root(leaves[split:]))


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=40), st.data())
def test_roots_and_proofs_agree_with_brute_force(data: list[bytes], draw: st.DataObject) -> None:
    leaves = [merkle.leaf_hash(item) for item in data]
    subtree, size = merkle.subtrees_of(leaves), len(leaves)
    root = merkle.root(size, subtree)
    assert root == brute_root(leaves)
    index = draw.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, subtree)
    assert merkle.verify_inclusion(leaves[index], index, size, proof, root)
    assert not merkle.verify_inclusion(merkle.leaf_hash(b"other"), index, size, proof, root)
    assert not merkle.verify_inclusion(leaves[index], index, size, [*proof, root], root)
    first = draw.draw(st.integers(1, size))
    path = merkle.consistency_proof(first, size, subtree)
    assert merkle.verify_consistency(first, size, path, brute_root(leaves[:first]), root)
    assert not merkle.verify_consistency(first, size, path, merkle.leaf_hash(b"other"), root)


@given(st.lists(st.binary(min_size=1, max_size=8), min_size=1, max_size=30))
def test_roots_agree_with_pymerkle(data: list[bytes]) -> None:
    oracle = InmemoryTree(algorithm="sha256")
    for item in data:
        oracle.append_entry(item)
    leaves = [merkle.leaf_hash(item) for item in data]
    assert merkle.root(len(data), merkle.subtrees_of(leaves)) == oracle.get_root()


@given(st.lists(st.binary(max_size=4), max_size=40))
def test_a_frontier_grows_to_the_same_root(data: list[bytes]) -> None:
    leaves, frontier = [merkle.leaf_hash(item) for item in data], merkle.Frontier()
    for leaf in leaves:
        for level, index, digest in frontier.add(leaf):
            assert digest == merkle.subtrees_of(leaves)(level, index)
        so_far = frontier.size
        assert frontier.root() == merkle.root(so_far, merkle.subtrees_of(leaves[:so_far]))
        assert {level for level, _ in frontier.wanted()} == set(frontier.peaks)


def test_the_trees_of_the_rfc_have_its_proofs() -> None:
    """RFC 9162, section 2.1.5: the tree of seven leaves, and its proofs by name."""
    leaf = [merkle.leaf_hash(bytes([n])) for n in range(7)]
    a, b, c, d, e, f, j = leaf
    g, h, i = merkle.node_hash(a, b), merkle.node_hash(c, d), merkle.node_hash(e, f)
    k, l = merkle.node_hash(g, h), merkle.node_hash(i, j)  # noqa: E741 (the letters of RFC 9162)
    subtree = merkle.subtrees_of(leaf)
    assert merkle.root(7, subtree) == merkle.node_hash(k, l)
    assert merkle.inclusion_proof(0, 7, subtree) == [b, h, l]
    assert merkle.inclusion_proof(3, 7, subtree) == [c, g, l]
    assert merkle.inclusion_proof(4, 7, subtree) == [f, j, k]
    assert merkle.inclusion_proof(6, 7, subtree) == [i, k]
    assert merkle.consistency_proof(3, 7, subtree) == [c, d, g, l]
    assert merkle.consistency_proof(4, 7, subtree) == [l]
    assert merkle.consistency_proof(6, 7, subtree) == [i, j, k]


def test_duplicating_the_last_leaf_changes_the_root() -> None:
    leaves = [merkle.leaf_hash(bytes([n])) for n in range(3)]
    doubled = [*leaves, leaves[-1]]
    assert merkle.root(3, merkle.subtrees_of(leaves)) != merkle.root(4, merkle.subtrees_of(doubled))
