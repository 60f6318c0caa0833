"""The service under WSGI: an ASGI application that answers in the thread of the request.

Each request has an event loop of its own, which runs in the server's thread while the server waits
for the next part of the response. So there is one implementation of the routes, nothing outlives a
request, and the functions of the application run in the thread and context of the request.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rex.attach.storage.request_thread import REQUEST_THREAD
from rex.attach.web.interim import INTERIM, interim_head
from rex.attach.web.wsgi_input import Input
from rex.core import Error, Kind

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Scope

__all__ = ["Answer", "WSGIApp", "answer"]

_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Headers that belong to the server (PEP 3333; RFC 9110, section 7.6.1)."""


class WSGIApp:
    """A WSGI application that runs an ASGI application, one request in each thread.

    The root path is ``SCRIPT_NAME``, so it can be mounted anywhere. Both bodies are streamed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(
        self,
        environ: Mapping[str, Any],
        start_response: Callable[[str, list[tuple[str, str]]], object],
    ) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        answered = answer(self._app, environ)
        start_response(answered.status_line, answered.headers)
        return answered.body


class Answer:
    """A response: status, headers, and the body as the server must iterate over it and close it."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: Iterable[bytes]) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def status_line(self) -> str:
        """The status and its phrase."""
        try:
            return f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return f"{self.status} Error"


def answer(app: ASGIApp, environ: Mapping[str, Any], *, prefix: str = "") -> Answer:
    """Run an ASGI application for one WSGI request, up to the first bytes of the response.

    `prefix` is the path, below ``SCRIPT_NAME``, at which the application is mounted. The functions
    of the application that the service calls are called here, by this thread. A small response is
    complete; the iterator of any other runs the application on.

    Errors: `CONFIGURATION` under a server of greenlets in place of threads.
    """
    _check_threads()
    exchange = _Exchange(app, environ, prefix)
    try:
        return exchange.begin()
    except BaseException:
        exchange.close()
        raise


def _check_threads() -> None:
    """Check that threads are threads: several event loops cannot run in one."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        reason = "gevent replaces threads"
    else:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        reason = "an event loop runs in this thread"
    raise Error(
        "The service needs a WSGI server with threads, such as gunicorn --threads=8",
        reason,
        kind=Kind.CONFIGURATION,
        code="no-threads",
    )


class _Exchange:
    """A request and its response, and the event loop between them; also a `RequestThread`."""

    def __init__(self, app: ASGIApp, environ: Mapping[str, Any], prefix: str) -> None:
        self._input = Input(environ)
        self._events: deque[_Call | Message] = deque()
        self._lock = threading.Lock()
        self._is_closed = False
        self._has_ended = False
        self._is_input_told = False
        self._start: Message = {}
        self._loop = asyncio.new_event_loop()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._taken: asyncio.Future[None] | None = None
        context = contextvars.copy_context()
        context.run(REQUEST_THREAD.set, self)
        scope = _scope(environ, prefix)
        if self._input.can_answer:
            scope["extensions"] = {INTERIM: self._send_interim}
        self._task: asyncio.Task[None] = self._loop.create_task(
            app(scope, self._receive, self._send),  # type: ignore[arg-type]  # a coroutine
            context=context,
        )
        self._task.add_done_callback(lambda _: self._loop.stop())

    # What the server's thread does.

    def begin(self) -> Answer:
        """Return the response, with its whole body if that is one message."""
        first = self._next_body()
        if first is None:
            self._task.result()
            raise RuntimeError("the application sent no response")
        status, headers = self._start["status"], _headers(self._start["headers"])
        if not self._has_ended:
            return Answer(status, headers, _Chunks(self, first))
        self.close()
        return Answer(status, headers, [first] if first else [])

    def next_chunk(self) -> bytes | None:
        """Return the next bytes of the body, or None at its end."""
        chunk = None if self._has_ended else self._next_body()
        if chunk is None:
            self.close()
            if not self._has_ended:  # the server must not take the body for complete
                self._task.result()
                raise ConnectionAbortedError("the response is incomplete")
        return chunk

    def close(self) -> None:
        """Wait for the application to end, and release everything; closing again does nothing."""
        if self._loop.is_closed():
            return
        if not self._gone.done():
            self._gone.set_result(None)
        try:
            while self._next_body() is not None:
                pass
            self._task.exception()  # `begin` and `next_chunk` raise it, as long as the server waits
        finally:
            self._end()

    def _end(self) -> None:
        with self._lock:
            self._is_closed = True
        while self._events:
            event = self._events.popleft()
            if isinstance(event, _Call):
                event.run()
        self._input.end()
        winding_up = self._loop.create_task(_wind_up(self._loop))
        while not winding_up.done():  # a call of `stop` may be left in the loop
            self._loop.run_forever()
        self._loop.close()

    def _next_body(self) -> bytes | None:
        """Run the application up to its next bytes; return them, or None at its end."""
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(None)
        while True:
            while self._events:
                event = self._events.popleft()
                if isinstance(event, _Call):
                    event.run()
                elif event["type"] == "http.response.start":
                    self._start = event
                else:
                    self._has_ended = not event.get("more_body", False)
                    self._input.interrupt()
                    body: bytes = event.get("body", b"")
                    return body
            if self._task.done():
                return None
            self._loop.run_forever()

    # What the application does, in the event loop.

    async def _receive(self) -> Message:
        if not self._input.has_more:
            if self._is_input_told:
                await asyncio.wait({self._gone})
                return {"type": "http.disconnect"}
            self._is_input_told = True
            return {"type": "http.request", "body": b"", "more_body": False}
        arrived = self._loop.create_future()
        self._input.read().add_done_callback(lambda _: self._wake(arrived))
        await asyncio.wait({arrived, self._gone}, return_when=asyncio.FIRST_COMPLETED)
        try:
            chunk = self._input.take() if arrived.done() else b""
        except Exception:  # noqa: BLE001 - servers raise exceptions of their own
            return {"type": "http.disconnect"}
        if not arrived.done():
            return {"type": "http.disconnect"}
        self._is_input_told = not self._input.has_more
        return {"type": "http.request", "body": chunk, "more_body": self._input.has_more}

    def _wake(self, arrived: asyncio.Future[None]) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(_resolve, arrived)

    async def _send(self, message: Message) -> None:
        if self._gone.done():
            raise OSError("the client has left")
        self._events.append(message)
        if message["type"] == "http.response.body":
            self._taken = self._loop.create_future()
            self._loop.stop()
            if message.get("more_body", False):
                await self._taken

    def _send_interim(self, status: int, headers: Mapping[str, str]) -> bool:
        return self._input.answer(interim_head(status, headers))

    # What other threads do.

    def submit(
        self, function: Callable[..., Any], *arguments: object
    ) -> concurrent.futures.Future[Any]:
        """Call a function in the thread of the request; see `RequestThread`."""
        call = _Call(function, arguments)
        with self._lock:
            is_closed = self._is_closed
            if not is_closed:
                self._events.append(call)
                self._loop.call_soon_threadsafe(self._loop.stop)
        if is_closed:
            call.run()
        return call.future


class _Call:
    """A call of a function, and its result."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[object, ...]) -> None:
        self._function = function
        self._arguments = arguments
        self.future: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def run(self) -> None:
        """Call the function."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self._function(*self._arguments)
        except BaseException as failure:  # noqa: BLE001 - raised again in the waiting thread
            self.future.set_exception(failure)
        else:
            self.future.set_result(result)


class _Chunks(Iterator[bytes]):
    """The body of a response, as the server takes it."""

    def __init__(self, exchange: _Exchange, first: bytes) -> None:
        self._exchange = exchange
        self._first: bytes | None = first

    def __next__(self) -> bytes:
        first, self._first = self._first, None
        chunk = self._exchange.next_chunk() if first is None else first
        if chunk is None:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """End the response, complete or not; the server always calls this (PEP 3333)."""
        self._exchange.close()

    def __del__(self) -> None:
        """End the response that the client of a test did not read."""
        with suppress(RuntimeError):  # an event loop runs in this thread
            self.close()


async def _wind_up(loop: asyncio.AbstractEventLoop) -> None:
    """End what the application left in its event loop."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()
    loop.stop()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    decoded = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    return [(name, value) for name, value in decoded if name.lower() not in _HOP_BY_HOP]


def _scope(environ: Mapping[str, Any], prefix: str) -> Scope:
    """Return the ASGI scope of a request (ASGI, HTTP connection scope; PEP 3333)."""
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}".encode("latin-1")
    root = environ.get("SCRIPT_NAME", "").encode("latin-1").decode(errors="replace") + prefix
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").partition("/")[2],
        "method": environ["REQUEST_METHOD"],
        "scheme": environ["wsgi.url_scheme"],
        "path": path.decode(errors="replace"),
        "raw_path": quote(path).encode(),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "root_path": root,
        "headers": list(_request_headers(environ)),
        "client": (environ.get("REMOTE_ADDR", ""), int(environ.get("REMOTE_PORT") or 0)),
        "server": (environ["SERVER_NAME"], int(environ["SERVER_PORT"] or 0)),
    }
    if "HTTP_TRANSFER_ENCODING" in environ and not environ.get("wsgi.input_terminated"):
        scope["wsgi_environ"] = environ  # `Body` refuses what the server cannot read
    return scope


def _request_headers(environ: Mapping[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            yield name[5:].replace("_", "-").lower().encode("latin-1"), value.encode("latin-1")
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            yield name.replace("_", "-").lower().encode(), environ[name].encode("latin-1")
