"""The server killed again and again under many participants: no acknowledged answer lost, none doubled."""

from __future__ import annotations

import signal

import httpx
import pytest

from art2real.errors import UserError
from art2real.study.design import read_design
from art2real.study.server import serve_study
from art2real.study.store import Store
from tests.study.crowd import Crowd, check_kept, free_port
from tests.study.studies import Person, make_study, process

PEOPLE = 30
KILLS = 2


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kill") / "study"
    return make_study(folder, trials=5, attention=1, practice=1, size=32, images=12)


def stored(study):
    store = Store.open(study)
    try:
        return store.answers(), store.participants()
    finally:
        store.close()


def test_killed_under_load(study):
    design = read_design(study)
    store = Store.open(study)
    enrolled = [store.enrol() for _ in range(PEOPLE)]
    store.close()
    port = free_port()
    crowd = Crowd({each.number: each.token for each in enrolled}, [port])
    crowd.start()
    total = PEOPLE * 7
    for number in range(KILLS):
        with process(study, port) as server:
            crowd.wait_for((number + 1) * total // (KILLS + 2))
            before = dict(crowd.acknowledged)
            server.send_signal(signal.SIGKILL)
            server.wait()
        assert before, "the server was killed before it did anything"
        check_kept(before, stored(study)[0], design)
    assert len(crowd.acknowledged) < total, "it was killed too late"
    with process(study, port):
        crowd.finish()
    assert crowd.lost > 0, "nobody saw that the server was gone"
    answers, people = stored(study)
    assert len(crowd.acknowledged) == len(answers) == total
    check_kept(crowd.acknowledged, answers, design)
    assert all(person.finished for person in people)


def test_stopped(tmp_path):
    """SIGTERM: the process ends by itself, well, with its database closed."""
    study = make_study(tmp_path / "study", trials=3, attention=0, practice=0, size=32)
    port = free_port()
    home = f"http://127.0.0.1:{port}"
    with process(study, port, open_enrolment=True) as server, httpx.Client(base_url=home) as client:
        person = Person(client, client.post("/api/enrol").json()["token"])
        assert person.answer(person.consent().json()["upcoming"][0]).status_code == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=15) == 0
    assert not (study / "answers.sqlite-wal").exists()
    assert [answer.position for answer in stored(study)[0]] == [0]


def test_a_port_that_is_taken_and_a_token_that_is_none(study):
    port = free_port()
    arguments = {"database": None, "host": "127.0.0.1", "open_enrolment": False, "on_ready": print}
    with process(study, port), pytest.raises(UserError, match=f"cannot listen on 127.0.0.1, port {port}"):
        serve_study(study, port=port, admin_token=None, **arguments)
    for token in ("short", " blanks around ", "naïve-token"):
        with pytest.raises(UserError, match="administrator's token"):
            serve_study(study, port=port, admin_token=token, **arguments)
