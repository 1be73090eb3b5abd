"""From a request to its answer: read, decode, translate, explain or encode."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from art2real.data.images import ImageLimits, decode
from art2real.pages.problem import Problem
from art2real.serving.backend import Backend
from art2real.serving.body import read_image
from art2real.serving.problems import no_such_model
from art2real.serving.queries import ExplainQuery, TranslateQuery
from art2real.serving.settings import ServiceSettings
from art2real.serving.trace import Trace, trace_of
from art2real.serving.waiting import Pieces, body_in_time, done_in_time
from art2real.translation.encode import LONGEST_SIDE, MEDIA_TYPES, QUALITY, encode

T = TypeVar("T")


class Work:
    """The stages of a request. Decoding and encoding run in threads, so that the event loop stays free."""

    def __init__(self, backend: Backend, settings: ServiceSettings, threads: Executor) -> None:
        self._backend = backend
        self._settings = settings
        self._threads = threads
        self._limits = ImageLimits(settings.max_bytes, settings.max_pixels, min_side=1)

    async def translate(self, request: Request, query: TranslateQuery) -> Response:
        async def answer(trace: Trace, model: str, body: bytes) -> bytes:
            painting = await self._decoded(trace, body)
            _check_sides(painting, query.format)
            translation = await self._translated(trace, model, painting)
            with trace.stage("encode"):
                return await self._in_thread(encode, translation, query.format, query.quality or QUALITY)

        return await self._answered(request, query.model, answer, MEDIA_TYPES[query.format])

    async def explain(self, request: Request, query: ExplainQuery) -> Response:
        if not self._backend.explains:
            raise Problem(404, "no_bank", "this service has no memory bank to explain translations with")

        async def answer(trace: Trace, model: str, body: bytes) -> bytes:
            translation = await self._translated(trace, model, await self._decoded(trace, body))
            with trace.stage("explain"):
                found = await self._backend.explain(model, translation, pictures=query.pictures)
            with trace.stage("encode"):
                return await self._in_thread(_as_json, found)

        return await self._answered(request, query.model, answer, "application/json")

    async def _answered(
        self,
        request: Request,
        wanted: str | None,
        answer: Callable[[Trace, str, bytes], Coroutine[Any, Any, bytes]],
        media_type: str,
    ) -> Response:
        trace, settings = trace_of(request.scope), self._settings
        model = await self._model(wanted)
        with trace.stage("read"):
            reading = read_image(request.headers, request.stream(), settings.max_bytes)
            body = await body_in_time(reading, settings.body_seconds)
        left = settings.timeout_seconds - trace.seconds
        content = await done_in_time(answer(trace, model, body), request.receive, left)
        headers = {"Server-Timing": trace.server_timing()}
        return Pieces(content, media_type, headers, seconds=settings.timeout_seconds)

    async def _model(self, wanted: str | None) -> str:
        names = await self._backend.names()
        if wanted is None:
            return names[0]
        if wanted not in names:
            raise no_such_model(wanted, names)
        return wanted

    async def _decoded(self, trace: Trace, body: bytes) -> np.ndarray:
        with trace.stage("decode"):
            return await self._in_thread(decode, body, self._limits)

    async def _translated(self, trace: Trace, model: str, painting: np.ndarray) -> np.ndarray:
        with trace.stage("translate"):
            return await self._backend.translate(model, painting)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _check_sides(pixels: np.ndarray, image_format: str) -> None:
    longest = LONGEST_SIDE[image_format]
    if max(pixels.shape[:2]) > longest:
        raise Problem(
            422,
            "wrong_parameter",
            f"{image_format} holds sides up to {longest} pixels; ask for another format",
        )


def _as_json(found: dict[str, Any]) -> bytes:
    return json.dumps(found, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
