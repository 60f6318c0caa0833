"""Promises on download links: the responses that a browser receives."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from rex.attach.conformance.client import fetch
from rex.attach.conformance.expectations import expect, expect_true
from rex.attach.conformance.promise import link_promise
from rex.attach.conformance.samples import MIB, sample

if TYPE_CHECKING:
    from rex.attach.conformance.harness import Harness

MINUTE = 60


@link_promise(supported=True)
def a_download_link_gives_the_bytes(harness: Harness) -> None:
    """GET of a link's URL returns the content, its type, and the name to save it as."""
    with harness.storage() as storage:
        for size in (0, 10, 9 * MIB):
            handle = storage.add("scan 1.png", sample(size))
            answer = fetch(storage.download_link(handle))
            expect("status of the download", 200, answer.status)
            expect("content of the download", sample(size), answer.body)
            expect("content type", "image/png", answer.headers.get("Content-Type"))
            expect("disposition", "attachment", answer.disposition)
            expect("name to save it under", "scan 1.png", answer.filename)


@link_promise(supported=True)
def a_download_can_get_another_name(harness: Harness) -> None:
    """`filename` is the name that the download is saved as, sanitised like any file name."""
    with harness.storage() as storage:
        handle = storage.add("a.txt", b"data")
        for given, expected in (("Bericht März.txt", "Bericht März.txt"), ("../../x.txt", "x.txt")):
            answer = fetch(storage.download_link(handle, filename=given))
            expect(f"name made of {given}", expected, answer.filename)
            expect("disposition", "attachment", answer.disposition)


@link_promise(supported=True)
def only_what_is_safe_is_shown_in_place(harness: Harness) -> None:
    """`inline` applies to types without scripts; other types are downloaded nevertheless."""
    with harness.storage() as storage:
        for name, expected in (
            ("a.png", "inline"),
            ("a.pdf", "inline"),
            ("a.txt", "inline"),
            ("a.svg", "attachment"),
            ("a.html", "attachment"),
            ("a.xml", "attachment"),
            ("a.js", "attachment"),
            ("README", "attachment"),
        ):
            handle = storage.add(name, b"data")
            answer = fetch(storage.download_link(handle, inline=True))
            expect(f"disposition of {name}", expected, answer.disposition)
            expect(f"name of {name}", name, answer.filename)
            plain = fetch(storage.download_link(handle))
            expect(f"disposition of {name}, not inline", "attachment", plain.disposition)


@link_promise(supported=True)
def what_claims_to_be_a_page_is_not_shown_as_one(harness: Harness) -> None:
    """An attachment shown inline has the type of its name, not its stored type."""
    with harness.storage() as storage:
        handle = storage.add("a.png", b"<script>", content_type="text/html")
        answer = fetch(storage.download_link(handle, inline=True))
        expect("content type", "image/png", answer.headers.get("Content-Type"))


@link_promise(supported=True)
def a_text_shown_in_place_says_how_it_is_encoded(harness: Harness) -> None:
    """The content type names UTF-8: a browser that has to guess uses a different encoding."""
    with harness.storage() as storage:
        for content in ("Grüße", "Grüße".encode()):
            answer = fetch(storage.download_link(storage.add("a.txt", content), inline=True))
            told = answer.headers.get("Content-Type")
            expect("content type", "text/plain; charset=utf-8", told)


@link_promise(supported=True)
def a_download_is_kept_no_longer_than_its_link_lasts(harness: Harness) -> None:
    """A browser may cache a response no longer than the link is valid."""
    with harness.storage() as storage:
        link = storage.download_link(storage.add("a.txt", b"data"), expires=MINUTE)
        headers = fetch(link).headers
        caching = headers.get("Cache-Control", "")
        age = re.search(r"max-age=(\d+)", caching)
        expires = headers.get("Expires")
        if age is not None:
            expect_true(
                f"{caching} does not exceed the lifetime of the link", int(age[1]) <= MINUTE
            )
        elif not re.search("no-store|no-cache", caching):
            end = link.expires_at
            expect_true(
                f"{expires} is not after the expiry of the link, {end}",
                expires is not None and parsedate_to_datetime(expires) <= end,
            )


@link_promise(supported=True)
def a_download_link_of_nothing_is_answered_404(harness: Harness) -> None:
    """A download link can be created for a missing attachment; following the link returns 404."""
    with harness.storage() as storage:
        answer = fetch(storage.download_link(storage.reserve("a.txt")))
        expect("status", 404, answer.status)
