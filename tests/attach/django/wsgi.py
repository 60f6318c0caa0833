"""The project as a WSGI application."""

from __future__ import annotations

from attach.django import server

server.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402 - needs the settings

application = get_wsgi_application()
