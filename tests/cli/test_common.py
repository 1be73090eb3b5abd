"""Progress on a terminal and elsewhere, its speed, and how amounts are worded."""

from __future__ import annotations

import io
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from art2real.cli.common import human_bytes, human_seconds, progress
from art2real.cli.pace import Pace


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(amounts, *, total=None, label="photos", seconds=4.0, note="", as_bytes=False):
    """Says each of `amounts` to a new progress, with so many seconds before each."""
    clock = Clock()
    with progress(total, label, as_bytes=as_bytes, clock=clock) as bar:
        for amount in amounts:
            clock.now += seconds
            bar.update(amount, note=note)


# Speed


@given(
    speed=st.floats(0.01, 1e6),
    before=st.floats(0, 1e6),
    gaps=st.lists(st.floats(0.001, 100), min_size=1, max_size=60),
)
def test_even_work_has_its_speed_wherever_it_began(speed, before, gaps):
    clock = Clock()
    pace = Pace(clock)
    elapsed = 0.0
    pace.update(before)
    for gap in [1.5, *gaps]:
        elapsed += gap
        clock.now = 1000 + elapsed
        pace.update(before + speed * elapsed)
    assert pace.rate() == pytest.approx(speed, rel=1e-3)
    assert pace.left(before + speed * (elapsed + 77)) == pytest.approx(77, rel=1e-3)
    assert pace.took == pytest.approx(elapsed)


def test_the_speed_is_that_of_the_last_half_minute():
    clock = Clock()
    pace = Pace(clock)
    done = 0
    for second in range(200):
        clock.now += 1
        done += 10 if second < 100 else 2
        pace.update(done)
    assert pace.rate() == pytest.approx(2)
    assert pace.left(done + 60) == pytest.approx(30)
    assert pace.average() == pytest.approx(1190 / 199, rel=0.01)


def test_what_was_done_before_is_no_speed():
    """A resumed build counts the shards that it finds one after the other, in no time."""
    clock = Clock()
    pace = Pace(clock)
    for found in range(1, 1001):
        clock.now += 0.0005
        pace.update(found * 256)
    for new in range(1, 11):
        clock.now += 5
        pace.update(256_000 + new * 50)
    assert pace.rate() == pytest.approx(10)


def test_rare_words_have_a_speed_too():
    clock = Clock()
    pace = Pace(clock)
    for shard in range(1, 5):
        clock.now += 120
        pace.update(shard * 240)
        assert pace.rate() == (None if shard == 1 else 2)


def test_work_that_falls_back_is_measured_anew():
    clock = Clock()
    pace = Pace(clock)
    for step in [10, 20, 30, 12, 14, 16]:
        clock.now += 2
        pace.update(step)
    assert pace.rate() == pytest.approx(1)


@pytest.mark.parametrize("updates", [0, 1])
def test_no_speed_is_known_at_first(updates):
    pace = Pace(Clock())
    for _ in range(updates):
        pace.update(5)
    assert (pace.rate(), pace.average(), pace.left(10)) == (None, None, None)


def test_work_that_stands_still_has_no_end_in_sight():
    clock = Clock()
    pace = Pace(clock)
    for _ in range(5):
        clock.now += 1
        pace.update(5)
    assert (pace.rate(), pace.left(10)) == (0, None)


# Lines


def test_lines_tell_speed_time_left_and_the_note(capsys):
    work(range(400, 8001, 400), total=8000, seconds=1.0, note="3 skipped")
    assert capsys.readouterr().err.splitlines() == [
        "photos: 4,000 of 8,000, 400/s, 10 s left, 3 skipped",
        "photos: 8,000 of 8,000 in 20 s, 400/s, 3 skipped",
    ]


def test_no_line_before_ten_seconds_and_no_speed_before_it_is_known(capsys):
    work([400], total=8000, seconds=9.0)
    assert capsys.readouterr().err == ""
    work([400], total=8000, seconds=10.0)
    assert capsys.readouterr().err == "photos: 400 of 8,000\n"


def test_quick_work_is_one_line(capsys):
    with progress(None, "rows") as bar:
        for done in range(1000):
            bar.update(done, total=999)
    assert capsys.readouterr().err.splitlines() == ["rows: 999 of 999"]


def test_a_total_that_is_not_known(capsys):
    work([8000, 16000, 24000], label="files", seconds=10.0)
    assert capsys.readouterr().err.splitlines() == [
        "files: 8,000",
        "files: 16,000, 800/s",
        "files: 24,000, 800/s",
    ]


def test_bytes(capsys):
    work([41_000_000, 82_000_000, 120_000_000], total=291e6, label="trainA", as_bytes=True, seconds=10.0)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "trainA: 82 MB of 291 MB, 4.1 MB/s, 51 s left",
        "trainA: 120 MB of 291 MB, 3.95 MB/s, 43 s left",
    ]


def test_slow_work(capsys):
    work([1, 4, 7], total=1000, label="steps", seconds=10.0)
    assert capsys.readouterr().err.splitlines()[-1] == "steps: 7 of 1,000, 0.3/s, 55 min left"


# A terminal


@pytest.fixture
def terminal(monkeypatch):
    """Does work in front of a terminal of so many columns; answers with the last line drawn there."""
    monkeypatch.setenv("TERM", "xterm")

    def last_line(columns: int, *arguments, **options) -> str:
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("COLUMNS", str(columns))
        work(*arguments, **options)
        lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue()))
        assert max(map(len, lines)) <= columns
        return re.sub("[━╸╺]+", "━", [line for line in lines if line.strip()][-1])

    return last_line


def test_a_bar_tells_the_same(terminal):
    line = terminal(100, [400, 2000, 3600], total=8000, note="3 skipped")
    assert line.split("  ") == ["photos ━ 3,600/8,000", "400/s", "0:00:11", "3 skipped"]


def test_a_bar_ends_with_the_time_that_it_took(terminal):
    assert terminal(100, [0, 4000, 8000], total=8000) == "photos ━ 8,000/8,000  1,000/s  0:00:12"


def test_a_bar_without_a_total(terminal):
    assert terminal(100, [0, 4000, 8000], label="files") == "files ━ 8,000  1,000/s"


def test_a_narrow_terminal_loses_the_end_of_the_note_only(terminal):
    line = terminal(72, [400, 2000, 3600], total=8000, note="contextual 0.123  " * 5)
    assert line.startswith("photos ━ 3,600/8,000  400/s  0:00:11  context")
    assert line.endswith("…")


def test_notes_are_shown_as_they_are(terminal):
    assert terminal(100, [1, 2], total=8, note="[red] [/]").endswith("[red] [/]")


# Words


@given(st.integers(0, 10**18))
def test_bytes_are_worded_to_three_digits(count):
    number, unit = human_bytes(count).split(" ")
    power = ["bytes", "kB", "MB", "GB", "TB", "PB"].index(unit)
    value = float(number.replace(",", ""))
    assert value * 1000**power == pytest.approx(count, rel=0.05 if unit == "PB" else 0.005)
    assert "e" not in number
    assert power == 0 or value >= 1


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (639_000, "639 kB"), (999_700, "1 MB"), (4_123_456, "4.12 MB"), (2e15, "2.0 PB")],
)
def test_bytes_in_words(count, words):
    assert human_bytes(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (14.4, "14 s"),
        (99.4, "99 s"),
        (99.6, "2 min"),
        (180, "3 min"),
        (3599, "1 h"),
        (7800, "2 h 10 min"),
        (100 * 3600, "100 h"),
    ],
)
def test_seconds_in_words(seconds, words):
    assert human_seconds(seconds) == words
