"""Which node holds which shards of an index: from sizes and room alone, without Ray or FAISS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

# Places tried before a search ends without an answer: one that has to go on for longer is next to full.
_MOST_STEPS = 5_000
# CPUs are added up as floats.
_TINY = 1e-6


@dataclass(frozen=True)
class Node:
    """Room for index actors on one node."""

    name: str
    memory: float
    """Bytes; infinite where nobody knows."""
    cpus: float
    slots: int = 0
    """Index actors that its GPUs have room for, see `gpu_slots`."""
    gpu_memory: float = float("inf")
    """Bytes of one of its GPUs that an actor may fill; infinite where nobody knows."""
    beside: bool = False
    """Training workers will be here."""


@dataclass(frozen=True)
class Need:
    """What an index actor claims; each of its replicas claims the same."""

    memory: int
    """Bytes."""
    cpus: float = 0.0
    slots: int = 0
    """1: it searches on a GPU."""
    gpu_memory: int = 0
    """Bytes that it fills of its GPU."""


_NOTHING = Need(0)
Placement = tuple[tuple[int, ...], ...]
"""By need and replica, the number of the node."""


def gpu_slots(gpus: float, share: float) -> int:
    """Index actors with `share` of a GPU each, above 0 and at most 1, for which `gpus` have room.

    An actor's share lies on one GPU: two halves that are left on different ones are no whole one.
    """
    whole = int(gpus + _TINY)
    return whole * int(1 / share + _TINY) + int((gpus - whole) / share + _TINY)


def shards_of_actors(shards: int, actors: int | None) -> tuple[tuple[int, ...], ...]:
    """By actor, the numbers of the shards that it holds: runs of nearly the same length, in order.

    Args:
        shards: of a scale. actors: never more than there are shards; None: one a shard.
    """
    count = min(actors or shards, shards)
    ends = [shards * number // count for number in range(count + 1)]
    return tuple(tuple(range(begin, end)) for begin, end in pairwise(ends))


def place(
    needs: Sequence[Need], nodes: Sequence[Node], replicas: int = 1, *, thorough: bool = True
) -> Placement | None:
    """Chooses the nodes of all actors: as few replicas of the same shards on one node as possible; then those
    beside the training workers; then the same number of bytes everywhere.

    Args:
        needs: of the actors, without their replicas. replicas: of each, at least 1.
        thorough: go back and try other places where the first choice leads nowhere.

    Returns:
        None: there is no such placement, or only one that is found by trying for long.
    """
    if replicas * sum(need.memory for need in needs) > sum(node.memory for node in nodes):
        return None  # told without trying
    for together in range(-(-replicas // max(len(nodes), 1)), replicas + 1):
        # The second order fills nodes up instead of evening them out, and so finds what the first one misses.
        for evenly in (True, False):
            found = _Search(needs, nodes, replicas, together, evenly).run(_MOST_STEPS if thorough else 0)
            if found is not None:
                return found
    return None


def homes(placed: Sequence[int], others: Sequence[int], turn: int = 0) -> tuple[tuple[int, ...], ...]:
    """By replica of the same shards, the nodes that it may be started on again: its own first.

    Replicas that are apart have no node in common, so whichever nodes die, they do not meet as long as each
    has one left.

    Args:
        placed: the node of each replica. others: all nodes with room for it, these included.
        turn: who begins to choose; a different one for each actor, so that those of a dead node part.
    """
    sets = [[node] for node in placed]
    spare = [node for node in others if node not in placed]
    for number in range(len(spare)):
        sets[(number + turn) % len(sets)].append(spare[(number + turn) % len(spare)])
    return tuple(map(tuple, sets))


@dataclass
class _Search:
    """Depth first: the actor that takes most is placed first, and all replicas of one after the other."""

    needs: Sequence[Need]
    nodes: Sequence[Node]
    replicas: int
    together: int
    """Most replicas of the same shards on one node."""
    evenly: bool
    used: list[Need] = field(init=False)
    """By node: what has been placed there."""
    here: list[Counter[int]] = field(init=False)
    """By node: how many replicas of each actor."""

    def run(self, more: int) -> Placement | None:
        """`more`: places tried beyond one for each replica."""
        self.used = [_NOTHING] * len(self.nodes)
        self.here = [Counter() for _ in self.nodes]
        largest_first = sorted(
            range(len(self.needs)), key=lambda at: (-self.needs[at].memory, -self.needs[at].cpus, at)
        )
        order = [at for at in largest_first for _ in range(self.replicas)]
        if not order:
            return ()
        steps = more + len(order)
        chosen: list[int] = []
        open_ = [self._places(order[0])]
        while open_:
            if len(chosen) == len(open_):  # nothing fitted behind this choice
                self._put(order[len(chosen) - 1], chosen.pop(), -1)
            at = next(open_[-1], None)
            if at is None:
                open_.pop()
                continue
            if steps == 0:
                return None
            steps -= 1
            self._put(order[len(chosen)], at, 1)
            chosen.append(at)
            if len(chosen) == len(order):
                of: list[list[int]] = [[] for _ in self.needs]
                for need, node in zip(order, chosen, strict=True):
                    of[need].append(node)
                return tuple(map(tuple, of))
            open_.append(self._places(order[len(chosen)]))
        return None

    def _places(self, at: int) -> Iterator[int]:
        """The nodes with room for a replica, the best first; of those that are alike, one."""
        need = self.needs[at]
        alike: dict[tuple[object, ...], int] = {}
        for number, (node, used) in enumerate(zip(self.nodes, self.used, strict=True)):
            if self.here[number][at] < self.together and fits(need, node, used):
                left = (node.memory - used.memory, round(node.cpus - used.cpus, 6), node.slots - used.slots)
                same = (*left, used.memory, node.gpu_memory, node.beside, self._neighbours(number))
                alike.setdefault(same, number)
        return iter(sorted(alike.values(), key=self._worth))

    def _neighbours(self, number: int) -> frozenset[tuple[int, int]]:
        """Nodes that hold different actors are not alike for those actors' further replicas."""
        return frozenset(self.here[number].items()) if self.replicas > 1 else frozenset()

    def _worth(self, number: int) -> tuple[object, ...]:
        node, used = self.nodes[number], self.used[number]
        if self.evenly:
            return (not node.beside, used.memory, used.cpus, -node.memory, number)
        return (node.memory - used.memory, not node.beside, number)

    def _put(self, at: int, number: int, sign: int) -> None:
        need, used = self.needs[at], self.used[number]
        self.used[number] = Need(
            used.memory + sign * need.memory, used.cpus + sign * need.cpus, used.slots + sign * need.slots
        )
        self.here[number][at] += sign
        if not self.here[number][at]:
            del self.here[number][at]


def fits(need: Need, node: Node, used: Need = _NOTHING) -> bool:
    """Whether an actor has room on a node beside what is there."""
    return (
        used.memory + need.memory <= node.memory
        and used.cpus + need.cpus <= node.cpus + _TINY
        and used.slots + need.slots <= node.slots
        and (need.slots == 0 or need.gpu_memory <= node.gpu_memory)
    )
