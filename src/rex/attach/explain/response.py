"""Parser of a saved response: headers, XML of S3, or a problem document."""

from __future__ import annotations

import email.utils
import html
import json
import re
from datetime import UTC, datetime
from typing import Any

from rex.attach.links.reason import cite

__all__ = ["MAX_ANSWER", "Answer"]

MAX_ANSWER = 64 * 1024
"""Maximum number of bytes to parse; an error of S3 has a few hundred."""
SUCCESSFUL = range(200, 300)

_HEAD = re.compile(r"HTTP/[0-9.]{1,4} ([1-5][0-9][0-9])[^\n]*\n((?:[^\n]+\n)*)(?:\n|\Z)")


class Answer:
    """A parsed response; its contents are untrusted and shown only by `cite`."""

    def __init__(self, content: bytes) -> None:
        text = content[:MAX_ANSWER].decode("utf-8", "replace").replace("\r\n", "\n")
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        # The last of several heads counts, such as after 100 Continue.
        while head := _HEAD.match(text):
            self.status = int(head[1])
            self.headers = dict(_header(line) for line in head[2].splitlines())
            text = text[head.end() :]
        self._text = text
        self.problem = _problem(text)
        if self.status is None and isinstance(self.problem.get("status"), int):
            self.status = self.problem["status"]

    @property
    def code(self) -> str:
        """The code of an S3 error."""
        return self.element("Code")

    @property
    def type(self) -> str:
        """The type of a problem document, which is an error code in responses of the service."""
        return str(self.problem.get("type", ""))

    @property
    def message(self) -> str:
        """The message for people."""
        return self.element("Message") or cite(str(self.problem.get("detail", "")))

    @property
    def is_success(self) -> bool:
        """Whether the request succeeded."""
        return not self.code and self.status in SUCCESSFUL

    @property
    def is_known(self) -> bool:
        """Whether the response could be parsed."""
        return bool(self.code or self.status)

    @property
    def time(self) -> datetime | None:
        """The time by the server's clock."""
        given = self.element("ServerTime")
        try:
            found = (
                datetime.fromisoformat(given)
                if given
                else email.utils.parsedate_to_datetime(self.headers.get("date", ""))
            )
            return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
        except (ValueError, OverflowError):
            return None

    def element(self, name: str) -> str:
        """Return the text of an element of a flat S3 error, without expanding entities."""
        found = self.lines(name, 500)
        return found if found.isprintable() else ""

    def lines(self, name: str, limit: int = 32 * 1024) -> str:
        """Return the text of an element that may have several lines."""
        found = re.search(rf"<{name}>([^<]{{0,{limit}}})</{name}>", self._text)
        return html.unescape(found[1]) if found else ""


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()


def _problem(text: str) -> dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return {}
    try:
        problem = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}
