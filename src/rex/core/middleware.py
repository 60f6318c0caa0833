"""ASGI middleware that activates an application."""

from __future__ import annotations

from typing import Any

from rex.core.application import Rex  # noqa: TC001 - resolved at run time

__all__ = ["RexMiddleware"]


class RexMiddleware:
    """ASGI middleware: `rex` is active in requests and in the lifespan, whose end closes it.

    As in ``app.add_middleware(RexMiddleware, rex=rex)``. It also covers the worker threads of
    Starlette and FastAPI. It does not cover other threads and background workers: for those, use
    `Rex.install`. Several applications in one process may each have their own.
    """

    def __init__(self, app: Any, rex: Rex) -> None:
        self._app = app
        self._rex = rex

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or run the lifespan."""

        async def send_closing(message: Any) -> None:
            # The server may end the process as soon as it has this message.
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                self._rex.close()
            await send(message)

        with self._rex:
            await self._app(scope, receive, send_closing if scope["type"] == "lifespan" else send)
