"""The routes of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rescind.serving.answers import Form, headers, pieces, whole
from rescind.serving.asked import Asked, Limits
from rescind.serving.bodies import StreamWishes, read_chat, read_completion
from rescind.serving.errors import ApiError, unknown_model
from rescind.serving.jobs import Done, Event, Failed, Routed
from rescind.serving.metrics import Metrics
from rescind.serving.requests import ApiKeys, read_json


class Answering(Protocol):
    """The models that answer requests."""

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        ...

    def ask(self, asked: Asked) -> AsyncGenerator[Event, None]:
        """Queue a request, and return what happens to it: Routed, Delta..., Done or Failed.

        Raises:
            ApiError: The request is refused at once.
        """
        ...


@dataclass(frozen=True)
class Server:
    """Everything that the routes need.

    Attributes:
        models: Answers.
        listed: Returns the models that requests can name.
        refusal: Returns why no consortium's model is served now; empty if one is.
        facts: Returns numbers for /health and /metrics by name.
        keys: The keys of the API.
        limits: What one request may take.
        metrics: Counts.
        routers: Further routes, behind the same keys.
        lifespan: What runs as long as the server.
    """

    models: Answering
    listed: Callable[[], list[dict[str, Any]]]
    refusal: Callable[[], str]
    facts: Callable[[], dict[str, float]]
    keys: ApiKeys = field(default_factory=ApiKeys)
    limits: Limits = field(default_factory=Limits)
    metrics: Metrics = field(default_factory=Metrics)
    routers: tuple[APIRouter, ...] = ()
    lifespan: Callable[[], AbstractAsyncContextManager[None]] | None = None


def make_app(server: Server) -> FastAPI:
    """Return the application."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if server.lifespan is None:
            yield
            return
        async with server.lifespan():
            yield

    # No pages with documentation: they load scripts from other hosts.
    app = FastAPI(
        title="rescind serve", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan
    )

    async def known(request: Request) -> None:
        server.keys.check(request.headers.get("authorization", ""))

    guarded = APIRouter(dependencies=[Depends(known)])
    _add_models(guarded, server)
    _add_answers(guarded, server)
    for router in server.routers:
        guarded.include_router(router)
    app.include_router(guarded)
    _add_health(app, server)
    app.add_middleware(_Counting, metrics=server.metrics)
    _add_errors(app)
    return app


def _add_health(app: FastAPI, server: Server) -> None:
    @app.get("/health")
    async def health() -> Response:
        reason = server.refusal()
        body = {"status": "refusing" if reason else "serving", "reason": reason or None}
        return JSONResponse(body | server.facts(), 503 if reason else 200)


def _add_models(router: APIRouter, server: Server) -> None:
    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": server.listed()}

    @router.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        for card in server.listed():
            if card["id"] == name:
                return card
        raise unknown_model(f"There is no model {name!r}. GET /v1/models lists the models.")

    @router.get("/metrics")
    async def metrics() -> Response:
        gauges = server.facts() | {"serving": float(not server.refusal())}
        return PlainTextResponse(server.metrics.text(gauges))


def _add_answers(router: APIRouter, server: Server) -> None:
    async def answer(request: Request, read: Callable[[object], Any], *, chat: bool) -> Response:
        asked, wishes = read(await read_json(request, server.limits))
        return await _answer(server, request, asked, wishes, chat=chat)

    @router.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        return await answer(request, read_chat, chat=True)

    @router.post("/v1/completions")
    async def completions(request: Request) -> Response:
        return await answer(request, read_completion, chat=False)


async def _answer(
    server: Server, request: Request, asked: Asked, wishes: StreamWishes, *, chat: bool
) -> Response:
    events = _counted(server.models.ask(asked), server.metrics)
    form = Form(chat, wishes.include_usage)
    try:
        first = await _while_connected(request, anext(events))
        if isinstance(first, Failed):
            raise first.error
        if not isinstance(first, Routed):
            raise ApiError(500, "The answer has no beginning.", "model_failed")
        if wishes.stream:
            return StreamingResponse(
                _closing(pieces(form, first, events), events),
                headers={**headers(first), "cache-control": "no-store"},
                media_type="text/event-stream",
            )
        document = await _while_connected(request, whole(form, first, events))
        await events.aclose()
        return JSONResponse(document, headers=headers(first))
    except BaseException:
        await events.aclose()
        raise


async def _counted(
    events: AsyncGenerator[Event, None], metrics: Metrics
) -> AsyncGenerator[Event, None]:
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Done):
                metrics.tokens(event.prompt_tokens, event.completion_tokens)
            yield event


async def _closing(
    texts: AsyncIterator[str], events: AsyncGenerator[Event, None]
) -> AsyncIterator[str]:
    """Yield texts, and stop the answer when the client goes away."""
    try:
        async for text in texts:
            yield text
    finally:
        await events.aclose()


async def _while_connected(request: Request, work: Awaitable[Any]) -> Any:
    """Return the result of some work; end it when the client goes away.

    Raises:
        ApiError: The client went away. No one reads the answer.
    """
    task = asyncio.ensure_future(work)
    disconnected = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, disconnected}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ApiError(499, "The client closed the connection.", "client_gone")
        return task.result()
    finally:
        for each in (task, disconnected):
            each.cancel()
            with suppress(asyncio.CancelledError, ApiError, StopAsyncIteration):
                await each


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Counting:
    """Counts answers by route and status. It leaves the connection to the routes."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = getattr(scope.get("route"), "path", "other")
                self._metrics.request(path, message["status"])
            await send(message)

        await self._app(scope, receive, counted if scope["type"] == "http" else send)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> Response:
        return JSONResponse(error.body(), error.status, headers=dict(error.headers))

    @app.exception_handler(HTTPException)
    async def failed(_: Request, error: HTTPException) -> Response:
        texts: Mapping[int, str] = {
            404: "There is no such address here. GET /v1/models lists the models.",
            405: "This address does not know that method.",
        }
        shown = ApiError(
            error.status_code, texts.get(error.status_code, str(error.detail)), "invalid_request"
        )
        return JSONResponse(shown.body(), error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def broken(_: Request, __: Exception) -> Response:
        shown = ApiError(500, "The server failed on this request.", "server_error")
        return JSONResponse(shown.body(), 500)
