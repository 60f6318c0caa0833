"""Promises on links: a link allows a client without credentials one request and no other."""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import TYPE_CHECKING, Any

from rex.attach.conformance.client import fetch, put
from rex.attach.conformance.expectations import expect, expect_content, expect_error, expect_true
from rex.attach.conformance.promise import link_promise, promise
from rex.core import Kind

if TYPE_CHECKING:
    from rex.attach.conformance.harness import Harness

MINUTE = 60
HOUR = 60 * MINUTE
WEEK = 7 * 24 * 3600
SIGNATURE = 43
"""The length of a SHA-256 in base64: a shorter part of an address is not a signature."""


@link_promise(supported=False)
def links_that_cannot_be_made_are_refused(harness: Harness) -> None:
    """A storage that cannot sign links says so, and what would make links possible."""
    with harness.storage() as storage:
        handle = storage.add("a.txt", b"data")
        for what, link in (
            ("upload_link", lambda: storage.upload_link(handle)),
            ("upload_link, PUT", lambda: storage.upload_link(handle, method="PUT")),
            ("download_link", lambda: storage.download_link(handle)),
        ):
            error = expect_error(Kind.UNSUPPORTED, what, link)
            expect_true(f"the error of {what} has an explanation", error.payload)


@promise
def arguments_of_links_are_checked_first(harness: Harness) -> None:
    """Ill-formed arguments are `ILL_FORMED`, even if the storage cannot sign links."""
    with harness.storage() as storage:
        loose: Any = storage
        handle = storage.reserve("a.txt")
        too_long = datetime.timedelta(days=7, seconds=1)
        for expires in (0, -1, 0.5, WEEK + 1, float("nan"), float("inf"), "1h", too_long, [60]):
            for name in ("upload_link", "download_link"):
                operation, what = getattr(loose, name), f"{name}(expires={expires!r})"
                expect_error(Kind.ILL_FORMED, what, operation, handle, expires=expires)
        for wrong in (
            {"method": "GET"},
            {"method": "post"},
            {"method": None},
            {"max_size": -1},
            {"max_size": "1 MB"},
            {"max_size": 1.5},
            {"content_type": "text"},
            {"content_type": "text/plain\r\nX-Other: 1"},
        ):
            what = f"upload_link with {wrong}"
            expect_error(Kind.ILL_FORMED, what, loose.upload_link, handle, **wrong)
        for window in (-1, 0.5, 60, HOUR, float("nan"), "1s", datetime.timedelta(minutes=1), [1]):
            what, operation = f"download_link(window={window!r})", loose.download_link
            expect_error(Kind.ILL_FORMED, what, operation, handle, expires=60, window=window)
        what = "download_link with filename=7"
        expect_error(Kind.ILL_FORMED, what, loose.download_link, handle, filename=7)


@link_promise(supported=True)
def a_link_is_a_value(harness: Harness) -> None:
    """A link has a method, URL, headers, fields and a true expiry, and can be written as JSON."""
    with harness.storage() as storage:
        handle, links = storage.reserve("a.txt"), storage.abilities.links
        made = [
            ("PUT", storage.upload_link(handle, method="PUT", expires=600)),
            ("GET", storage.download_link(handle, expires=datetime.timedelta(minutes=10))),
        ]
        if links is not None and links.post_links:
            made.append(("POST", storage.upload_link(handle, expires=600)))
        for method, link in made:
            expect("method", method, link.method)
            expect_true(f"{link.url} is a URL", link.url.startswith(("http://", "https://")))
            expect("whether the link has fields", method == "POST", bool(link.fields))
            left = (link.expires_at - datetime.datetime.now(datetime.UTC)).total_seconds()
            expect_true(
                f"the link is valid for 10 minutes, not much less: {left} s",
                0 <= 600 - left < MINUTE,
            )
            expect("URL in JSON", link.url, json.loads(json.dumps(link.as_dict()))["url"])
            shown = repr(link)
            path, _, query = link.url.partition("?")
            tokens = [part for part in path.split("/") if len(part) >= SIGNATURE]
            secrets = [query or "?", *tokens, *link.fields.values()]
            told = [text for text in secrets if text != "204" and text in shown]
            expect("secrets in repr", [], told)
        for seconds in (1, WEEK):
            storage.download_link(handle, expires=seconds)


@link_promise(supported=True)
def a_window_repeats_a_link(harness: Harness) -> None:
    """Within a window, calls return the same download link, which works and lasts no longer."""
    with harness.storage() as storage:
        handle = storage.add("a.txt", b"data")
        made = []
        for _ in range(3):  # a window may end between two calls, but not twice
            before = datetime.datetime.now(datetime.UTC)
            link = storage.download_link(handle, expires=2 * HOUR, window=HOUR)
            made.append(link)
            left = (link.expires_at - before).total_seconds()
            expect_true(f"the link is valid for 1 to 2 hours: {left} s", left + 1 >= HOUR)
            expect_true(f"the link is valid for at most 2 hours: {left} s", left <= 2 * HOUR + 1)
        expect_true("a link is repeated", len({link.url for link in made}) < len(made))
        expect("content of the download", b"data", fetch(made[-1]).body)


@link_promise(supported=True)
def a_link_permits_nothing_else(harness: Harness) -> None:
    """A link is refused with a different method, a different handle or a changed signature."""
    with harness.storage() as storage:
        handle, other = storage.add("a.txt", b"first"), storage.add("b.txt", b"other")
        link = storage.download_link(handle)
        last = "0" if link.url[-1] != "0" else "1"
        expect_true("a different method is refused", put(link, b"second").refused)
        another = dataclasses.replace(link, url=link.url.replace(handle[1:], other[1:]))
        expect_true("a different handle is refused", fetch(another).refused)
        changed = dataclasses.replace(link, url=link.url[:-1] + last)
        expect_true("a changed signature is refused", fetch(changed).refused)
        unsigned = dataclasses.replace(link, url=link.url.partition("?")[0])
        expect_true("a missing signature is refused", fetch(unsigned).refused)
        expect_content(storage, handle, b"first")
