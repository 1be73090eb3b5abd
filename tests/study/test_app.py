"""What the server answers, and what it refuses: order, exactly once, strangers, limits, the administrator."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from art2real.errors import UserError
from art2real.study.design import read_design
from art2real.study.limits import Door, Limiter, Rate, address_of
from art2real.study.schedule import schedule
from art2real.study.store import Store
from tests.study.studies import ADMIN, Person, asked, bearer, make_study

KINDS = ("realism", "coherency", "real-vs-generated")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("app") / "study", "coherency")


@pytest.fixture
def client(study):
    for path in study.glob("answers.sqlite*"):
        path.unlink()
    with asked(study, open_enrolment=True, admin_token=ADMIN) as client:
        yield client


@pytest.fixture
def person(client):
    person = Person(client, client.post("/api/enrol").json()["token"])
    assert person.consent().status_code == 200
    return person


def refused(response, status, code):
    assert (response.status_code, response.json()["error"]["code"]) == (status, code), response.text
    assert set(response.json()["error"]) == {"code", "message"}
    assert "Traceback" not in response.text


def stored(study):
    store = Store.open(study)
    try:
        return store.answers()
    finally:
        store.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_sitting(tmp_path, kind):
    """Every position in its order; what is stored is what was chosen; nothing says who made a picture."""
    folder = make_study(tmp_path / "study", kind)
    design = read_design(folder)
    with asked(folder, open_enrolment=True) as client:
        person = Person(client, client.post("/api/enrol").json()["token"])
        assert person.state().json()["upcoming"] == [], "nothing is shown before consent"
        state = person.consent("it", pixel_ratio=1.5).json()
        right = []
        for shown in schedule(design, 0):
            entry = state["upcoming"][0]
            assert state["position"] == entry["position"] == shown.position
            assert entry["left"]["url"] == f"/images/{shown.left.file}"
            assert (entry["painting"] is None) == (kind != "coherency")
            assert entry["left"]["width"] == shown.trial.size
            said = json.dumps(state)
            assert not [word for word in ("Ours", "CycleGAN", "real", "check", "attention") if word in said]
            choice = "right" if shown.position % 3 else "left"
            state = person.answer(entry, choice, 500 + shown.position).json()
            right.append(state["right"])
            assert (state["right"] is None) == (shown.trial.role != "practice")
        assert state["finished"] and state["upcoming"] == []
        refused(person.answer({**entry, "position": len(right)}), 409, "finished")
        assert person.state().json()["finished"]
    assert [(a.position, a.trial, a.choice, a.chosen, a.reaction_ms) for a in stored(folder)] == [
        (s.position, s.trial.id, choice, (s.right if choice == "right" else s.left).file, 500 + s.position)
        for s in schedule(design, 0)
        for choice in ["right" if s.position % 3 else "left"]
    ]
    practice = schedule(design, 0)[:2]
    wanted = [s.trial.first if s.trial.right == "first" else s.trial.second for s in practice]
    assert right[:2] == [practice[0].left == wanted[0], practice[1].right == wanted[1]]


def test_the_same_answer_again_is_told_the_same(client, person, study):
    entry = person.state().json()["upcoming"][0]
    first = person.answer(entry, "left", 700)
    assert person.answer(entry, "left", 900).json() == first.json()
    refused(person.answer(entry, "right", 700), 409, "already_answered")
    assert [(a.choice, a.reaction_ms) for a in stored(study)] == [("left", 700)]


def test_a_double_click_and_two_tabs(client, person, study):
    entry = person.state().json()["upcoming"][0]
    with ThreadPoolExecutor(8) as threads:
        both = list(threads.map(lambda n: person.answer(entry, ("left", "right")[n % 2]), range(16)))
    assert len(stored(study)) == 1
    stands = stored(study)[0].choice
    statuses = [(("left", "right")[n % 2], response.status_code) for n, response in enumerate(both)]
    assert all(status == (200 if choice == stands else 409) for choice, status in statuses)


def test_a_late_answer_after_the_end(client, person, study):
    state = person.state().json()
    entries = []
    while not state["finished"]:
        entries.append(state["upcoming"][0])
        state = person.answer(entries[-1]).json()
    before = stored(study)
    assert person.answer(entries[-1]).json() == state, "its first reply may have been lost"
    refused(person.answer(entries[-1], "right"), 409, "already_answered")
    assert stored(study) == before


def test_positions_and_secrets_that_are_not_ones_own(client, person, study):
    other = Person(client, client.post("/api/enrol").json()["token"])
    other.consent()
    mine, following = person.state().json()["upcoming"][:2]
    theirs = other.state().json()["upcoming"][0]
    refused(person.answer(following), 409, "out_of_order")
    refused(person.answer({**mine, "secret": theirs["secret"]}), 403, "wrong_trial")
    refused(person.answer({**mine, "secret": following["secret"]}), 403, "wrong_trial")
    refused(person.answer({**mine, "secret": ""}), 403, "wrong_trial")
    refused(person.answer({**mine, "secret": "ä' OR 1=1 --"}), 403, "wrong_trial")
    refused(person.answer({**mine, "position": 999}), 409, "out_of_order")
    assert stored(study) == []


def test_answers_need_consent(client, study):
    person = Person(client, client.post("/api/enrol").json()["token"])
    shown = schedule(read_design(study), 0)[0]
    refused(person.answer({"position": 0, "secret": shown.secret}), 403, "no_consent")
    refused(person.consent("fr"), 422, "wrong_request")


@pytest.mark.parametrize(
    "changes",
    [
        {"choice": "both"},
        {"choice": None},
        {"position": "0"},
        {"position": -1},
        {"position": 0.0},
        {"position": True},
        {"position": 2**70},
        {"secret": 1},
        {"secret": "a" * 65},
        {"reaction_ms": -1},
        {"reaction_ms": 600_001},
        {"reaction_ms": 3.5},
        {"reaction_ms": "900"},
        {"shown_percent": 0},
        {"participant": 1},
        {"choice": "left'; DROP TABLE art2real_answers; --"},
    ],
    ids=str,
)
def test_bodies_that_are_not_as_they_should_be(client, person, study, changes):
    refused(person.answer(person.state().json()["upcoming"][0], **changes), 422, "wrong_request")
    assert stored(study) == []


def test_bodies_that_are_no_json(client, person, study):
    token = person._headers
    for content in (
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"position": NaN}',
        b'{"secret": "\\ud800"}',
        b"[" * 4000,
    ):
        response = client.post("/api/answer", headers=token, content=content)
        assert response.status_code in (400, 422), content
        refused(response, response.status_code, response.json()["error"]["code"])
    refused(client.post("/api/answer", headers=token, content=b" " * 5000), 413, "too_many_bytes")
    plain = {**token, "Content-Type": "text/plain"}
    assert client.post("/api/answer", headers=plain, content=b"{}").status_code == 422
    assert stored(study) == []


@pytest.mark.parametrize(
    "token", [b"", b"x", b"' OR '1'='1", b"a" * 3000, "Ünïcode".encode(), b"\xff\xff"], ids=lambda t: t[:9]
)
def test_tokens_that_nobody_has(client, token):
    raw = (b"Bearer " + token).strip()
    refused(client.get("/api/state", headers={b"Authorization": raw}), 401, "unauthorized")
    refused(client.get("/api/admin/progress", headers={b"Authorization": raw}), 401, "unauthorized")


def test_no_file_but_the_studys_pictures(client, study):
    (study / "images" / "0123456789abcdef.png").write_bytes(b"not in the design")
    for path in (
        "/images/../design.json",
        "/images/..%2fdesign.json",
        "/images/%2e%2e%2fanswers.sqlite",
        "/images/....//design.json",
        "/images/0123456789abcdef.png",
        "/images/%00",
        "/images/",
        "/images",
        "/images//etc/passwd",
        "/design.json",
        "/answers.sqlite",
        "/openapi.json",
        "/docs",
    ):
        refused(client.get(path), 404, "not_found")
    (study / "images" / "0123456789abcdef.png").unlink()
    for file in read_design(study).files:
        answer = client.get(f"/images/{file}")
        assert answer.content == (study / "images" / file).read_bytes()
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    refused(client.post(f"/images/{file}"), 405, "method_not_allowed")


def test_the_page_tells_nothing_of_the_design(client, study):
    page = client.get("/")
    assert page.text == client.get("/p/whatever").text, "nor whether a link is one"
    assert not [word for word in ("CycleGAN", "Ours", "design.json") if word in page.text]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "http://" not in page.text and "https://" not in page.text
    refused(client.get("/no"), 404, "not_found")


def test_closed_enrolment_and_no_administrator(study):
    with asked(study) as client:
        refused(client.post("/api/enrol"), 403, "closed")
        for path in ("/admin", "/api/admin/progress", "/api/admin/answers.csv"):
            refused(client.get(path, headers=bearer("None")), 404, "not_found")


def test_a_study_may_have_its_own_words(tmp_path):
    folder = make_study(tmp_path / "study", languages=("en", "de"))
    with (
        pytest.raises(UserError, match=r"de\.json: the text 'language' and \d+ more is missing"),
        asked(folder),
    ):
        pass
    (folder / "texts").mkdir()
    with asked(make_study(tmp_path / "english", languages=("en",))) as client:
        words = json.loads(client.get("/").text.split('id="study">')[1].split("</script>")[0])["texts"]["en"]
    (folder / "texts" / "de.json").write_text(json.dumps({**words, "title": "Welches </script><b>Bild?"}))
    with asked(folder) as client:
        page = client.get("/").text
        assert "</script><b>Bild" not in page
        told = json.loads(page.split('id="study">')[1].split("</script>")[0])
        assert told["texts"]["de"]["title"] == "Welches </script><b>Bild?"
    for content, complaint in (
        ('{"titel": "?"}', "'titel' is no text"),
        ('{"title": 1}', "one object of texts"),
        ('{"progress": "{dnoe} of {all}"}', "{dnoe}"),
        ('{"progress": "{done of"}', "brace"),
        ("{", "not JSON"),
    ):
        (folder / "texts" / "de.json").write_text(content)
        with pytest.raises(UserError, match=complaint), asked(folder):
            pass


def test_italian_has_all_that_english_has(study):
    with asked(study) as client:
        texts = json.loads(client.get("/").text.split('id="study">')[1].split("</script>")[0])["texts"]
    assert set(texts["it"]) == set(texts["en"])
    same = {name for name in texts["en"] if texts["en"][name] == texts["it"][name]}
    assert same == {"contact"}


def test_too_many_requests(study):
    slow = Rate(0.25, 3)
    with asked(study, open_enrolment=True, enrol=slow, participant=slow) as client:
        tokens = [client.post("/api/enrol").json()["token"] for _ in range(3)]
        late = client.post("/api/enrol")
        refused(late, 429, "too_many_requests")
        assert 1 <= int(late.headers["retry-after"]) <= 4
        one, two = (Person(client, token) for token in tokens[:2])
        assert [one.state().status_code for _ in range(4)] == [200, 200, 200, 429]
        assert two.state().status_code == 200, "another participant is not made to wait"
    with asked(study, address=slow) as client:
        assert [client.get("/api/state").status_code for _ in range(4)] == [401, 401, 401, 429]


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.1, 10), st.integers(1, 10), st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=60)
)
def test_a_bucket_never_gives_more_than_its_rate(per_second, burst, asks):
    clock = [0.0]
    limiter = Limiter(Rate(per_second, burst), clock=lambda: clock[0])
    given_at = []
    for seconds, obey in asks:
        clock[0] += seconds
        wait = limiter.take("one")
        if wait and obey:
            clock[0] += wait + 1e-6
            wait = limiter.take("one")
            assert wait == 0, "who waits as long as told gets one"
        if not wait:
            given_at.append(clock[0])
    for first in range(len(given_at)):
        for last in range(first, len(given_at)):
            span = given_at[last] - given_at[first]
            assert last - first + 1 <= burst + span * per_second + 1e-6


def test_buckets_are_bounded_and_by_household():
    limiter = Limiter(Rate(1, 1), most=100)
    for number in range(1000):
        limiter.take(str(number))
    assert len(limiter) == 100
    address = lambda host: address_of({"client": (host, 1)})  # noqa: E731
    assert address("2001:db8:1:2::1") == address("2001:db8:1:2:ffff::9") != address("2001:db8:1:3::1")
    assert address("::ffff:192.0.2.7") == address("192.0.2.7") != address("192.0.2.8")


def test_a_body_that_never_comes(monkeypatch):
    monkeypatch.setattr("art2real.study.limits._BODY_SECONDS", 0.05)
    sent = []

    async def nothing():
        await asyncio.sleep(30)

    async def send(message):
        sent.append(message)

    async def never(scope, receive, send):
        raise AssertionError("the application is not reached")

    asyncio.run(Door(never)({"type": "http"}, nothing, send))
    assert sent[0]["status"] == 408


def test_the_administrator(client, person, study):
    state = person.state().json()
    while not state["finished"]:
        state = person.answer(state["upcoming"][0], "left", 800).json()
    client.post("/api/enrol")
    design = read_design(study)
    for path in ("progress", "answers.csv", "answers.json"):
        refused(client.get(f"/api/admin/{path}"), 401, "unauthorized")
        refused(client.get(f"/api/admin/{path}", headers=person._headers), 401, "unauthorized")
    seen = client.get("/api/admin/progress", headers=bearer(ADMIN)).json()
    assert (seen["enrolled"], seen["consented"], seen["finished"], seen["answers"]) == (2, 1, 1, 7)
    failed = [
        s
        for s in schedule(design, 0)
        if s.trial.role == "attention" and s.left != getattr(s.trial, s.trial.right)
    ]
    assert seen["attention_failures"] == len(failed)
    assert (seen["median_ms"], [line["answers"] for line in seen["participants"]]) == (800, [0, 7])
    assert "Ours" not in json.dumps(seen), "what is preferred is not shown while the study runs"
    rows = client.get("/api/admin/answers.json", headers=bearer(ADMIN)).json()
    for row, shown in zip(rows, schedule(design, 0), strict=True):
        assert (row["chosen_system"], row["other_system"]) == (shown.left.system, shown.right.system)
        assert (row["role"], row["item"], row["reaction_ms"]) == (shown.trial.role, shown.trial.item, 800)
    table = client.get("/api/admin/answers.csv", headers=bearer(ADMIN)).text
    assert [row["trial"] for row in csv.DictReader(io.StringIO(table))] == [row["trial"] for row in rows]


def test_guessing_the_administrators_token(client):
    guesses = [client.get("/api/admin/progress", headers=bearer(f"guess-{n}")).status_code for n in range(25)]
    assert guesses == [401] * 20 + [429] * 5
    assert client.get("/api/admin/progress", headers=bearer(ADMIN)).status_code == 429


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from("=+-@\t\r"), st.text(max_size=10))
def test_no_name_becomes_a_formula(first, rest):
    from art2real.study.admin import COLUMNS, as_csv

    row = dict.fromkeys(COLUMNS, 1) | {"item": first + rest}
    (read,) = csv.DictReader(io.StringIO(as_csv([row]), newline=""))
    assert read["item"] == "'" + first + rest
