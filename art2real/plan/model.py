"""Times, and bytes on the wire, from the counts of a workload and the constants of a machine.

Every formula is in the docstring of its function; `docs/plan.md` has them in a table. Core-seconds are
divided by the cores that work at the same time. What runs beside something longer is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from art2real.index.learn import ROWS_FOR_CODES, training_rows
from art2real.plan.bank_size import BankSize
from art2real.plan.constants import Constants
from art2real.plan.index_size import ScaleIndex
from art2real.plan.networks import parameters, step_multiply_adds
from art2real.plan.workload import Workload, per_image

# As FAISS trains: rounds of k-means over lists and over product codes, rows that codes are trained on, and
# rows that are compared with the lists once more, so that their codes are of what the lists leave over.
_LIST_ROUNDS, _CODE_ROUNDS, _CODE_WORDS, _CODE_ROWS, _LEFT_OVER = 10, 25, 256, 65_536, 100_000
# Threads that one training of an index uses at most; queries of an audit; rounds in which it tunes.
_MOST_THREADS, _AUDIT_QUERIES, _AUDIT_ROUNDS, _EXACT_BUDGET = 16, 1000, 2, 4e12
# Patches that are asked for the cells they expect (`art2real.core.sampling`).
_ASKED_VALUES, _ASKED_MORE = 1 << 20, 100
# Share of the networks' time that retrieval can hide behind: it starts after the first of six passes.
_HIDDEN = 0.8
# Values of the patches that uneven lists were measured with.
_NARROW, _WIDE = 48, 768
# Rows that a query asks each shard for: the neighbours of a patch.
_CANDIDATES = 32
_CODECS = {"SQfp16": "scan_fp16_seconds", "SQ8": "scan_sq8_seconds", "PQ": "scan_pq_seconds"}


@dataclass(frozen=True)
class IndexTime:
    """Seconds of the steps of building an index, and of a query."""

    train: float
    add: float
    audit: float
    query: float
    """Core-seconds of a query, all shards together, without re-ranking."""

    @property
    def build(self) -> float:
        return self.train + self.add + self.audit


@dataclass(frozen=True)
class StepTime:
    """Seconds of a training step, and of its parts."""

    networks: float | None
    """None: no GPU was measured."""
    affinity: float | None
    retrieval: float
    """Of one worker's queries, on the cores that serve them."""
    gradients: float
    total: float | None


@dataclass(frozen=True)
class Wire:
    """Bytes that leave a node for a worker's step, and the gradients that the workers exchange."""

    queries: int
    answers: int
    pixels: int
    gradients: int

    @property
    def bytes(self) -> int:
        return self.queries + self.answers + self.pixels + self.gradients


def bank_core_seconds(work: Workload, size: BankSize, constants: Constants) -> float:
    """photos (photo_seconds + source pixels source_pixel_seconds) + stored bytes stored_byte_seconds."""
    each = constants["photo_seconds"] + work.source_pixels * constants["source_pixel_seconds"]
    return work.photos * each + size.pixels * constants["stored_byte_seconds"]


def bank_seconds(work: Workload, size: BankSize, constants: Constants) -> float:
    """Core-seconds / (tasks at a time cluster_share), or what the network takes for the stored bytes of a
    node, whichever is longer, where there is more than one node."""
    machines = work.machines
    cores = min(machines.nodes * machines.cpus, size.shards)
    working = bank_core_seconds(work, size, constants) / cores
    if machines.nodes * machines.cpus > 1:
        working /= constants["cluster_share"]
    sending = 8 * size.bytes / (machines.nodes * machines.network) if machines.nodes > 1 else 0.0
    return max(working, sending)


def query_core_seconds(index: ScaleIndex, constants: Constants) -> float:
    """D row_value_seconds; for each shard transform exact_value_seconds + lists (width product_seconds +
    product_pair_seconds) + k merge_seconds; and the scan: the rows in nprobe lists, of all shards, and their
    codes' bytes."""
    form = index.shape
    scan = constants[_CODECS.get(form.codec, "scan_fp16_seconds")]
    own = index.scale.dimension * constants["row_value_seconds"]
    own += index.shards * _CANDIDATES * constants["merge_seconds"]
    if not form.lists:
        return own + index.rows * _comparing(form.width, constants)
    scanned = index.rows * min(index.spec.nprobe * _uneven(index, constants) / form.lists, 1.0)
    turned = form.transform * constants["exact_value_seconds"]
    compared = form.lists * _comparing(form.width, constants)
    return (
        own
        + index.shards * (turned + compared)
        + scanned * (form.code * scan + constants["scan_row_seconds"])
    )


def index_time(work: Workload, index: ScaleIndex, constants: Constants) -> IndexTime:
    """Training: the sample's values, the transform's covariance, k-means; adding: each row is read,
    transformed, compared with all centroids and coded; audit: some hundred queries are made, on one core,
    and searched for exactly.

    Scales are trained beside each other on one node; shards are added one a core on all nodes.
    """
    form, dimension = index.shape, index.scale.dimension
    cpus = work.machines.cpus
    threads = max(1, min(cpus // len(work.scales), _MOST_THREADS))
    row = dimension * constants["row_value_seconds"]
    train = 0.0
    if form.lists or form.transform or form.codec == "PQ":
        sample = min(training_rows(form.lists), index.rows)
        few = min(sample, ROWS_FOR_CODES) if form.transform else 0
        compared = _LIST_ROUNDS * sample + min(sample, _LEFT_OVER)
        learning = compared * form.lists * _comparing(form.width, constants)
        if form.codec == "PQ":
            words = _CODE_ROUNDS * min(sample, _CODE_ROWS) * _CODE_WORDS
            learning += words * form.code * _comparing(form.width / form.code, constants)
        turning = (few * dimension**2 + sample * form.transform) * constants["exact_value_seconds"]
        working = turning + learning + (constants["rotation_seconds"] if form.learned else 0.0)
        train = (sample + few) * row + working / threads
    each = row + form.transform * constants["exact_value_seconds"] + constants["take_in_seconds"]
    each += form.lists * _comparing(form.width, constants)
    # Tasks of all scales share the cores.
    at_a_time = max(1.0, min(index.shards, work.machines.nodes * cpus / len(work.scales)))
    queries = max(200.0, min(_AUDIT_QUERIES, _EXACT_BUDGET / (index.rows * dimension)))
    pair = dimension * constants["exact_value_seconds"] + constants["exact_pair_seconds"]
    query = query_core_seconds(index, constants)
    exact = index.rows * (row + queries * pair / threads)
    return IndexTime(
        train=train,
        add=index.rows * each / at_a_time,
        audit=queries * constants["audit_query_seconds"] + exact + _AUDIT_ROUNDS * queries * query / threads,
        query=query,
    )


def index_seconds(work: Workload, indexes: Sequence[ScaleIndex], constants: Constants) -> float:
    """Of all scales, beside each other as far as there are cores: a node of fewer cores than scales does them
    one after the other."""
    times = [index_time(work, index, constants).build for index in indexes]
    if work.machines.cpus >= len(times):
        return max(times)
    return max(max(times), sum(times) / work.machines.cpus)


def retrieval_core_seconds(work: Workload, index: ScaleIndex, constants: Constants) -> float:
    """For the patches N of a crop: N queries; the expected shares of C cells for those that are asked; M
    draws; and distinct rows and draws fetched, of D values each."""
    training, dimension = work.training, index.scale.dimension
    patches = per_image(index.scale, training.crop)
    cells = max(index.shape.lists, 1)
    asked = min(patches, max(1, _ASKED_VALUES // (dimension + _ASKED_MORE)))
    searching = patches * query_core_seconds(index, constants)
    chance = dimension * constants["chance_value_seconds"] + constants["chance_pair_seconds"]
    fetch = dimension * constants["fetch_value_seconds"] + constants["fetch_row_seconds"]
    fetched = _columns(work, index, constants) * fetch
    drawn = training.draws * constants["draw_seconds"]
    return searching + asked * cells * chance + fetched + drawn


def affinity_core_seconds(work: Workload, index: ScaleIndex, constants: Constants) -> float:
    """N (k + M) (D affinity_value_seconds + affinity_pair_seconds)."""
    pairs = _pairs(work, index)
    value = index.scale.dimension * constants["affinity_value_seconds"]
    return pairs * (value + constants["affinity_pair_seconds"])


def step_time(work: Workload, indexes: Sequence[ScaleIndex], constants: Constants) -> StepTime:
    """On CPUs all of a node's cores share all work: (networks + affinity + retrieval) / cores. On GPUs
    retrieval runs on the node's cores beside the networks; what is longer than 0.8 of them is waited for.
    Both add the round trip of queries, and the gradients where there are several workers."""
    training, machines = work.training, work.machines
    multiply_adds = step_multiply_adds(training.crop, training.batch, training.width, training.blocks)
    batch = training.batch
    retrieving = batch * sum(retrieval_core_seconds(work, index, constants) for index in indexes)
    sent = wire(work, indexes, constants)
    sending = 8 * (sent.bytes - sent.gradients) / machines.network
    trips = constants["request_seconds"] if indexes else 0.0
    gradients = 8 * sent.gradients / machines.network
    if not machines.gpus:
        networks = multiply_adds * constants["network_seconds"] / machines.cpus
        affinity = batch * sum(affinity_core_seconds(work, index, constants) for index in indexes)
        affinity /= machines.cpus
        retrieval = retrieving / machines.cpus
        waited = max(0.0, sending + trips - _HIDDEN * networks)
        total = networks + affinity + retrieval + waited + gradients
        return StepTime(networks, affinity, retrieval, gradients, total)
    retrieval = retrieving * machines.gpus / machines.cpus + sending + trips
    network, pair = constants.get("gpu_network_seconds"), constants.get("gpu_affinity_seconds")
    if network is None or pair is None:
        return StepTime(None, None, retrieval, gradients, None)
    networks = multiply_adds * network
    affinity = batch * sum(_pairs(work, index) * index.scale.dimension * pair for index in indexes)
    waited = max(0.0, retrieval - _HIDDEN * networks)
    return StepTime(networks, affinity, retrieval, gradients, networks + affinity + waited + gradients)


def wire(work: Workload, indexes: Sequence[ScaleIndex], constants: Constants) -> Wire:
    """Of one worker and step. Queries, 4 bytes a value, go once to each other node that has shards; each
    shard answers with k scores and row numbers, 12 bytes each, and with 8 for each draw (16 to ask); pixels
    are a byte a value of each row that another node owns. Gradients go round a ring of all workers."""
    machines, training = work.machines, work.training
    queries = answers = pixels = 0
    for index in indexes:
        patches = training.batch * per_image(index.scale, training.crop)
        others = min(machines.nodes - 1, index.shards)
        elsewhere = 1 - 1 / min(machines.nodes, index.shards) if index.shards > 1 else 0.0
        queries += patches * index.scale.dimension * 4 * others
        queries += round(16 * training.batch * training.draws * elsewhere)
        depth = max(training.neighbours, index.spec.rerank)
        answers += round(12 * patches * depth * index.shards * elsewhere)
        answers += round(8 * training.batch * training.draws * elsewhere)
        columns = training.batch * _columns(work, index, constants)
        pixels += round(columns * index.scale.dimension * elsewhere)
    ring = 2 * (machines.workers - 1) / machines.workers
    weights = parameters(training.width, training.blocks)
    return Wire(queries, answers, pixels, round(4 * weights * ring))


def worker_bytes(work: Workload, indexes: Sequence[ScaleIndex], constants: Constants) -> int:
    """A training worker: itself, what grows with the pixels of its crops, and the cells' directions."""
    pixels = work.training.batch * work.training.crop**2
    own = constants["worker_bytes"] + pixels * constants["worker_pixel_bytes"]
    return round(own) + sum(index.directions for index in indexes)


def _uneven(index: ScaleIndex, constants: Constants) -> float:
    """Rows of a list that is scanned, in rows of an average list: longer ones are scanned more often, and
    those of narrow patches differ more. In between by the logarithm of D."""
    narrow, wide = constants["scanned_narrow_share"], constants["scanned_wide_share"]
    place = math.log(index.scale.dimension / _NARROW) / math.log(_WIDE / _NARROW)
    return narrow + min(max(place, 0.0), 1.0) * (wide - narrow)


def _comparing(width: float, constants: Constants) -> float:
    """Core-seconds of a row and a centroid: width product_seconds + product_pair_seconds."""
    return width * constants["product_seconds"] + constants["product_pair_seconds"]


def _pairs(work: Workload, index: ScaleIndex) -> int:
    training = work.training
    patches = per_image(index.scale, training.crop)
    return patches * (min(training.neighbours, index.rows) + min(training.draws, index.rows))


def _columns(work: Workload, index: ScaleIndex, constants: Constants) -> float:
    """Distinct rows that one image is compared with."""
    training = work.training
    near = per_image(index.scale, training.crop) * training.neighbours * constants["distinct_share"]
    return min(near + training.draws, index.rows)
