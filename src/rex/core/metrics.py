"""HTTP metrics of `rex serve --metrics`, served at /metrics for all worker processes together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from rex.core.error import Error, Kind
from rex.core.web import HEALTH, below_root, import_reference, make_app, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from rex.core.application import Rex

__all__ = ["PATH", "Measured", "share"]

PATH = "/metrics"
OTHER = "_OTHER"
"""Label of an unknown method or route, as in OpenTelemetry's conventions for methods."""
UNANSWERED = "none"
"""Label instead of a status: the application failed, or the client disconnected."""

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""If this variable is set on import, prometheus_client keeps its values in files there."""

_METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
)  # RFC 9110, section 9, and RFC 5789


@contextlib.contextmanager
def share() -> Iterator[None]:
    """Share the metrics of processes started inside the block, in files deleted afterwards.

    Errors: `CONFIGURATION` if prometheus_client is missing.
    """
    if find_spec("prometheus_client") is None:
        raise Error(
            "Metrics need prometheus-client: pip install 'rex-attach[metrics]'",
            "option --metrics",
            kind=Kind.CONFIGURATION,
            code="missing-package",
        )
    # granian replaces this handler when it starts.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    directory = tempfile.mkdtemp(prefix="rex-metrics-")
    os.environ[_DIRECTORY] = directory
    try:
        yield
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Measured:
    """ASGI middleware that measures requests, except those for /metrics, which it answers.

    /metrics has the text format of Prometheus and covers all processes inside `share`, including
    the packages' own metrics.
    """

    def __init__(self, app: ASGIApp, rex: Rex) -> None:
        from prometheus_client import CollectorRegistry, Histogram
        from prometheus_client.multiprocess import MultiProcessCollector

        for package in rex.packages:
            if package.metrics is not None:
                import_reference(package.metrics)()
        self._app = app
        self._routes = {HEALTH, *(path_of(package) for package in rex.packages if package.routes)}
        self._duration = Histogram(
            "rex_http_request_duration_seconds",
            "Duration of requests, from their head to the end of the response.",
            ("method", "route", "status"),
        )
        self._registry = CollectorRegistry()
        MultiProcessCollector(self._registry, os.environ[_DIRECTORY])  # type: ignore[no-untyped-call]
        self._metrics = make_app([Route(PATH, self._render)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request and record its duration."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = below_root(scope)
        if path == PATH:
            await self._metrics(scope, receive, send)
            return
        began, ended, status = time.perf_counter(), None, UNANSWERED

        async def send_and_note(message: Message) -> None:
            nonlocal status, ended
            status = str(message.get("status", status))
            await send(message)
            ended = time.perf_counter()

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            first = f"/{path[1:].partition('/')[0]}"
            labels = (
                scope["method"] if scope["method"] in _METHODS else OTHER,
                first if first in self._routes else OTHER,
                status,
            )
            self._duration.labels(*labels).observe((ended or time.perf_counter()) - began)

    async def _render(self, _: Request) -> Response:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        # generate_latest reads the files of all processes.
        text = await asyncio.to_thread(generate_latest, self._registry)
        headers = {"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"}
        return Response(text, headers=headers)
