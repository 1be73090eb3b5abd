"""The store in PostgreSQL, with Debian's server started for it: numbers, answers once, two servers."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from art2real.errors import UserError
from art2real.study.design import read_design
from art2real.study.schedule import schedule
from art2real.study.store import AlreadyAnswered, Store
from tests.study.crowd import Crowd, check_kept, free_port
from tests.study.studies import make_study, process

pytest.importorskip("psycopg")
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(not PROGRAMS, reason="PostgreSQL is not here"),
]


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL of our own in a temporary folder; the URL of its databases, without a name."""
    programs = PROGRAMS[-1].parent
    # Beside pytest's own folders: those are closed to the user that PostgreSQL runs as, which is never root.
    home = Path(tempfile.mkdtemp(prefix="art2real-postgres-", dir="/tmp"))
    as_user: dict = {}
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            user = pwd.getpwnam("nobody")
        os.chown(home, user.pw_uid, user.pw_gid)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    port = free_port()
    # Durability is PostgreSQL's own matter, not what is tested here.
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {home} -c fsync=off -c log_min_messages=fatal"

    def run(program, *arguments):
        subprocess.run(
            [programs / program, *arguments],
            check=True,
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **as_user,
        )

    try:
        run("initdb", "-D", home / "data", "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")
        run("pg_ctl", "-D", home / "data", "-w", "-l", home / "log", "-o", options, "start")
        try:
            yield f"postgresql://tester@127.0.0.1:{port}/"
        finally:
            run("pg_ctl", "-D", home / "data", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("postgres") / "study"
    return make_study(folder, trials=4, attention=1, practice=1, size=32, images=12)


@pytest.fixture
def database(server):
    import psycopg

    name = f"study_{os.urandom(4).hex()}"
    with psycopg.connect(server + "postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server + name


def test_several_servers_make_the_tables_and_enrol_at_once(study, database):
    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(lambda _: Store.open(study, database), range(4)))
    with ThreadPoolExecutor(16) as threads:
        enrolled = list(threads.map(lambda turn: stores[turn % 4].enrol(), range(48)))
    assert sorted(each.number for each in enrolled) == list(range(48))
    assert stores[0].find(enrolled[5].token).number == enrolled[5].number
    assert len(stores[1].participants()) == 48
    for store in stores:
        store.close()


def test_one_position_from_many_tabs_of_two_servers(study, database):
    stores = [Store.open(study, database) for _ in range(2)]
    number = stores[0].enrol().number
    shown = schedule(read_design(study), number)[0]

    def answer(turn):
        choice = ("left", "right")[turn // 2 % 2]
        try:
            return choice, stores[turn % 2].add_answer(number, shown, choice, 100 + turn)
        except AlreadyAnswered:
            return choice, None

    with ThreadPoolExecutor(16) as threads:
        told = list(threads.map(answer, range(48)))
    (stored,) = stores[0].answers()
    assert all((answer is None) == (choice != stored.choice) for choice, answer in told)
    assert {answer for _, answer in told} == {stored, None}
    for store in stores:
        store.close()


def test_another_study_is_refused(study, database, tmp_path):
    Store.open(study, database).close()
    other = make_study(tmp_path / "other", size=32)
    with pytest.raises(UserError, match="another study"):
        Store.open(other, database)


def test_two_servers_of_which_one_is_killed(study, database):
    design = read_design(study)
    store = Store.open(study, database)
    enrolled = [store.enrol() for _ in range(50)]
    ports = [free_port(), free_port()]
    crowd = Crowd({each.number: each.token for each in enrolled}, ports)
    total = 50 * 6
    with process(study, ports[0], database=database):
        with process(study, ports[1], database=database) as second:
            crowd.start()
            crowd.wait_for(total // 3)
            before = dict(crowd.acknowledged)
            second.kill()
        check_kept(before, store.answers(), design)
        crowd.finish()
    assert len(crowd.acknowledged) == len(store.answers()) == total
    check_kept(crowd.acknowledged, store.answers(), design)
    assert all(person.finished for person in store.participants())
    store.close()
