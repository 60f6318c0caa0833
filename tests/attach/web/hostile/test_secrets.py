"""Secrets stay where they are: not in an answer, not in what the server writes."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import pytest

from attach.web.hostile.raw import KEY, request

if TYPE_CHECKING:
    from pathlib import Path

    from attach.web.hostile.conftest import Everywhere

SIGNATURE = re.compile(r"[Ss]ignature[\"'=:%3D ]+[0-9a-f]{16}")


@pytest.mark.parametrize(
    "data",
    [
        request("GET", "/attach{kept}", f"X-Api-Key: {KEY}", f"Cookie: key={KEY}"),
        request("GET", f"/attach/?limit={KEY}"),
        request("GET", f"/attach{{kept}}?access_token={KEY}"),
        request("GET", f"/health?key={KEY}"),
        request("POST", f"/attach/?name=a&key={KEY}", "Content-Length: 10", body=b"abc"),
        request("POST", "/attach/?name=a", "Content-Type: x", body=KEY.encode()),
        request("POST", "/attach/links", body=b'{"name": 1, "key": "%s"}' % KEY.encode()),
        request("GET", "/attach/", f"Authorization: Basic {KEY}", key=None),
        request("GET", "/attach/", f"Authorization: Bearer {KEY} {KEY}", key=None),
        request("GET", "/attach/", f"Authorization: Bearer {KEY}x", key=None),
        request("GET", "/attach/", f"Proxy-Authorization: Bearer {KEY}", key=None),
        request("GET", "/attach/", f"Authorization: Bearer  {KEY}\t x", key=None),
        request("GET", "/attach/", f"Origin: https://{KEY}", key=None),
        request("TRACE", "/attach{kept}"),
        request("GET", "/attach{kept}", f"Range: {KEY}", f"If-Match: {KEY}"),
    ],
)
def test_what_is_sent_in_secret_is_not_written(everywhere: Everywhere, data: bytes) -> None:
    """Neither a right nor a wrong place for a key shows it; the client fails where it is seen."""
    ends = [service.log.stat().st_size for service in everywhere.services]
    everywhere.each(data)
    for service, at in zip(everywhere.services, ends, strict=True):
        with service.log.open("rb") as log:
            log.seek(at)
            written = log.read().decode(errors="replace")
        for secret in service.secrets:
            assert secret not in written


def is_written(log: Path) -> bool:
    """Return whether the log has the line about a request for an attachment."""
    return '"GET /attach/20' in log.read_text(errors="replace")


def test_links_are_not_written(everywhere: Everywhere) -> None:
    """Who reads the log cannot use them."""
    link = request("GET", "/attach{kept}?link")
    upload = request("POST", "/attach/links", body=b'{"name": "a"}')
    for service, made, reserved in zip(
        everywhere.services, everywhere.each(link), everywhere.each(upload), strict=True
    ):
        assert made
        assert reserved
        # The line about a request may come after its answer.
        service.served.until(partial(is_written, service.log))
        log = service.log.read_text(errors="replace")
        assert " DEBUG " in log
        assert not SIGNATURE.search(log)
        for secret in service.secrets:
            assert secret.encode() not in made.body + reserved.body


def test_nothing_failed_behind_the_answers(everywhere: Everywhere) -> None:
    """No log holds a traceback or an unexpected error."""
    for service in everywhere.services:
        log = service.log.read_text(errors="replace")
        assert "Traceback" not in log
        assert "unexpected" not in log
