"""Promises on ill-formed handles: every operation refuses them before the backend is called."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from rex.attach.conformance.expectations import expect, expect_error, expect_true
from rex.attach.conformance.promise import promise
from rex.attach.handle import show
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach.conformance.harness import Harness
    from rex.attach.storage import Storage

FOLDER = "/2026/11/23/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab"

ILL_FORMED: tuple[Any, ...] = (
    "",
    "/",
    "a.txt",
    "/a.txt",
    "/invalid/attachment/handle.txt",
    "/../../etc/passwd",
    "/etc/passwd",
    "../2026/11/23/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab/a.txt",
    f"{FOLDER}",
    f"{FOLDER}/",
    f"{FOLDER}/.",
    f"{FOLDER}/..",
    f"{FOLDER}/../../../../../etc/passwd",
    f"{FOLDER}/a/b.txt",
    f"{FOLDER}//a.txt",
    f"/{FOLDER}/a.txt",
    f"{FOLDER[1:]}/a.txt",
    f"{FOLDER}/a.txt/",
    f"{FOLDER}/a.txt\n",
    f"{FOLDER}/a\r\nb.txt",
    f" {FOLDER}/a.txt",
    f"{FOLDER}/a.txt ",
    f"{FOLDER}/a.txt\0",
    f"{FOLDER}/\0",
    f"{FOLDER}/a\\b.txt",
    f"{FOLDER}/.hidden",
    f"{FOLDER}/a.txt.",
    f"{FOLDER}/CON",
    f"{FOLDER}/nul.txt",
    f"{FOLDER}/a.txt::$DATA",
    f"{FOLDER}/e\u0301.txt",
    f"{FOLDER}/a\u202eb.txt",
    f"{FOLDER}/\u200b",
    f"{FOLDER}/\ud800.txt",
    f"{FOLDER}/${{filename}}",
    f"{FOLDER}/" + "a" * 256,
    f"{FOLDER}/" + "é" * 128,
    f"{FOLDER}/" + "a" * 5000,
    "/" + "a" * 5000,
    "/" * 5000,
    f"{FOLDER}/a.txt".upper(),
    f"{FOLDER}/a.txt".replace("-4e0a", "-1e0a"),
    f"{FOLDER}/a.txt".replace("-4e0a", "-7e0a"),
    f"{FOLDER}/a.txt".replace("-9b0a", "-cb0a"),
    f"{FOLDER}/a.txt".replace("-", ""),
    f"{FOLDER}/a.txt".replace("5f5e", "5F5E"),
    f"{FOLDER}/a.txt".replace("5f5e", "gggg"),
    f"{FOLDER}/a.txt".replace("/11/", "/13/"),
    f"{FOLDER}/a.txt".replace("/11/", "/00/"),
    f"{FOLDER}/a.txt".replace("/11/", "/1/"),
    f"{FOLDER}/a.txt".replace("/23/", "/32/"),
    f"{FOLDER}/a.txt".replace("/11/23/", "/02/30/"),
    f"{FOLDER}/a.txt".replace("/2026/", "/0000/"),
    f"{FOLDER}/a.txt".replace("/2026/", "/٢٠٢٦/"),
    f"{FOLDER}/a.txt".replace("/", "%2f"),
    f"%2e%2e{FOLDER}/a.txt",
    f"https://example.com{FOLDER}/a.txt",
    f"{FOLDER}/a.txt?versionId=1",
    f"{FOLDER}/a\x1b[31mred.txt",
    None,
    7,
    10**5000,
    1.5,
    True,
    f"{FOLDER}/a.txt".encode(),
    [f"{FOLDER}/a.txt"],
    (),
    object(),
)
"""Values that are not handles."""

MESSAGE_AND_LINE = 2
MAX_SHOWN = 500


@promise
def a_handle_that_is_none_is_not_read(harness: Harness) -> None:
    """`open`, `info` and `stat` refuse an ill-formed handle."""
    with harness.storage() as storage:
        for name in ("open", "info", "stat"):
            _expect_all_refused(name, getattr(storage, name))


@promise
def a_handle_that_is_none_removes_nothing(harness: Harness) -> None:
    """`remove` refuses an ill-formed handle and removes nothing."""
    with harness.storage() as storage:
        handle = storage.add("a.txt", b"data")
        _expect_all_refused("remove", storage.remove)
        expect("attachments left", [handle], list(storage))


@promise
def a_handle_that_is_none_is_not_listed_after(harness: Harness) -> None:
    """`list` refuses an ill-formed handle as `after`."""
    with harness.storage() as storage:
        wrong = [handle for handle in ILL_FORMED if handle is not None]
        _expect_all_refused("list", lambda handle: storage.list(after=handle), wrong)


@promise
def a_handle_that_is_none_gets_no_link(harness: Harness) -> None:
    """Links to an ill-formed handle are `ILL_FORMED`, even if the storage cannot create links."""
    with harness.storage() as storage:
        _expect_all_refused("download_link", storage.download_link)
        _expect_all_refused("upload_link", storage.upload_link)
        _expect_all_refused("upload_link", lambda handle: storage.upload_link(handle, method="PUT"))


@promise
def a_handle_stays_good_for_every_day(harness: Harness) -> None:
    """A handle of any day is well formed: its attachment is `NOT_FOUND`."""
    with harness.storage() as storage:
        for handle in (
            f"{FOLDER}/a.txt",
            f"{FOLDER}/a.txt".replace("/2026/11/23/", "/2024/02/29/"),
            f"{FOLDER}/a.txt".replace("/2026/11/23/", "/0001/01/01/"),
            f"{FOLDER}/a.txt".replace("/2026/11/23/", "/9999/12/31/"),
            f"{FOLDER}/" + "a" * 255,
        ):
            for name in ("open", "info", "stat", "remove"):
                _expect_missing(storage, name, handle)


def _expect_missing(storage: Storage, name: str, handle: str) -> None:
    operation = getattr(storage, name)
    expect_error(Kind.NOT_FOUND, f"{name}({handle[:60]})", operation, handle)


def _expect_all_refused(
    name: str, operation: Callable[[Any], object], handles: tuple[Any, ...] | list[Any] = ILL_FORMED
) -> None:
    for handle in handles:
        what = f"{name}({show(handle)[:60]!a})"
        error = expect_error(Kind.ILL_FORMED, what, operation, handle)
        text = str(error.payload)
        expect_true(
            "the error is a message and one line", len(str(error).splitlines()) <= MESSAGE_AND_LINE
        )
        expect_true(
            f"the error of {what} shows at most {MAX_SHOWN} characters of the handle",
            len(text) <= MAX_SHOWN,
        )


@promise
def a_handle_belongs_to_its_owner_alone(harness: Harness) -> None:
    """A handle belongs to the owner it was made for; a handle without an owner to no owner."""
    with harness.storage() as storage:
        made = [storage.reserve("a.txt"), storage.add("a.txt", b"a")]
        expect_error(Kind.ILL_FORMED, "an owner without a name", storage.reserve, "a", owner="")
        try:
            owned = [
                storage.reserve("a.txt", owner="ann"),
                storage.add("a.txt", b"a", owner="ann"),
                asyncio.run(storage.aio.reserve("a.txt", owner="ann")),
            ]
        except Error as error:
            expect("kind of the error without a secret", Kind.CONFIGURATION, error.kind)
            return
        for handle in owned:
            others = ("bob", "ann ", "Ann", handle)
            renamed = f"{handle.rpartition('/')[0][:-1]}{'1' if handle[47] == '0' else '0'}/a.txt"
            expect("its owner's", True, storage.is_owned_by(handle, "ann"))
            expect("others'", [], [one for one in others if storage.is_owned_by(handle, one)])
            expect("with another UUID", False, storage.is_owned_by(renamed, "ann"))
        for handle in made:
            expect("without an owner", False, storage.is_owned_by(handle, "ann"))
        expect("random handles", len(owned), len({*owned}))
