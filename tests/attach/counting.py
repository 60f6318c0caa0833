"""A relay in front of a server that notes the requests and counts the bytes that pass through."""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

REQUEST = re.compile(rb"^(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r$", re.MULTILINE)


class CountingRelay:
    """Passes connections on to a server on this machine, and notes methods and targets.

    The bodies that pass must not look like requests.
    """

    def __init__(self, endpoint: str) -> None:
        self._port = int(endpoint.rpartition(":")[2])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._requests: list[tuple[str, str]] = []
        self._received = 0
        self._writers: list[asyncio.StreamWriter] = []
        self.endpoint = ""

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        self.endpoint = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def taken(self) -> list[str]:
        """Give the methods of the requests since the last call."""
        return [method for method, _ in self.requests()]

    def requests(self) -> list[tuple[str, str]]:
        """Return methods and targets of the requests since the last call."""
        requests, self._requests = self._requests, []
        return requests

    def received(self) -> int:
        """Return the number of bytes that the server has sent since the last call."""
        received, self._received = self._received, 0
        return received

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += (writer, to)
        await asyncio.gather(self._pass(reader, to, count=True), self._pass(there, writer))

    async def _pass(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, *, count: bool = False
    ) -> None:
        try:
            while chunk := await source.read(65536):
                if count:
                    self._requests += [
                        (match[1].decode(), match[2].decode()) for match in REQUEST.finditer(chunk)
                    ]
                else:
                    self._received += len(chunk)
                to.write(chunk)
                await to.drain()
        except ConnectionError:
            pass
        finally:
            to.close()

    async def _cancel_all(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        for writer in self._writers:
            with suppress(ConnectionError):
                await writer.wait_closed()
