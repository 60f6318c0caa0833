"""The site as gunicorn serves it: with static files, and a count of the bytes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

if TYPE_CHECKING:
    from collections.abc import Iterable

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "browser.django_site.settings")

site = StaticFilesHandler(get_wsgi_application())
received = 0


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Count the bytes of the bodies that reach Django; tell the count at ``/received``."""
    global received  # noqa: PLW0603 - of the only process
    received += int(environ.get("CONTENT_LENGTH") or 0)
    if environ["PATH_INFO"] == "/received":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(received).encode()]
    answer: Iterable[bytes] = site(environ, start_response)
    return answer
