"""vLLM's routes by which another server loads and unloads adapters."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from rescind.serving.asked import Limits
from rescind.serving.errors import invalid
from rescind.serving.requests import read_json


class Loading(Protocol):
    """The models that load adapters; see `rescind.serving.engine.EngineModels`."""

    def load(self, name: str, path: str, *, in_place: bool = False) -> None: ...

    def unload(self, name: str) -> None: ...


def adapter_routes(models: Loading, limits: Limits) -> APIRouter:
    """Return the routes.

    Args:
        models: What loads adapters.
        limits: What one request may take.
    """
    router = APIRouter()

    @router.post("/v1/load_lora_adapter")
    async def load(request: Request) -> Response:
        body = await _body(request, limits)
        name, path = _text(body, "lora_name"), _text(body, "lora_path")
        in_place = body.get("load_inplace") is True
        await asyncio.to_thread(models.load, name, path, in_place=in_place)
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    @router.post("/v1/unload_lora_adapter")
    async def unload(request: Request) -> Response:
        name = _text(await _body(request, limits), "lora_name")
        await asyncio.to_thread(models.unload, name)
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    return router


async def _body(request: Request, limits: Limits) -> dict[str, Any]:
    body = await read_json(request, limits)
    if not isinstance(body, dict):
        raise invalid("The body must be a JSON object.", code="invalid_json")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise invalid(f"The body has no text {name!r}.", name, "missing_parameter")
    return value
