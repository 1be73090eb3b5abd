"""The tables of docs/plan.md, made anew from the program's constants.

python benchmarks/plan_tables.py        rewrites them; nothing is measured, and it takes seconds
"""

from __future__ import annotations

from pathlib import Path

from art2real.core.scale import Scale
from art2real.plan.constants import read_constants
from art2real.plan.plan import Plan, make_plan
from art2real.plan.table import duration, in_bytes, seconds
from art2real.plan.workload import Machines, Training, Workload

DOCS = Path(__file__).resolve().parent.parent / "docs" / "plan.md"
BEGIN, END = "<!-- tables: benchmarks/plan_tables.py -->", "<!-- end of the tables -->"
GB = 10**9
TRAINING = Training(steps=200_000)
PLANS = {
    "6,287 photos (monet2photo), 1 node of 16 cores and 64 GB": Workload(
        6_287, Machines(1, 16, 0, 64 * GB, 1e10), shards=4, training=TRAINING
    ),
    "1 million photos, 4 nodes of 32 cores and 256 GB, 10 Gbit/s": Workload(
        10**6, Machines(4, 32, 0, 256 * GB, 1e10), shards=40, training=TRAINING
    ),
    "1 billion photos, 1,000 nodes of 64 cores and 512 GB, 100 Gbit/s, `auto`": Workload(
        10**9, Machines(1000, 64, 0, 512 * GB, 1e11), training=TRAINING
    ),
    "1 billion photos, the same nodes, one scale 16:16, `OPQ32_128,IVF262144,PQ32`": Workload(
        10**9,
        Machines(1000, 64, 0, 512 * GB, 1e11),
        scales=(Scale(16, 16),),
        factory="OPQ32_128,IVF262144,PQ32",
        training=TRAINING,
    ),
}


def main() -> None:
    constants = read_constants()
    parts = [f"Constants: {constants.machine}, {constants.date}; 200,000 steps of 256 px on the nodes' CPUs."]
    for title, work in PLANS.items():
        parts += ["", f"### {title}", "", *rows(make_plan(work, constants))]
    text = DOCS.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    DOCS.write_text(f"{before}{BEGIN}\n\n" + "\n".join(parts) + f"\n\n{END}{after}", encoding="utf-8")


def rows(plan: Plan) -> list[str]:
    """A table of a plan, and what follows from it."""
    step = plan.step
    assert step.total is not None and plan.training_seconds is not None
    fits = "fits" if plan.fits else "**does not fit**"
    lines = [
        "| what | how much |",
        "| --- | --- |",
        f"| bank | {in_bytes(plan.bank.bytes)}, {duration(plan.bank_seconds)} |",
        f"| index | {in_bytes(plan.index_bytes)}, {duration(plan.index_seconds)} |",
    ]
    for number, (index, time) in enumerate(zip(plan.indexes, plan.times, strict=True)):
        sizes = ", ".join(f"{name} {in_bytes(size)}" for name, size in index.candidates.items())
        lines += [
            f"| {index.scale}: {index.rows:,} patches | {index.spec.factory}, shards: {index.shards:,} of "
            f"{in_bytes(index.shard_bytes)}; train {duration(time.train)}, add {duration(time.add)}, audit "
            f"{duration(time.audit)}; {plan.queries_per_second(number):,.3g} queries/s |",
            f"| – by type | {sizes} |",
        ]
    lines += [
        f"| memory of a node | index {in_bytes(plan.held_bytes)}, training worker "
        f"{in_bytes(plan.worker_bytes)}: {fits} |",
        f"| a step | {seconds(step.total)}: networks {seconds(step.networks or 0)}, affinity "
        f"{seconds(step.affinity or 0)}, retrieval {seconds(step.retrieval)} |",
        f"| on the wire, a step and worker | {in_bytes(plan.wire.bytes)} |",
        f"| training | {duration(plan.training_seconds)} |",
    ]
    lines += ["", *(f"- **{each}**" for each in map(str, plan.verdicts) if "does not fit" in each)]
    lines += [f"- {each}" for each in plan.advice]
    lines += [f"- extrapolated: {each}" for each in plan.extrapolated]
    return lines


if __name__ == "__main__":
    main()
