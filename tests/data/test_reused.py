"""Memory that is lent again and again."""

from __future__ import annotations

import threading

import numpy as np

from art2real.data.reused import ReusedMemory


def test_what_comes_back_is_lent_again() -> None:
    memory = ReusedMemory(most=100)
    with memory.lend(80) as first:
        assert len(first) >= 80
    with memory.lend(60) as second:
        assert np.shares_memory(first, second)


def test_a_larger_piece_takes_the_place_of_a_smaller_one() -> None:
    memory = ReusedMemory(most=100)
    for size in (10, 90, 20):
        with memory.lend(size) as piece:
            assert len(piece) >= size
    assert len(piece) == 90


def test_a_piece_above_the_bound_is_not_kept() -> None:
    memory = ReusedMemory(most=100)
    with memory.lend(101) as large:
        large[:] = 1
    with memory.lend(50) as small:
        assert len(small) == 50
        assert not np.shares_memory(large, small)


def test_two_borrowers_never_share() -> None:
    memory = ReusedMemory(most=100)
    with memory.lend(50) as mine, memory.lend(50) as other:
        assert not np.shares_memory(mine, other)
    # Of both, one is kept.
    with memory.lend(50) as first, memory.lend(50) as second:
        assert not np.shares_memory(first, second)


def test_as_many_are_kept_as_are_lent_at_once() -> None:
    memory = ReusedMemory(most=100, pieces=2)
    with memory.lend(50) as mine, memory.lend(50) as other:
        pass
    with memory.lend(50) as first, memory.lend(50) as second:
        assert sum(np.shares_memory(a, b) for a in (mine, other) for b in (first, second)) == 2


def test_threads_never_share() -> None:
    memory = ReusedMemory(most=2000)
    wrong = []

    def borrow(number: int) -> None:
        for _ in range(300):
            with memory.lend(1000) as piece:
                piece[:] = number
                if not (piece == number).all():
                    wrong.append(number)

    threads = [threading.Thread(target=borrow, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_it_comes_back_after_an_error() -> None:
    memory = ReusedMemory(most=100)
    try:
        with memory.lend(50) as first:
            raise ValueError
    except ValueError:
        pass
    with memory.lend(50) as second:
        assert np.shares_memory(first, second)
