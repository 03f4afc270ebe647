"""A small server of text under uvicorn, in several processes if asked to."""

from __future__ import annotations

import argparse

import nvtx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def health(request: Request) -> JSONResponse:
    """It lives."""
    return JSONResponse({})


async def completions(request: Request) -> JSONResponse:
    """One word."""
    with nvtx.annotate("completion", domain="app"):
        asked = await request.json()
    return JSONResponse({"model": asked["model"], "choices": [{"text": "word"}]})


app = Starlette(
    routes=[Route("/health", health), Route("/v1/completions", completions, methods=["POST"])]
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--workers", type=int)
    given = parser.parse_args()
    uvicorn.run("asgi:app", host=given.host, port=given.port, workers=given.workers)
