"""Trying on a storage what an application will do, and telling of each step what is wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import secrets
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rex.attach.backend.diagnostics import (
    MAX_TEXT,
    Check,
    Step,
    Verdict,
    doctors_of,
    fail,
    fail_with,
    ok,
    one_line,
    skip,
    warn,
)
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from rex.attach.backend.diagnostics import Doctor
    from rex.attach.links.link import PresignedLink
    from rex.attach.storage import Storage

__all__ = ["Check", "Verdict", "diagnose"]

SIZE = 4096
NAME = "doctor.txt"
CONTENT_TYPE = "text/plain"
HEADERS = "cache-control,content-disposition,content-encoding,content-type,if-none-match"
"""What a page sends along with an upload."""
_OLDER = (
    "nothing new is stored in the older storage, so this may be meant; reading and removing could "
    "not be tried"
)


def diagnose(storage: Storage, origins: Sequence[str] = ()) -> Generator[Check, None, None]:
    """Try what an application will do with a storage; tell what was found, step by step.

    The storage may be one that `check` refuses. After a failure it goes on wherever the next step
    still makes sense. What it stores, under handles that it reserves, is removed in the end, also
    when the caller gives up. `origins` are the sites (``https://example.org``) whose pages are to
    use the links.

    Nothing is raised for what is wrong: that is a `Check` whose verdict is `FAIL`.
    """
    for doctor in doctors_of(storage):
        yield from _Examination(doctor, origins).findings()


class _Examination:
    """Of one storage.

    The steps run in a thread of their own, so that one that has begun is ended before what it
    stored is removed, whenever the caller is interrupted.
    """

    def __init__(self, doctor: Doctor, origins: Sequence[str]) -> None:
        self._doctor = doctor
        self._storage = doctor.storage
        self._origins = origins
        limit = self._storage.max_size
        self._content = secrets.token_bytes(SIZE if limit is None else min(SIZE, limit))
        self._other = bytes(byte ^ 0xFF for byte in self._content)
        self._is_unreachable = False
        self._handle = ""
        self._handles: list[str] = []
        self._verdicts: dict[str, Verdict] = {}
        self._working: set[str] = set()

    def findings(self) -> Generator[Check, None, None]:
        """Take all the steps, and clean up."""
        pool = ThreadPoolExecutor(1, "rex.attach.backend.diagnostics")
        left = None
        try:
            for step in self._steps():
                yield self._label(pool.submit(self._take, step).result(), step.name)
        finally:
            left = pool.submit(self._clean_up).result()
            pool.shutdown()
        if left is not None:
            yield self._label(left, "clean-up")

    def _steps(self) -> list[Step]:
        required = tuple(self._doctor.required)
        written = ("write",)
        tried = [
            *self._doctor.first(),
            Step("list", self._list, required),
            Step("write", self._write, required),
            Step("conditional write", self._write_again, written),
            Step("read", self._read, written),
            Step("range read", self._read_range, written),
            Step("info", self._info, written),
            *([] if self._doctor.is_older else self._doctor.more(self._reserve)),
        ]
        if not self._doctor.is_older:
            tried.append(Step("post link", self._post_link, required))
            tried.append(Step("put link", self._put_link, required))
        tried.append(Step("get link", self._get_link, written))
        if not self._origins:
            tried.append(
                Step("cors", lambda: skip("no-origin", "no site was given (--origin)"), required)
            )
        tried += [
            Step("cors", functools.partial(self._cors, origin), required)
            for origin in self._origins
        ]
        return [*tried, Step("remove", self._remove, written)]

    def _take(self, step: Step) -> Check:
        remaining = [needed for needed in step.needs if needed not in self._working]
        found = _needs(remaining[0]) if remaining else self._look(step)
        if found.verdict in (Verdict.OK, Verdict.WARN):
            self._working.add(step.name)
        elif step.name == "write" and self._doctor.is_older and not remaining:
            found = dataclasses.replace(found, verdict=Verdict.WARN, advice=(_OLDER,))
        self._verdicts[step.name] = found.verdict
        return found

    def _look(self, step: Step) -> Check:
        from rex.attach.links.client import Unreachable  # which takes a while

        try:
            return step.look()
        except Unreachable as failure:
            self._is_unreachable = True
            return self._doctor.unreachable(failure)
        except Error as error:
            if error.kind is Kind.UNSUPPORTED and step.name.endswith("link"):
                return skip(error.code, one_line(error))
            return fail_with(error, *self._doctor.advice(step.name, error))
        except Exception as failure:  # noqa: BLE001 - the other steps are worth taking all the same
            return fail("unexpected", f"unexpected {type(failure).__name__}: {failure}")

    def _label(self, found: Check, name: str) -> Check:
        """Name the step and the storage; show no secret, and nothing that a terminal would do."""
        text = self._show(found.text)
        advice = tuple(self._show(line) for line in found.advice)
        return dataclasses.replace(
            found, step=name, text=text, advice=advice, storage=repr(self._storage)
        )

    def _show(self, text: str) -> str:
        masked = self._doctor.mask(" ".join(map(str.strip, text.splitlines())))
        shown = "".join(char if char.isprintable() else "?" for char in masked)
        return shown if len(shown) <= MAX_TEXT else f"{shown[:MAX_TEXT]}…"

    # What is stored, and removed.

    def _reserve(self) -> str:
        """Make a handle that is removed in the end, whatever comes to be stored under it."""
        handle = self._storage.reserve(NAME)
        self._handles.append(handle)
        return handle

    def _clean_up(self) -> Check | None:
        """Remove everything; tell what could not be removed and is there."""
        remaining = []
        for handle in self._handles:
            try:
                self._doctor.discard(handle)
            except Exception as failure:  # noqa: BLE001 - the others are to go all the same
                reason = one_line(failure) if isinstance(failure, Error) else repr(failure)
                with contextlib.suppress(Exception):  # then nobody can tell
                    if handle in self._storage:
                        remaining.append((handle, reason))
        self._doctor.leave()
        if not remaining:
            return None
        handles = shlex.join(handle for handle, _ in remaining)
        return fail(
            "not-removed",
            f"{len(remaining)} attachments of this examination could not be removed: "
            f"{remaining[0][1]}",
            "remove them when that can be done:",
            f"$ rex attach rm {handles}",
        )

    # The verbs.

    def _list(self) -> Check:
        found = next(self._storage.list(), None)
        return ok("there are attachments" if found is not None else "there is no attachment yet")

    def _write(self) -> Check:
        self._handle = self._reserve()
        began = time.perf_counter()
        self._storage.put(self._handle, self._content, content_type=CONTENT_TYPE)
        return ok(f"{_size(self._content)} stored in {_since(began)}")

    def _write_again(self) -> Check:
        try:
            self._storage.put(self._handle, self._other)
        except Error as error:
            if error.kind is Kind.EXISTS:
                return ok("what is stored is not overwritten")
            raise
        self._storage.remove(self._handle)
        self._storage.put(self._handle, self._content, content_type=CONTENT_TYPE)
        return warn(
            "condition-ignored",
            "the server ignores the condition: nothing is protected against being overwritten",
            "use a server that knows If-None-Match on PUT, and give no link twice until then",
        )

    def _read(self) -> Check:
        began = time.perf_counter()
        with self._storage.open(self._handle) as stream:
            given = stream.read()
        if given != self._content:
            return fail(
                "other-content", f"{len(given)} bytes were read, and not those that were stored"
            )
        return ok(f"{_size(given)} read in {_since(began)}")

    def _read_range(self) -> Check:
        start = len(self._content) // 2
        with self._storage.open(self._handle, start=start) as stream:
            given = stream.read()
        if given != self._content[start:]:
            return fail(
                "range-ignored",
                f"{len(given)} bytes were read from byte {start} on, and not those that are there",
                "a proxy before the server must pass on the header Range, and cache nothing",
            )
        return ok(f"from byte {start} on")

    def _info(self) -> Check:
        info = self._storage.info(self._handle)
        digest = hashlib.sha256(self._content).hexdigest()
        if (info.size, info.content_type) != (len(self._content), CONTENT_TYPE):
            return fail(
                "headers-changed",
                f"{info.size} bytes of {info.content_type}, not {len(self._content)} of "
                f"{CONTENT_TYPE}",
                "a proxy before the server must not change headers",
            )
        if info.digest != digest:
            return warn(
                "digest-not-kept",
                "the SHA-256 was not kept, so damage cannot be found",
                "a proxy before the server must pass on the headers x-amz-meta-*",
            )
        return ok("size, content type and SHA-256 are kept")

    def _remove(self) -> Check:
        self._storage.remove(self._handle)
        if self._handle in self._storage:
            return fail("still-there", "what was removed is still there")
        return ok("what was removed is gone")

    # Links, used as somebody does who has nothing else.

    def _lacks_links(self) -> Check | None:
        unanswered = skip("unreachable", "nobody answers links")
        return self._doctor.lacks_links() or (unanswered if self._is_unreachable else None)

    def _post_link(self) -> Check:
        if remaining := self._lacks_links():
            return remaining
        handle = self._reserve()
        link = self._storage.upload_link(handle, max_size=len(self._content))
        answer = self._doctor.client.upload(link, self._content)
        if not answer.ok:
            return self._doctor.explain_refusal("POST", answer)
        if found := self._compare(handle):
            return found
        other = self._storage.upload_link(self._reserve(), max_size=len(self._content))
        if self._doctor.client.upload(other, self._content + b"x").ok:
            return fail(
                "size-limit-ignored",
                f"a form of {len(self._content) + 1} bytes was taken, though its link permits "
                f"{len(self._content)}",
                "the server ignores content-length-range: let nobody upload by POST who is not "
                "trusted with the space",
            )
        return ok(f"{_place(link)}: {_size(self._content)} uploaded, and one byte more refused")

    def _put_link(self) -> Check:
        if remaining := self._lacks_links():
            return remaining
        handle = self._reserve()
        link = self._storage.upload_link(handle, method="PUT")
        answer = self._doctor.client.put(link, self._content)
        if not answer.ok:
            return self._doctor.explain_refusal("PUT", answer)
        if found := self._compare(handle):
            return found
        if self._doctor.client.put(link, self._other).ok:
            verdict = warn if self._verdicts["conditional write"] is Verdict.WARN else fail
            return verdict(
                "link-works-twice",
                "the link worked twice, and the second upload took the place of the first",
                "a proxy before the server must pass on the header If-None-Match",
            )
        return ok(f"{_place(link)}: {_size(self._content)} uploaded, and a second time refused")

    def _get_link(self) -> Check:
        if remaining := self._lacks_links():
            return remaining
        link = self._storage.download_link(self._handle)
        answer = self._doctor.client.fetch(link)
        if not answer.ok:
            return self._doctor.explain_refusal("GET", answer)
        if answer.body != self._content:
            return fail("other-content", "the link gives other bytes than were stored")
        if (answer.disposition, answer.filename) != ("attachment", NAME):
            return fail(
                "disposition-ignored",
                "the link does not say that it is a download, and under which name",
                "a proxy before the server must pass on the header Content-Disposition",
            )
        return ok(f"{_place(link)}: {_size(answer.body)} downloaded")

    def _compare(self, handle: str) -> Check | None:
        """Compare what somebody uploaded, unless it is known that it cannot be read."""
        if self._verdicts.get("read") is Verdict.FAIL:
            return None
        with self._storage.open(handle) as stream:
            if stream.read() == self._content:
                return None
        return fail("other-content", "what is stored is not what was uploaded")

    def _cors(self, origin: str) -> Check:
        """Ask what a browser asks before it lets a page of this origin send and read (Fetch)."""
        if remaining := self._lacks_links():
            return remaining
        if self._verdicts["get link"] is Verdict.FAIL:
            return _needs("get link")
        self._storage.cors.make_rule([origin])
        try:
            link = self._storage.download_link(self._handle or self._reserve())
        except Error as error:
            return skip(error.code, one_line(error))
        methods = self._doctor.methods
        missing = [method for method in methods if not self._permits(link, origin, method)]
        if missing:
            what = "use the links" if len(missing) == len(methods) else f"send {', '.join(missing)}"
            return fail(
                "origin-refused",
                f"pages of {origin} may not {what}",
                *self._doctor.not_shared(origin),
            )
        answer = self._doctor.client.fetch(link, {"Origin": origin})
        exposed = _words(answer.headers.get_all("Access-Control-Expose-Headers"))
        if not {"etag", "*"} & exposed:
            return fail(
                "etag-hidden",
                f"pages of {origin} cannot read the ETag of the answers, which uploads in parts "
                "need",
                *self._doctor.not_shared(origin),
            )
        return ok(f"pages of {origin} may use the links")

    def _permits(self, link: PresignedLink, origin: str, method: str) -> bool:
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": HEADERS,
        }
        answer = self._doctor.client.send("OPTIONS", link.url, asked)
        allowed = answer.headers
        return (
            answer.ok
            and allowed.get("Access-Control-Allow-Origin") in (origin, "*")
            and bool(
                {method.lower(), "*"} & _words(allowed.get_all("Access-Control-Allow-Methods"))
            )
            and (
                "*" in (sent := _words(allowed.get_all("Access-Control-Allow-Headers")))
                or {*HEADERS.split(",")} <= sent
            )
        )


def _needs(step: str) -> Check:
    return skip("step-failed", f"it needs {step!r}")


def _words(values: Sequence[str] | None) -> set[str]:
    return {word.strip().lower() for value in values or () for word in value.split(",")}


def _size(content: bytes) -> str:
    return f"{len(content) // 1024} KiB" if len(content) == SIZE else f"{len(content)} bytes"


def _since(began: float) -> str:
    return f"{(time.perf_counter() - began) * 1000:.0f} ms"


def _place(link: PresignedLink) -> str:
    parts = urlsplit(link.url)
    return f"{parts.scheme}://{parts.netloc}"
