"""The service on a real server, in a thread: granian on a free port of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from typing import TYPE_CHECKING, Self

from granian.constants import Interfaces
from granian.server.embed import Server
from starlette.responses import PlainTextResponse

from programs import PATIENCE
from rex.attach.web import Access, attachments
from served import HOST, reserved_port, wait_until_listening

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from rex.attach.storage import Storage
    from rex.attach.web.app import Options


class Service:
    """Serves any number of storages, each below a path of its own; nobody may use them but by link.

    Use it in a ``with`` statement.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._apps: dict[str, ASGIApp] = {}
        self._numbers = itertools.count()
        self._starts = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()))

    def reserve(self) -> str:
        """Return the path for a storage that is served later; until then, it answers 200."""
        place = f"/{next(self._numbers)}"
        self._apps[place] = PlainTextResponse("")
        return place

    def serve(
        self,
        storage: Storage,
        options: Options | None = None,
        *,
        place: str | None = None,
        access: Access | None = None,
    ) -> str:
        """Serve a storage; give the address of its service."""
        place = place or self.reserve()
        self._apps[place] = attachments(storage, access or Access(lambda *_: False), options)
        return self.address(place)

    def address(self, place: str) -> str:
        """Return the address of a path."""
        return f"http://{HOST}:{self._port}{place}"

    async def _live(self) -> None:
        self._server = Server(
            self._answer,
            port=self._port,
            interface=Interfaces.ASGINL,
            websockets=False,
            log_enabled=False,
        )
        self._loop = asyncio.get_running_loop()
        self._server.on_startup(self._starts.set)
        await self._server.serve()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        place = f"/{scope['path'][1:].partition('/')[0]}"
        await self._apps[place]({**scope, "root_path": place}, receive, send)

    def __enter__(self) -> Self:
        self._port = self._stack.enter_context(reserved_port())
        self._thread.start()
        assert self._starts.wait(PATIENCE)
        wait_until_listening(self._port)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._stack.close()
