"""Places, time, and clients that go away: whatever happens, a place becomes free again."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from art2real.serving.metrics import NoMetrics
from tests.serving.made import Asked, Mirror, check_error, client, image_bytes, piece, service


class Figures(NoMetrics):
    """Remembers what it is told."""

    def __init__(self):
        self.places, self.requests, self.stages = [], [], []

    def waiting(self, count):
        self.places.append(count)

    def request(self, route, method, status, seconds):
        self.requests.append((route, method, status))

    def stage(self, name, seconds):
        self.stages.append(name)


async def until(condition):
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within 5 s")


def test_one_more_than_there_are_places_is_refused_at_once():
    backend, figures = Mirror(), Figures()
    painting = image_bytes()

    async def run():
        app = service(backend, figures, max_waiting=4)
        backend.hold = asyncio.Event()
        async with client(app) as ask:
            held = [asyncio.create_task(ask.post("/v1/translate", content=painting)) for _ in range(4)]
            await until(lambda: backend.started == 4)
            over = Asked(app, [piece(painting, False)])
            await asyncio.wait_for(over.task, 1)
            assert (over.status, over.taken) == (503, 0)
            refused = await asyncio.gather(*(ask.post("/v1/explain", content=painting) for _ in range(40)))
            for answer in refused:
                check_error(answer, 503, "busy")
            # What needs no place is answered all the same.
            assert (await ask.get("/health/live")).status_code == 200
            assert (await ask.get("/v1/models")).status_code == 200
            backend.hold.set()
            assert [answer.status_code for answer in await asyncio.gather(*held)] == [200] * 4
            assert (await ask.post("/v1/translate", content=painting)).status_code == 200

    asyncio.run(run())
    assert max(figures.places) == 4
    assert figures.places[-1] == 0
    assert figures.requests.count(("/v1/explain", "POST", 503)) == 40


def test_every_one_of_many_is_answered():
    async def run():
        async with client(service(max_waiting=3)) as ask:
            answers = await asyncio.gather(
                *(ask.post("/v1/translate", content=image_bytes()) for _ in range(60))
            )
            statuses = {answer.status_code for answer in answers}
            assert statuses <= {200, 503}
            assert 200 in statuses
            assert (await ask.post("/v1/translate", content=image_bytes())).status_code == 200

    asyncio.run(run())


def test_who_goes_away_while_the_model_works_frees_the_place_and_the_model():
    backend, figures = Mirror(), Figures()

    async def run():
        app = service(backend, figures, max_waiting=1)
        backend.hold, gone = asyncio.Event(), asyncio.Event()
        asked = Asked(app, [piece(image_bytes(), False), gone])
        await until(lambda: backend.started == 1)
        gone.set()
        await asyncio.wait_for(asked.task, 2)
        assert asked.sent == []
        await until(lambda: backend.cancelled == 1)
        backend.hold = None
        async with client(app) as ask:
            assert (await ask.post("/v1/translate", content=image_bytes())).status_code == 200

    asyncio.run(run())
    assert figures.requests[0] == ("/v1/translate", "POST", 499)


@pytest.mark.parametrize("when", ["body", "model"])
def test_a_request_cancelled_from_outside_frees_its_place(when):
    backend, figures = Mirror(), Figures()

    async def run():
        app = service(backend, figures, max_waiting=1)
        backend.hold = asyncio.Event()
        asked = Asked(app, [piece(image_bytes(), when == "body")])
        await until(lambda: asked.taken == 2)
        asked.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked.task
        assert figures.places == [1, 0]
        if when == "model":
            await until(lambda: backend.cancelled == 1)

    asyncio.run(run())


def test_who_goes_away_in_the_middle_of_the_body_frees_the_place():
    figures = Figures()

    async def run():
        gone = asyncio.Event()
        gone.set()
        asked = Asked(service(metrics=figures), [piece(b"half"), gone])
        await asyncio.wait_for(asked.task, 2)
        assert asked.sent == []

    asyncio.run(run())
    assert figures.places == [1, 0]


def test_a_body_that_drips_is_given_up():
    figures = Figures()

    async def run():
        asked = Asked(service(metrics=figures, body_seconds=0.1), [piece(b"a"), piece(b"b")])
        begun = time.perf_counter()
        await asyncio.wait_for(asked.task, 5)
        assert time.perf_counter() - begun < 2
        return asked

    asked = asyncio.run(run())
    assert asked.status == 408
    assert b'"slow_body"' in asked.sent[1]["body"]
    assert (b"connection", b"close") in asked.sent[0]["headers"]
    assert figures.places == [1, 0]


def test_a_model_that_takes_too_long_is_not_waited_for():
    backend, figures = Mirror(), Figures()

    async def run():
        backend.hold = asyncio.Event()
        async with client(service(backend, figures, timeout_seconds=0.1, probe_seconds=0.1)) as ask:
            check_error(await ask.post("/v1/translate", content=image_bytes()), 503, "timeout")
            check_error(await ask.get("/health/ready"), 503, "unavailable")
        await until(lambda: backend.cancelled == 2)

    asyncio.run(run())
    assert figures.places == [1, 0]
    assert figures.stages == ["read", "decode", "translate"]


def test_a_client_that_does_not_take_its_answer_is_dropped():
    figures = Figures()

    async def run():
        app = service(metrics=figures, timeout_seconds=0.2)
        stuck = Stuck(app, [piece(image_bytes(), False)])
        await asyncio.wait_for(stuck.task, 5)

    asyncio.run(run())
    assert figures.places == [1, 0]


class Stuck(Asked):
    async def _send(self, message):
        await asyncio.Event().wait()


def test_many_that_ask_whether_it_is_ready_ask_the_model_once():
    backend = Mirror()

    async def run():
        backend.hold = asyncio.Event()
        async with client(service(backend, max_waiting=1)) as ask:
            asking = [asyncio.create_task(ask.get("/health/ready")) for _ in range(20)]
            await until(lambda: backend.probes == 1)
            asking[0].cancel()
            backend.hold.set()
            answers = await asyncio.gather(*asking[1:])
            assert {answer.status_code for answer in answers} == {200}

    asyncio.run(run())
    assert backend.probes == 1


def test_figures_have_few_names():
    figures = Figures()

    async def run():
        async with client(service(metrics=figures)) as ask:
            for number in range(5):
                await ask.get(f"/{number}")
                await ask.request(f"M{number}", "/v1/models")
            await ask.post("/v1/translate", content=image_bytes())

    asyncio.run(run())
    assert set(figures.requests) == {
        ("other", "GET", 404),
        ("/v1/models", "other", 405),
        ("/v1/translate", "POST", 200),
    }
    assert figures.stages == ["read", "decode", "translate", "encode"]


def test_the_loop_is_free_while_an_image_is_decoded(monkeypatch):
    """A health check is answered while a large painting is being decoded."""
    from art2real.serving import work

    slow = work.decode
    monkeypatch.setattr(work, "decode", lambda *arguments: (time.sleep(0.5), slow(*arguments))[1])

    async def run():
        async with client(service(), timeout=httpx.Timeout(10)) as ask:
            asked = asyncio.create_task(ask.post("/v1/translate", content=image_bytes()))
            await asyncio.sleep(0.1)
            begun = time.perf_counter()
            await ask.get("/health/live")
            assert time.perf_counter() - begun < 0.3
            assert not asked.done()
            assert (await asked).status_code == 200

    asyncio.run(run())
