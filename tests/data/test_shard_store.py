"""The thread that writes shards: its order, its memory, its errors."""

from __future__ import annotations

import threading

import pytest

from art2real.data.shard_store import ShardStore


def test_memory_for_a_third_shard_is_there_when_one_of_two_was_given_back():
    with ShardStore() as store:
        first, second = store.squares((2, 4, 4, 3)), store.squares((2, 4, 4, 3))
        first.pixels[:], second.pixels[:] = 1, 2
        third = []
        waiting = threading.Thread(target=lambda: third.append(store.squares((2, 4, 4, 3))))
        waiting.start()
        waiting.join(0.05)
        assert not third
        first.give_back()
        waiting.join(10)
        third[0].pixels[:] = 3
        assert (second.pixels == 2).all()
        assert (first.pixels == 3).all()  # the same memory
        second.give_back()
        larger = store.squares((3, 4, 4, 3))
        assert larger.pixels.shape == (3, 4, 4, 3)


def test_work_is_done_in_order_and_its_errors_come_with_its_result():
    done = []
    with ShardStore() as store:
        numbers = [store.submit(done.append, number) for number in range(5)]
        broken = store.submit(lambda: 1 // 0)
        last = store.submit(lambda: [each.result() for each in numbers])
    assert done == list(range(5))
    assert last.result() == [None] * 5
    with pytest.raises(ZeroDivisionError):
        broken.result()
