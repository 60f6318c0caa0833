"""The project as an ASGI application."""

from __future__ import annotations

from attach.django import server

server.setup()

from django.core.asgi import get_asgi_application  # noqa: E402 - needs the settings

application = get_asgi_application()
