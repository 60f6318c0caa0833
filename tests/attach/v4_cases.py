"""Cases of V4 signatures, the same in each run, and a key that is used nowhere else."""

from __future__ import annotations

import datetime
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 1000
"""The number of links, and of policies."""
LETTERS = "abcXYZ019-._~ +%&=?#/\\'\"()*!,;:@$[]{}|^`<>äéß中עिЯ🙂"
KEY_FILE = Path(__file__).with_name("gcs_key.json")
"""The key of a service account that does not exist."""
KEY = json.loads(KEY_FILE.read_text("ascii"))["private_key"]
EMAIL = json.loads(KEY_FILE.read_text("ascii"))["client_email"]


class Link(NamedTuple):
    """What a link is made of."""

    method: str
    bucket: str
    name: str
    headers: dict[str, str]
    disposition: str | None
    content_type: str | None
    seconds: int
    now: datetime.datetime


class Policy(NamedTuple):
    """What the fields of a form are made of."""

    bucket: str
    name: str
    fields: dict[str, str]
    most: int
    seconds: int
    now: datetime.datetime


def links() -> Iterator[Link]:
    """Give the links."""
    chance = random.Random("links")  # noqa: S311 - the same in each run
    for _ in range(COUNT):
        kinds = ("Content-Type", "Content-Disposition", "Cache-Control", "x-goog-meta-a")
        headers = {name: _ascii(chance) for name in kinds if chance.random() < 0.4}
        if chance.random() < 0.5:
            headers["x-goog-if-generation-match"] = "0"
        if chance.random() < 0.5:
            headers["x-goog-content-length-range"] = f"0,{chance.randrange(1 << 40)}"
        yield Link(
            chance.choice(["GET", "PUT", "HEAD", "DELETE"]),
            _bucket(chance),
            _name(chance),
            headers,
            f"attachment; filename*=UTF-8''{_name(chance)}" if chance.random() < 0.5 else None,
            "text/plain; charset=utf-8" if chance.random() < 0.3 else None,
            chance.randrange(1, 604801),
            _moment(chance),
        )


def policies() -> Iterator[Policy]:
    """Give the policies."""
    chance = random.Random("policies")  # noqa: S311 - as above
    for _ in range(COUNT):
        kinds = ("Content-Type", "Content-Disposition", "Cache-Control", "Content-Encoding")
        fields = {name: _name(chance) for name in kinds if chance.random() < 0.7}
        fields["success_action_status"] = "204"
        most = chance.randrange(1 << 42)
        seconds = chance.randrange(1, 604801)
        yield Policy(_bucket(chance), _name(chance), fields, most, seconds, _moment(chance))


def _bucket(chance: random.Random) -> str:
    return "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=12))


def _name(chance: random.Random) -> str:
    text = "".join(chance.choices(LETTERS, k=chance.randrange(1, 60)))
    return f"2026/11/29/{text}"


def _ascii(chance: random.Random) -> str:
    letters = [letter for letter in LETTERS if letter.isascii()]
    return "a" + "".join(chance.choices(letters, k=chance.randrange(1, 40))) + "  z "


def _moment(chance: random.Random) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(
        chance.randrange(1_700_000_000, 1_900_000_000), datetime.UTC
    )
