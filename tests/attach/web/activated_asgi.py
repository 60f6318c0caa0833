"""A FastAPI application that looks for its storage wherever code runs, for `test_activation.py`.

The environment variable ACTIVATION says by which means: ``installed`` or ``middleware``.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, FastAPI

from rex.attach import Storage, get_storage
from rex.core import Rex, RexMiddleware

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

rex = Rex("rex.attach", attach_dir="attachments")
seen: list[int] = []


class Closable:
    """A service that leaves a file when it is closed."""

    def close(self) -> None:
        """Leave the file."""
        Path("closed").touch()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Look for the storage in the lifespan; where no middleware does, close the application."""
    seen.append(id(get_storage()))
    rex.service(Closable, Closable)
    if os.environ["ACTIVATION"] == "middleware":
        yield
    else:
        async with rex:
            yield


app = FastAPI(lifespan=lifespan)
if os.environ["ACTIVATION"] == "middleware":
    app.add_middleware(RexMiddleware, rex=rex)
else:
    rex.install()


@app.get("/lifespan")
def in_lifespan() -> int:
    """Return which storage the lifespan had."""
    return seen[0]


@app.get("/async")
async def in_async() -> int:
    """Return which storage an async endpoint has."""
    return id(get_storage())


@app.get("/sync")
def in_sync() -> int:
    """Return which storage a plain endpoint has, in a worker thread."""
    return id(get_storage())


@app.get("/dependency")
def in_dependency(storage: Annotated[Storage, Depends(get_storage)]) -> int:
    """Return which storage a dependency gives."""
    return id(storage)


@app.get("/thread")
def in_thread() -> int:
    """Return which storage a new thread has."""
    with ThreadPoolExecutor(1) as pool:
        return id(pool.submit(get_storage).result())
