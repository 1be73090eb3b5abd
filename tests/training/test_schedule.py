"""Steps and learning rate."""

from __future__ import annotations

from itertools import pairwise

import pytest

from art2real.config.tree import Schedule
from art2real.training.schedule import learning_rate, total_steps


def test_the_published_policy():
    schedule = Schedule()
    total = total_steps(schedule, 10)
    assert total == 2000
    rates = [learning_rate(schedule, step, total) / 2e-4 for step in range(total)]
    assert rates[:1000] == [1.0] * 1000
    # pytorch-CycleGAN-and-pix2pix: 1 - max(0, epoch + 1 - 100) / 101, epoch from 0
    for epoch in (100, 101, 150, 199):
        assert rates[10 * epoch : 10 * epoch + 10] == pytest.approx([1 - (epoch - 99) / 101] * 10)


def test_a_shorter_run_falls_over_the_same_share_of_its_steps():
    schedule = Schedule(max_steps=50)
    assert total_steps(schedule, 10) == 50
    rates = [learning_rate(schedule, step, 50) / 2e-4 for step in range(50)]
    assert rates[:25] == [1.0] * 25
    assert all(before > after > 0 for before, after in pairwise(rates[24:]))
    assert rates[-1] < 0.05


def test_without_decay_the_rate_stays():
    schedule = Schedule(epochs=3, decay_epochs=0)
    assert {learning_rate(schedule, step, 9) for step in range(9)} == {2e-4}


def test_the_rate_rises_at_first():
    schedule = Schedule(max_steps=50, warmup_steps=10)
    rates = [learning_rate(schedule, step, 50) / 2e-4 for step in range(50)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10:] == [learning_rate(Schedule(max_steps=50), step, 50) / 2e-4 for step in range(10, 50)]
