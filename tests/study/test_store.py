"""The store: numbers without gaps, answers once and in order, one study a database."""

from __future__ import annotations

import re
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from art2real.errors import UserError
from art2real.study.design import read_design
from art2real.study.links import make_links
from art2real.study.schedule import schedule
from art2real.study.store import AlreadyAnswered, OutOfOrder, Store
from tests.study.studies import make_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("store") / "study")


@pytest.fixture
def store(study):
    for path in study.glob("answers.sqlite*"):
        path.unlink()
    opened = Store.open(study)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def order(study):
    return lambda number: schedule(read_design(study), number)


def test_many_enrol_at_once(store):
    with ThreadPoolExecutor(16) as threads:
        enrolled = list(threads.map(lambda _: store.enrol(), range(60)))
    assert sorted(each.number for each in enrolled) == list(range(60))
    assert len({each.token for each in enrolled}) == 60
    for each in enrolled[:5]:
        assert store.find(each.token).number == each.number
    assert store.find("") is None
    assert store.find(enrolled[0].token[:-1]) is None


def test_only_the_hash_of_a_token_is_stored(store, study):
    token = store.enrol().token
    assert re.fullmatch(r"[0-9A-Za-z_-]{22}", token), "128 bits"
    store.close()
    for path in study.glob("answers.sqlite*"):
        assert token.encode() not in path.read_bytes()


def test_an_answer_is_stored_once_and_stands(store, order):
    number = store.enrol().number
    first, second = order(number)[:2]
    stored = store.add_answer(number, first, "left", 700)
    assert store.add_answer(number, first, "left", 900) == stored, "the first time stands as well"
    with pytest.raises(AlreadyAnswered):
        store.add_answer(number, first, "right", 700)
    store.add_answer(number, second, "right", 500, shown_percent=80)
    assert [(a.position, a.choice, a.chosen, a.reaction_ms, a.shown_percent) for a in store.answers()] == [
        (0, "left", first.left.file, 700, 100),
        (1, "right", second.right.file, 500, 80),
    ]


def test_answers_come_in_order(store, order):
    number = store.enrol().number
    with pytest.raises(OutOfOrder, match="position 0"):
        store.add_answer(number, order(number)[1], "left", 700)
    assert store.answers() == []
    store.add_answer(number, order(number)[0], "left", 700)
    with pytest.raises(OutOfOrder, match="position 1"):
        store.add_answer(number, order(number)[2], "left", 700)


def test_one_position_from_many_tabs(store, order):
    """However many answer at the same moment, one answer is stored, and all are told the same one."""
    number = store.enrol().number
    shown = order(number)[0]

    def answer(turn):
        choice = ("left", "right")[turn % 2]
        try:
            return choice, store.add_answer(number, shown, choice, 100 + turn)
        except AlreadyAnswered:
            return choice, None

    with ThreadPoolExecutor(16) as threads:
        told = list(threads.map(answer, range(48)))
    (stored,) = store.answers()
    assert all((answer is None) == (choice != stored.choice) for choice, answer in told)
    assert {answer for _, answer in told} == {stored, None}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["left", "right"])), max_size=20))
def test_whatever_is_sent_the_first_in_order_stands(store, order, sent):
    """Against a dictionary, which is the obvious store."""
    number = store.enrol().number
    kept = {}
    for position, choice in sent:
        try:
            store.add_answer(number, order(number)[position], choice, 1)
            told = "stored"
        except OutOfOrder:
            told = "early"
        except AlreadyAnswered:
            told = "another"
        if position > len(kept):
            assert told == "early"
        else:
            assert told == ("stored" if kept.setdefault(position, choice) == choice else "another")
    mine = {a.position: a.choice for a in store.answers() if a.participant == number}
    assert mine == kept
    assert store.answered(number) == len(kept)


def test_the_last_answer_finishes(store, order):
    number = store.enrol().number
    places = order(number)
    for shown in places:
        assert store.participants()[number].finished is None
        store.add_answer(number, shown, "left", 1, last=shown is places[-1])
    assert store.participants()[number].finished == store.answers()[-1].received


def test_consent_is_given_once(store):
    enrolled = store.enrol()
    assert store.find(enrolled.token).consented is None
    first = store.consent(enrolled.number, "it", 2.0)
    again = store.consent(enrolled.number, "en", 1.0)
    assert (first.language, again.language) == ("it", "en")
    assert again.consented == first.consented
    assert store.pixel_ratios() == {enrolled.number: 2.0}


def test_sqlite_is_told_to_keep_what_it_has_said(store, study):
    with store._engine.connect() as connection:
        pragma = lambda name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()  # noqa: E731
        assert (pragma("journal_mode"), pragma("synchronous"), pragma("foreign_keys")) == ("wal", 2, 1)


def test_links(store, study):
    links = make_links(study, database=None, count=3, base_url="https://museum.example/")
    numbers = []
    for link in links:
        assert link.startswith("https://museum.example/p/")
        numbers.append(store.find(link.rpartition("/")[2]).number)
    assert numbers == [0, 1, 2]
    for address in ("museum.example", "ftp://museum.example", "https://", "https://museum.example/study"):
        with pytest.raises(UserError):
            make_links(study, database=None, count=1, base_url=address)


def test_a_database_of_another_study_is_refused(store, study, tmp_path):
    other = make_study(tmp_path / "other", "real-vs-generated")
    store.close()
    shutil.copy(study / "answers.sqlite", other / "answers.sqlite")
    with pytest.raises(UserError, match="another study"):
        Store.open(other)
    with pytest.raises(UserError, match="another study"):
        Store.open(other, f"sqlite:///{study / 'answers.sqlite'}")
    assert Store.open(study).participants() == []


def test_databases_that_cannot_be_used(study, tmp_path):
    (tmp_path / "notes.sqlite").write_text("no database, but long enough to be looked at by SQLite" * 20)
    for database, words in (
        (f"sqlite:///{tmp_path / 'notes.sqlite'}", "not a database"),
        (f"sqlite:///{tmp_path / 'no' / 'folder.sqlite'}", "unable to open"),
        ("postgres", "postgresql://"),
        ("nosuch://host/name", "postgresql://"),
        ("mysql://host/name", "postgresql://"),
        ("sqlite://", "postgresql://"),
        ("postgresql://me:s3cret@127.0.0.1:1/name", "cannot be used"),
    ):
        with pytest.raises(UserError, match=words) as error:
            Store.open(study, database)
        assert "s3cret" not in str(error.value)
        assert "\n" not in str(error.value)


def test_an_older_connection_sees_what_another_process_wrote(store, study):
    store.enrol()
    with sqlite3.connect(study / "answers.sqlite") as other:
        assert other.execute("SELECT count(*) FROM art2real_participants").fetchone() == (1,)
        columns = {row[1] for row in other.execute("PRAGMA table_info(art2real_participants)")}
    assert not columns & {"address", "ip", "user_agent", "name", "token"}
