"""What one writes with Starlette alone: files from a directory, uploads to it, a redirect."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse, RedirectResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

DIRECTORY = Path(os.environ["DIRECTORY"])


async def download(request: Request) -> Response:
    """Send a file."""
    return FileResponse(DIRECTORY / request.path_params["path"])


async def upload(request: Request) -> Response:
    """Store the file of a form, which Starlette and python-multipart have put into another file."""
    async with request.form() as form:
        sent = form["file"]
        name = f"{uuid4()}.bin"

        def store() -> None:
            with (DIRECTORY / name).open("wb") as file:
                shutil.copyfileobj(sent.file, file)  # type: ignore[union-attr]  # it is one

        await run_in_threadpool(store)
    return JSONResponse({"name": name}, 201)


async def redirect(_: Request) -> Response:
    """Send the client elsewhere."""
    return RedirectResponse("http://127.0.0.1:9/elsewhere", 307)


app = Starlette(
    routes=[
        Route("/redirect", redirect),
        Route("/upload", upload, methods=["POST"]),
        Route("/{path:path}", download),
    ]
)
