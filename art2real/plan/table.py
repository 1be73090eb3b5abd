"""A plan in words, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from art2real.pages.text_table import aligned
from art2real.plan.plan import Plan


def plan_as_text(plan: Plan) -> str:
    """All figures of a plan, in lines."""
    work, machines = plan.work, plan.work.machines
    lines = [
        f"{_count(work.photos, 'photo')} of {work.size} px on {_count(machines.nodes, 'node')} of "
        f"{_count(machines.cpus, 'core')}, {_count(machines.gpus, 'GPU')} and {in_bytes(machines.memory)}, "
        f"{machines.network / 1e9:g} Gbit/s",
        "",
        f"bank    {in_bytes(plan.bank.bytes)} in {_count(plan.bank.shards, 'shard')}, "
        f"{duration(plan.bank_seconds)} to build ({work.photos / plan.bank_seconds:,.0f} photos/s)",
        f"index   {in_bytes(plan.index_bytes)}, {duration(plan.index_seconds)} to build",
        f"disk    {in_bytes(plan.disk_bytes)}",
        _training(plan),
        f"wire    {in_bytes(plan.wire.bytes)} a step and worker: queries {in_bytes(plan.wire.queries)}, "
        f"answers {in_bytes(plan.wire.answers)}, pixels {in_bytes(plan.wire.pixels)}, "
        f"gradients {in_bytes(plan.wire.gradients)}",
    ]
    lines += _money(plan)
    lines += ["", *aligned(_scales(plan)), "", "index types that auto chooses from, largest first:"]
    for index in plan.indexes:
        sizes = ", ".join(f"{name} {in_bytes(size)}" for name, size in index.candidates.items())
        lines.append(f"  {index.scale}  {sizes}")
    lines += ["", "memory:"]
    lines += [f"  {'' if each.fits else 'TOO LARGE: '}{each}" for each in plan.verdicts]
    if plan.advice:
        lines += ["", *plan.advice]
    if plan.extrapolated:
        lines += ["", "extrapolated, far beyond what was measured:"]
        lines += [f"  {each}" for each in plan.extrapolated]
    constants = plan.constants
    whose = f"{constants.machine}, {constants.date}"
    lines += ["", f"times by constants of {whose}; --calibrate measures this machine"]
    return "\n".join(lines)


def _training(plan: Plan) -> str:
    step, workers = plan.step, _count(plan.work.machines.workers, "worker")
    words = f"train   {_count(plan.steps, 'step')} with {workers}"
    if step.total is None:
        return (
            f"{words}: not known, as these constants have no GPU; run plan --calibrate on a machine with one "
            f"and give its file as --constants (retrieval: {seconds(step.retrieval)} a step)"
        )
    assert plan.training_seconds is not None
    parts = [
        f"{name} {seconds(value)}"
        for name, value in (
            ("networks", step.networks),
            ("affinity", step.affinity),
            ("retrieval", step.retrieval),
            ("gradients", step.gradients),
        )
        if value
    ]
    return f"{words}, {seconds(step.total)} a step ({', '.join(parts)}): {duration(plan.training_seconds)}"


def _scales(plan: Plan) -> list[Sequence[str]]:
    table: list[Sequence[str]] = [
        ("scale", "patches", "index", "shards", "bytes", "a shard", "train", "add", "audit", "queries/s")
    ]
    for number, (index, time) in enumerate(zip(plan.indexes, plan.times, strict=True)):
        table.append(
            (
                str(index.scale),
                f"{index.rows:,}",
                index.spec.factory,
                f"{index.shards:,}",
                in_bytes(index.bytes),
                in_bytes(index.shard_bytes),
                duration(time.train),
                duration(time.add),
                duration(time.audit),
                f"{plan.queries_per_second(number):,.3g}",
            )
        )
    return table


def _money(plan: Plan) -> list[str]:
    lines, money = [], plan.money
    if money.nodes is not None:
        lines.append(f"price   {money.nodes:,.2f} for the nodes")
    elif plan.work.prices.node_hour is not None:
        lines.append("price   of the nodes not known, as the training time is not")
    if money.disk_month is not None:
        lines.append(f"price   {money.disk_month:,.2f} a month for the disk")
    return lines


def in_bytes(count: float) -> str:
    """`639 kB`, `12.4 TB`."""
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.0f} EB"


def seconds(value: float) -> str:
    """`0.21 s`, `34 ms`."""
    if value < 1e-3:
        return f"{value * 1e6:.2g} µs"
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:,.3g} s" if value < 1000 else duration(value)


def duration(value: float) -> str:
    """`14 s`, `3.2 min`, `2.1 h`, `12 days`, `3,100 years`."""
    if value < 90:
        return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
    for unit, length, most in (("min", 60, 90), ("h", 3600, 72), ("days", 86400, 730)):
        if value < most * length:
            return f"{value / length:.3g} {unit}"
    return f"{value / 86400 / 365.25:,.3g} years" if value < 3e12 else f"{value / 86400 / 365.25:.1e} years"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
