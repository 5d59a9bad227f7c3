"""The Merkle tree against RFC 6962's own definition and its published vectors."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assessment import merkle
from assessment.merkle import Unproven

# The eight leaves and roots that Certificate Transparency's implementations share as their test vectors.
LEAVES = [
    bytes.fromhex(h)
    for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def mth(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def grown(leaves: Sequence[bytes]) -> dict[merkle.Node, bytes]:
    """The nodes as a log keeps them, leaf by leaf."""
    nodes: dict[merkle.Node, bytes] = {}
    for index, leaf in enumerate(leaves):
        nodes[0, index] = merkle.leaf_hash(leaf)
        for level, i in merkle.completed_by(index):
            nodes[level, i] = merkle.node_hash(nodes[level - 1, 2 * i], nodes[level - 1, 2 * i + 1])
    return nodes


def some(count: int) -> list[bytes]:
    return [str(n).encode() for n in range(count)]


def test_the_published_vectors_hold() -> None:
    nodes = grown(LEAVES)
    for size, root in enumerate(ROOTS, 1):
        assert merkle.range_hash((0, size), nodes.__getitem__).hex() == root


@given(st.integers(0, 130))
def test_roots_are_the_rfcs(size: int) -> None:
    leaves = some(size)
    assert merkle.range_hash((0, size), grown(leaves).__getitem__) == mth(leaves)


@given(st.integers(1, 130), st.data())
def test_every_leaf_is_proven_and_nothing_else_is(size: int, data: st.DataObject) -> None:
    leaves = some(size)
    nodes = grown(leaves)
    index = data.draw(st.integers(0, size - 1))
    root = merkle.range_hash((0, size), nodes.__getitem__)
    proof = [merkle.range_hash(r, nodes.__getitem__) for r in merkle.inclusion(index, size)]
    assert len(proof) <= (size - 1).bit_length()
    merkle.verify_inclusion(nodes[0, index], index, size, proof, root)
    for leaf, at, path in (
        (merkle.leaf_hash(b"forged"), index, proof),
        (nodes[0, index], (index + 1) % size if size > 1 else 1, proof),
        (nodes[0, index], index, [*proof, b"\0" * 32]),
        *([(nodes[0, index], index, proof[:-1])] if proof else []),
        *([(nodes[0, index], index, [b"\0" * 32, *proof[1:]])] if proof else []),
    ):
        with pytest.raises(Unproven):
            merkle.verify_inclusion(leaf, at, size, path, root)


@given(st.integers(1, 100), st.integers(0, 100), st.data())
def test_a_log_that_only_grew_is_consistent_and_a_rewritten_one_is_not(
    old: int, more: int, data: st.DataObject
) -> None:
    new = old + more
    nodes = grown(some(new))
    old_root = merkle.range_hash((0, old), nodes.__getitem__)
    new_root = merkle.range_hash((0, new), nodes.__getitem__)
    proof = [merkle.range_hash(r, nodes.__getitem__) for r in merkle.consistency(old, new)]
    merkle.verify_consistency(old, new, old_root, new_root, proof)

    changed = some(new)
    changed[data.draw(st.integers(0, old - 1))] = b"changed afterwards"
    forged = grown(changed)
    with pytest.raises(Unproven):
        merkle.verify_consistency(
            old,
            new,
            old_root,
            merkle.range_hash((0, new), forged.__getitem__),
            [merkle.range_hash(r, forged.__getitem__) for r in merkle.consistency(old, new)],
        )
    if more:
        with pytest.raises(Unproven):
            merkle.verify_consistency(new, old, new_root, old_root, proof)
