"""The project of a server of its own, whose storage is in the directory that ``FILES`` names.

``/file/<name>`` is an attachment, ``/async/<name>`` the same from a coroutine, and ``/memory`` the
peak of the memory of the process in bytes, which then begins again.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from attach.django import project

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase

    from rex.attach.django.response import AttachmentResponse


def setup() -> None:
    """Configure Django."""
    project.setup(
        ROOT_URLCONF="attach.django.server_urls",
        STORAGES=project.storages_at(os.environ["FILES"]),
    )


def show(request: HttpRequest, name: str) -> HttpResponseBase:
    """Return an attachment."""
    from rex.attach.django import AttachmentResponse

    return AttachmentResponse(request, name)


async def show_from_coroutine(request: HttpRequest, name: str) -> AttachmentResponse:
    """Return an attachment."""
    from rex.attach.django import AttachmentResponse

    return await AttachmentResponse.acreate(request, name)


def memory(_: HttpRequest) -> HttpResponse:
    """Return the highest resident memory since the last request for it."""
    from django.http import HttpResponse

    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    Path("/proc/self/clear_refs").write_text("5")
    return HttpResponse(str(int(found[1]) * 1024))
