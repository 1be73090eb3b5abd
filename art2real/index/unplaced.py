"""What to do where index actors have no room: how many shards, which codes, or which nodes would do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from art2real.config.tree import Cluster
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.index.build import plan
from art2real.index.estimate import in_words, index_bytes
from art2real.index.factory import IndexSpec
from art2real.index.held import Held, as_built, estimated, held
from art2real.index.manifest import IndexManifest
from art2real.index.placement import Need, Node, fits, place, shards_of_actors
from art2real.index.sized import sized_candidates

_MOST_NODES = 64
_ONE_BY_ONE = 64
_SHARES = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Group:
    """What one index actor holds, and each of its replicas."""

    scale: Scale
    shards: tuple[int, ...]
    need: Need

    def __str__(self) -> str:
        first, last = self.shards[0] + 1, self.shards[-1] + 1
        which = f"shard {first}" if first == last else f"shards {first} to {last} in one actor"
        return f"index {which} of scale {self.scale}"


def groups_of(manifests: Mapping[Scale, IndexManifest], cluster: Cluster) -> list[Group]:
    """The actors of all scales, without their replicas: by scale, then by shard."""
    groups = []
    for scale, manifest in manifests.items():
        for shards in shards_of_actors(len(manifest.parts), cluster.index_actors):
            groups.append(Group(scale, shards, _need(held(manifest, scale, shards), cluster)))
    return groups


def _need(held: Held, cluster: Cluster) -> Need:
    on_gpu = cluster.index_gpus > 0
    return Need(held.memory, cluster.index_cpus, int(on_gpu), held.gpu_memory if on_gpu else 0)


@dataclass(frozen=True)
class Unplaced:
    """Index actors for which there is no placement."""

    bank: MemoryBank
    manifests: Mapping[Scale, IndexManifest]
    cluster: Cluster
    rooms: Callable[[Cluster], Sequence[Node]]
    """The nodes that index actors of these settings may be on; at least one."""

    @cached_property
    def nodes(self) -> Sequence[Node]:
        """As things are set."""
        return self.rooms(self.cluster)

    def explain(self) -> str:
        """What does not fit, and what to do: one line."""
        mends = [*self._other_settings(), *self._more_shards(), *self._coarser_codes(), *self._more_nodes()]
        return f"{self._what()}; {', or '.join(mends) if mends else 'use nodes of more memory'}"

    def _what(self) -> str:
        groups = groups_of(self.manifests, self.cluster)
        for group in sorted(groups, key=lambda group: -group.need.memory):
            if any(fits(group.need, node) for node in self.nodes):
                continue
            need = group.need
            memory = max(node.memory for node in self.nodes)
            if need.memory > memory:
                return (
                    f"{group} takes {_told_apart(need.memory, memory)} and fits no node "
                    f"(largest: {_told_apart(memory, need.memory)})"
                )
            cpus = max(node.cpus for node in self.nodes)
            if need.cpus > cpus:
                return f"an index actor claims {need.cpus:g} CPUs, and no node has more than {cpus:g}"
            if need.slots and (most := max(node.gpu_memory for node in self.nodes)) < need.gpu_memory:
                return (
                    f"{group} takes {in_words(need.gpu_memory)} of GPU memory, and its share "
                    f"({self.cluster.index_gpus:g}) of the largest GPU is {in_words(int(most))}"
                )
            return (
                f"{group} takes {in_words(need.memory)}, and no node has that and a GPU's share left for it"
            )
        replicas = self.cluster.index_replicas
        count = len(groups) * replicas
        total = sum(group.need.memory for group in groups) * replicas
        room = sum(node.memory for node in self.nodes)
        of = "" if math.isinf(room) else f", {in_words(int(room))} of memory"
        gpus = f", {sum(node.slots for node in self.nodes)} places on GPUs" * bool(self.cluster.index_gpus)
        return (
            f"{count} index actors of {count * self.cluster.index_cpus:g} CPUs and {in_words(total)} do not "
            f"fit together into the room of {_counted(len(self.nodes), 'node')} "
            f"({sum(node.cpus for node in self.nodes):g} CPUs{of}{gpus})"
        )

    def _other_settings(self) -> Iterator[str]:
        cluster = self.cluster
        for fewer in range(cluster.index_replicas - 1, 0, -1):
            if self._has_room(cluster.model_copy(update={"index_replicas": fewer})):
                yield f"set cluster.index_replicas to {fewer}"
                break
        if cluster.index_actors and self._has_room(cluster.model_copy(update={"index_actors": None})):
            yield "leave cluster.index_actors out"
        # A larger share has more memory; smaller ones have room for more actors.
        larger = [share for share in _SHARES if share > cluster.index_gpus]
        for share in (*larger, *(each for each in reversed(_SHARES) if each < cluster.index_gpus), 0.0):
            if cluster.index_gpus and self._has_room(cluster.model_copy(update={"index_gpus": share})):
                yield f"set cluster.index_gpus to {share:g}"
                break
        least = min(cluster.index_cpus, 0.1)
        if self._has_room(cluster.model_copy(update={"index_cpus": least})):
            yield f"let each claim less with cluster.index_cpus (now {cluster.index_cpus:g})"

    def _has_room(self, cluster: Cluster) -> bool:
        needs = [group.need for group in groups_of(self.manifests, cluster)]
        return place(needs, self.rooms(cluster), cluster.index_replicas, thorough=False) is not None

    def _more_shards(self) -> Iterator[str]:
        """More shards of the same types help where one is too large for a node."""
        specs = {scale: as_built(manifest, scale) for scale, manifest in self.manifests.items()}
        most = len(self.bank.shards)
        for shards in _counts(max(len(each.parts) for each in self.manifests.values()) + 1, most):
            if self._would_fit(specs, shards):
                yield f"rebuild with `{self._command(shards)}`"
                return

    def _coarser_codes(self) -> Iterator[str]:
        """What `--memory` leads to, see `art2real.index.estimate.choose`: it takes the types of auto."""
        shards = max(len(each.parts) for each in self.manifests.values())
        scales = self.bank.scales
        left = {scale: sized_candidates("auto", scale.dimension, self.bank.rows(scale)) for scale in scales}
        sizes = {
            scale: [index_bytes(spec, scale.dimension, self.bank.rows(scale)) for spec in specs]
            for scale, specs in left.items()
        }
        held = {scale: manifest.bytes for scale, manifest in self.manifests.items()}
        while True:
            total = sum(each[0] for each in sizes.values())
            specs = {scale: left[scale][0] for scale in self.manifests}
            smaller = sum(sizes[scale][0] for scale in held) < sum(held.values())
            if smaller and self._would_fit(specs, shards):
                types = ", ".join(
                    f"{spec.factory} at {scale}: {in_words(self._largest(spec, scale, shards))} a shard"
                    for scale, spec in specs.items()
                )
                option = (
                    f"--memory {_size(total)}" if len(scales) > 1 else f"--factory {specs[scales[0]].factory}"
                )
                yield f"with `{self._command(shards, codes=option)}` ({types})"
                return
            coarser = [scale for scale, each in sizes.items() if len(each) > 1]
            if not coarser:
                return
            scale = max(coarser, key=lambda scale: sizes[scale][0] - sizes[scale][1])
            del sizes[scale][0], left[scale][0]

    def _more_nodes(self) -> Iterator[str]:
        needs = [group.need for group in groups_of(self.manifests, self.cluster)]
        largest = max(self.nodes, key=lambda node: (node.slots > 0, node.memory, node.cpus))
        if not all(fits(need, largest) for need in needs):
            return
        for more in range(1, _MOST_NODES + 1):
            nodes = [*self.nodes, *(replace(largest, name=f"+{number}") for number in range(more))]
            if place(needs, nodes, self.cluster.index_replicas, thorough=False) is not None:
                yield f"add {_counted(more, 'node')} like the largest"
                return

    def _would_fit(self, specs: Mapping[Scale, IndexSpec], shards: int) -> bool:
        cluster = self.cluster
        needs = []
        for scale, spec in specs.items():
            rows = self._rows(scale, shards)
            for numbers in shards_of_actors(len(rows), cluster.index_actors):
                needs.append(_need(estimated(spec, scale, [rows[number] for number in numbers]), cluster))
        return place(needs, self.nodes, cluster.index_replicas, thorough=False) is not None

    def _largest(self, spec: IndexSpec, scale: Scale, shards: int) -> int:
        return max(index_bytes(spec, scale.dimension, rows, 0) for rows in self._rows(scale, shards))

    def _rows(self, scale: Scale, shards: int) -> list[int]:
        in_bank = self.bank.shard_rows(scale)
        return [sum(len(in_bank[number]) for number in part) for part in plan(self.bank, shards)]

    def _command(self, shards: int, codes: str | None = None) -> str:
        asked = {manifest.trained.request.factory for manifest in self.manifests.values()} - {"auto"}
        if codes is None:
            codes = f"--factory {asked.pop()}" if len(asked) == 1 else ""
        given = f"--shards {shards}" if shards > 1 else ""
        return " ".join(filter(None, [f"build-index {self.bank.path} --overwrite", given, codes]))


def _counts(first: int, last: int) -> Iterator[int]:
    """Numbers to try, one by one at first."""
    yield from range(first, min(first + _ONE_BY_ONE, last + 1))
    count = first + _ONE_BY_ONE
    while count <= last:
        yield count
        count = min(2 * count, last) if count < last else last + 1


def _size(count: int) -> str:
    """Bytes as `--memory` reads them, rounded up a little: much more might allow finer codes."""
    unit, name = (1e9, "GB") if count >= 1e9 else (1e6, "MB")
    return f"{math.ceil(count / unit * 100) / 100:g}{name}"


def _told_apart(count: float, other: float) -> str:
    """Bytes for people who compare them with others."""
    return in_words(int(count)) if in_words(int(count)) != in_words(int(other)) else f"{count / 1e6:,.1f} MB"


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"
