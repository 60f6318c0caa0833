"""The application that the tests give to granian: the service over memory."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from rex.attach import open_storage
from rex.attach.web import Access, attachments

app = Starlette(
    routes=[
        Route("/health", lambda _: PlainTextResponse("ok\n")),
        Mount("/attach", attachments(open_storage("memory:"), Access(lambda *_: True))),
    ]
)
