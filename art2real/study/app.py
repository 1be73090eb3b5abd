"""The study's server as an ASGI application: the pages of participants and administrator, and their API."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from art2real.pages.problem import Problem
from art2real.study.admin import as_csv, export, progress
from art2real.study.answers import Choice, Participant
from art2real.study.limits import (
    ADDRESS,
    ENROL,
    PARTICIPANT,
    WRONG_TOKEN,
    Door,
    Limiter,
    Rate,
    address_of,
    check,
    too_many,
)
from art2real.study.pages import admin_page, participants_page
from art2real.study.problems import answer_with
from art2real.study.sitting import Sittings
from art2real.study.store import Store

MOST_MS = 600_000
"""Longest reaction that is stored, milliseconds: the page cuts off there, the server refuses more."""
_PICTURE_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Access:
    """Who gets in, and how much of it."""

    open_enrolment: bool = False
    """Whoever opens the address may take part; else only who has a link."""
    admin_token: str | None = None
    """What the administrator's page asks for; None: there is no such page."""
    break_every: int = 25
    """Judged trials between two breaks."""
    address: Rate = ADDRESS
    participant: Rate = PARTICIPANT
    enrol: Rate = ENROL


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ConsentBody(_Body):
    language: Annotated[str, StringConstraints(max_length=16)]
    pixel_ratio: float | None = Field(None, gt=0, le=100)


class AnswerBody(_Body):
    position: int = Field(ge=0, le=1_000_000)
    secret: Annotated[str, StringConstraints(max_length=64)]
    choice: Choice
    reaction_ms: int = Field(ge=0, le=MOST_MS)
    shown_percent: int = Field(100, ge=1, le=100)


def make_app(folder: Path, store: Store, access: Access) -> FastAPI:
    """The server of one study.

    Raises:
        UserError: the study is damaged, or its texts are.
    """
    routes = Routes(folder, store, access)
    app = FastAPI(
        title="art2real study",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[Middleware(Door)],
        exception_handlers={
            Problem: answer_with,
            HTTPException: answer_with,
            RequestValidationError: answer_with,
        },
    )
    for path, method, endpoint in (
        ("/", "GET", routes.page),
        ("/p/{token}", "GET", routes.page),
        ("/images/{name}", "GET", routes.image),
        ("/api/state", "GET", routes.state),
        ("/api/enrol", "POST", routes.enrol),
        ("/api/consent", "POST", routes.consent),
        ("/api/answer", "POST", routes.answer),
        ("/health/live", "GET", routes.live),
    ):
        app.add_api_route(path, endpoint, methods=[method], response_model=None)
    if access.admin_token is not None:
        for path, answered_by in (
            ("/admin", routes.admin),
            ("/api/admin/progress", routes.progress),
            ("/api/admin/answers.csv", routes.export_csv),
            ("/api/admin/answers.json", routes.export_json),
        ):
            app.add_api_route(path, answered_by, methods=["GET"], response_model=None)
    return app


class Routes:
    """What the server answers at its addresses. Nothing here waits on the event loop: it runs in threads."""

    def __init__(self, folder: Path, store: Store, access: Access) -> None:
        self._sittings = Sittings(folder, store)
        self._store = store
        self._access = access
        self._page = participants_page(
            folder,
            self._sittings.design,
            self._sittings.total,
            open_enrolment=access.open_enrolment,
            break_every=access.break_every,
            most_ms=MOST_MS,
        )
        self._addresses = Limiter(access.address)
        self._participants = Limiter(access.participant)
        self._enrolments = Limiter(access.enrol)
        self._wrong_tokens = Limiter(WRONG_TOKEN)

    def page(self) -> Response:
        """The same for everybody: the link's token is looked at when the page asks for the state."""
        return self._page.response()

    def image(self, name: str) -> Response:
        """A picture of the design, and no other file."""
        if name not in self._sittings.design.files:
            raise Problem(404, "not_found", "there is nothing at this address")
        return FileResponse(self._sittings.images / name, media_type="image/png", headers=_PICTURE_HEADERS)

    def live(self) -> dict[str, str]:
        return {"status": "live"}

    def enrol(self, request: Request) -> dict[str, Any]:
        if not self._access.open_enrolment:
            raise Problem(403, "closed", "this study is open to those who have a link")
        check(self._enrolments, address_of(request.scope))
        return {"token": self._store.enrol().token}

    def state(self, request: Request) -> dict[str, Any]:
        return self._sittings.state(self._participant(request))

    def consent(self, request: Request, body: ConsentBody) -> dict[str, Any]:
        person = self._participant(request)
        if body.language not in self._sittings.design.languages:
            raise Problem(422, "wrong_request", "language: this study is not in that language")
        return self._sittings.state(self._store.consent(person.number, body.language, body.pixel_ratio))

    def answer(self, request: Request, body: AnswerBody) -> dict[str, Any]:
        return self._sittings.answer(
            self._participant(request),
            body.position,
            body.secret,
            body.choice,
            body.reaction_ms,
            body.shown_percent,
        )

    def admin(self) -> Response:
        return admin_page().response()

    def progress(self, request: Request) -> dict[str, Any]:
        self._administrator(request)
        return progress(self._sittings.design, self._store.answers(), self._store.participants())

    def export_csv(self, request: Request) -> Response:
        self._administrator(request)
        headers = {"Content-Disposition": 'attachment; filename="answers.csv"'}
        return Response(as_csv(self._rows()), media_type="text/csv; charset=utf-8", headers=headers)

    def export_json(self, request: Request) -> Response:
        self._administrator(request)
        headers = {"Content-Disposition": 'attachment; filename="answers.json"'}
        return JSONResponse(self._rows(), headers=headers)

    def _rows(self) -> list[dict[str, Any]]:
        # The answers first: whoever is in them is then among the participants too.
        answers = self._store.answers()
        people = self._store.participants()
        return list(export(self._sittings.design, answers, people, self._store.pixel_ratios()))

    def _participant(self, request: Request) -> Participant:
        check(self._addresses, address_of(request.scope))
        person = self._store.find(_token(request))
        if person is None:
            raise _unauthorized("no participant has this link")
        check(self._participants, str(person.number))
        return person

    def _administrator(self, request: Request) -> None:
        address = address_of(request.scope)
        seconds = self._wrong_tokens.look(address)
        if seconds:
            raise too_many(seconds)
        assert self._access.admin_token is not None
        if not hmac.compare_digest(
            _token(request).encode("utf-8", "replace"), self._access.admin_token.encode()
        ):
            self._wrong_tokens.take(address)
            raise _unauthorized("this is not the administrator's token")


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _unauthorized(message: str) -> Problem:
    return Problem(401, "unauthorized", message, {"WWW-Authenticate": "Bearer"})
