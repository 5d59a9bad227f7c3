"""The Merkle tree of RFC 6962 §2.1: roots, inclusion and consistency proofs, and their verification. PURE.

A log of n leaves is kept as the hashes of its complete subtrees, named (level, index): node (0, i) is leaf i and node
(l, i) covers leaves i·2^l … (i + 1)·2^l − 1. Such a node never changes, and any root or proof of any size is made of
O(log n) of them: the functions here say which, so that a caller fetches all it needs in one query.
"""

import hashlib
from collections.abc import Callable, Sequence

Node = tuple[int, int]  # (level, index)
Range = tuple[int, int]  # leaves first … end − 1
EMPTY_ROOT = hashlib.sha256(b"").digest()


class Unproven(ValueError):
    """A proof that does not prove what it claims."""


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def completed_by(index: int) -> list[Node]:
    """The inner nodes that are complete once leaf `index` is there, lowest first: each joins the one before it with
    its left sibling."""
    nodes: list[Node] = []
    level = 0
    while index & 1:
        level, index = level + 1, index >> 1
        nodes.append((level, index))
    return nodes


def nodes_of(leaves: Range) -> list[Node]:
    """The complete subtrees that `leaves` consists of, left to right. Its first leaf must start the largest one, as
    it does in every range that RFC 6962 makes."""
    nodes: list[Node] = []
    first, end = leaves
    while first < end:
        level = (end - first).bit_length() - 1
        nodes.append((level, first >> level))
        first += 1 << level
    return nodes


def range_hash(leaves: Range, node: Callable[[Node], bytes]) -> bytes:
    """MTH of RFC 6962 §2.1 over `leaves`."""
    if leaves[0] == leaves[1]:
        return EMPTY_ROOT
    *lefts, last = nodes_of(leaves)
    found = node(last)
    for left in reversed(lefts):
        found = node_hash(node(left), found)
    return found


def inclusion(index: int, size: int) -> list[Range]:
    """PATH of RFC 6962 §2.1.1: the ranges whose hashes prove leaf `index` in the tree of `size`, leaf's sibling
    first."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    first, end = 0, size
    path: list[Range] = []
    while end - first > 1:
        middle = first + _largest_power_below(end - first)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((first, middle))
            first = middle
    return path[::-1]


def consistency(old: int, new: int) -> list[Range]:
    """PROOF of RFC 6962 §2.1.2: the ranges whose hashes prove that the tree of `old` leaves begins the tree of
    `new`."""
    if not 0 < old <= new:
        raise ValueError(f"a tree of {old} does not begin one of {new}")
    first, end = 0, new
    proof: list[Range] = []
    whole = True  # whether first … old is the old tree as such, whose root the verifier has
    while old != end:
        middle = first + _largest_power_below(end - first)
        if old <= middle:
            proof.append((middle, end))
            end = middle
        else:
            proof.append((first, middle))
            first, whole = middle, False
    if not whole:
        proof.append((first, end))
    return proof[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """RFC 9162 §2.1.3.2. Raises Unproven."""
    if not 0 <= index < size:
        raise Unproven(f"entry {index} is beyond the {size} of the checkpoint")
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise Unproven("the proof is too long")
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    if last != 0 or found != root:
        raise Unproven("the entry is not in the log that the checkpoint describes")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """RFC 9162 §2.1.4.2: the new tree begins with the old one. Raises Unproven."""
    if old > new:
        raise Unproven(f"the log has shrunk from {old} to {new} entries")
    if old in (0, new):
        if proof or (old and old_root != new_root):
            raise Unproven("two different logs of the same size")
        return
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        raise Unproven("the proof is too short")
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    found_old = found_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise Unproven("the proof is too long")
        if at & 1 or at == last:
            found_old, found_new = node_hash(sibling, found_old), node_hash(sibling, found_new)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found_new = node_hash(found_new, sibling)
        at, last = at >> 1, last >> 1
    if last != 0 or found_old != old_root or found_new != new_root:
        raise Unproven("the log was rewritten: it does not begin with what was there before")


def _largest_power_below(n: int) -> int:
    return 1 << ((n - 1).bit_length() - 1)
