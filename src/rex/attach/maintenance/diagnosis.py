"""The diagnosis of a storage: checks that do what an application does."""

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

from rex.attach.backend.abilities import doctors_of
from rex.attach.backend.diagnostics import (
    MAX_TEXT,
    Check,
    Step,
    Verdict,
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
_OLDER = (
    "the older storage gets no new attachments, so this may be intended; reading and removing "
    "could not be tried"
)


def diagnose(storage: Storage, origins: Sequence[str] = ()) -> Generator[Check, None, None]:
    """Try what an application does with a storage; yield a check for each step.

    The storage need not pass `Storage.check`. After a failure, the steps that do not depend on it
    still run. Attachments stored by the diagnosis are removed afterwards, also if the caller
    closes the generator. `origins` (as ``https://example.org``) are those whose pages are to use
    the links.

    A failure is a `Check` with the verdict `FAIL`, never an exception.
    """
    for doctor in doctors_of(storage, storage.abilities):
        yield from _Diagnosis(doctor, origins).run()


class _Diagnosis:
    """The diagnosis of one storage.

    The steps run in a separate thread, so that after an interrupt the current step ends before
    the attachments that it stored are removed.
    """

    def __init__(self, doctor: Doctor[Storage], origins: Sequence[str]) -> None:
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
        self._causes: dict[str, str] = {}
        self._working: set[str] = set()

    def run(self) -> Generator[Check, None, None]:
        """Run all steps, then clean up."""
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
                Step("cors", lambda: skip("no-origin", "no origin was given (--origin)"), required)
            )
        tried += [
            Step("cors", functools.partial(self._cors, origin), required)
            for origin in self._origins
        ]
        return [*tried, Step("remove", self._remove, written)]

    def _take(self, step: Step) -> Check:
        remaining = [needed for needed in step.needs if needed not in self._working]
        found = self._lacks(remaining[0]) if remaining else self._look(step)
        if found.verdict in (Verdict.OK, Verdict.WARN):
            self._working.add(step.name)
        elif step.name == "write" and self._doctor.is_older and not remaining:
            found = dataclasses.replace(found, verdict=Verdict.WARN, advice=(_OLDER,))
        self._verdicts[step.name] = found.verdict
        self._causes[step.name] = found.cause or step.name
        return found

    def _lacks(self, needed: str) -> Check:
        """Return a skipped check; its cause is the step that failed first."""
        cause = self._causes.get(needed, needed)
        return dataclasses.replace(
            skip("step-failed", f"requires the step {needed!r}"), cause=cause
        )

    def _look(self, step: Step) -> Check:
        from rex.attach.links.client import Unreachable  # the import is slow

        try:
            return step.look()
        except Unreachable as failure:
            self._is_unreachable = True
            return self._doctor.unreachable(failure)
        except Error as error:
            if error.kind is Kind.UNSUPPORTED and step.name.endswith("link"):
                return skip(error.code, one_line(error))
            return fail_with(error, *self._doctor.advice(step.name, error))
        except Exception as failure:  # noqa: BLE001 - the other steps run nevertheless
            return fail("unexpected", f"unexpected {type(failure).__name__}: {failure}")

    def _label(self, found: Check, name: str) -> Check:
        """Name the step and the storage; mask secrets, and replace control characters."""
        text = self._show(found.text)
        advice = tuple(self._show(line) for line in found.advice)
        return dataclasses.replace(
            found, step=name, text=text, advice=advice, storage=repr(self._storage)
        )

    def _show(self, text: str) -> str:
        masked = self._doctor.mask(" ".join(map(str.strip, text.splitlines())))
        shown = "".join(char if char.isprintable() else "?" for char in masked)
        return shown if len(shown) <= MAX_TEXT else f"{shown[:MAX_TEXT]}…"

    # Attachments that the diagnosis stores and removes.

    def _reserve(self) -> str:
        """Reserve a handle whose attachment is removed afterwards."""
        handle = self._storage.reserve(NAME)
        self._handles.append(handle)
        return handle

    def _clean_up(self) -> Check | None:
        """Remove all attachments; return a check if some could not be removed."""
        remaining = []
        for handle in self._handles:
            try:
                self._doctor.discard(handle)
            except Exception as failure:  # noqa: BLE001 - remove the others nevertheless
                reason = one_line(failure) if isinstance(failure, Error) else repr(failure)
                with contextlib.suppress(Exception):  # then this is unknown
                    if handle in self._storage:
                        remaining.append((handle, reason))
        self._doctor.leave()
        if not remaining:
            return None
        handles = shlex.join(handle for handle, _ in remaining)
        return fail(
            "not-removed",
            f"attachments of the diagnosis that could not be removed: {len(remaining)} "
            f"({remaining[0][1]})",
            "remove them later:",
            f"$ rex attach rm --no-notify {handles}",
        )

    # Operations.

    def _list(self) -> Check:
        found = next(self._storage.list(), None)
        return ok("the storage has attachments" if found is not None else "no attachments yet")

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
                return ok("an existing attachment is not overwritten")
            raise
        self._storage.remove(self._handle)
        self._storage.put(self._handle, self._content, content_type=CONTENT_TYPE)
        return warn(
            "condition-ignored",
            "the server ignores If-None-Match, so attachments can be overwritten",
            "use a server that supports If-None-Match on PUT; until then, use each link once only",
        )

    def _read(self) -> Check:
        began = time.perf_counter()
        with self._storage.open(self._handle) as stream:
            given = stream.read()
        if given != self._content:
            return fail(
                "other-content", f"the {len(given)} bytes read are not the bytes that were stored"
            )
        return ok(f"{_size(given)} read in {_since(began)}")

    def _read_range(self) -> Check:
        start = len(self._content) // 2
        with self._storage.open(self._handle, start=start) as stream:
            given = stream.read()
        if given != self._content[start:]:
            return fail(
                "range-ignored",
                f"the {len(given)} bytes read from byte {start} are not the bytes that were stored",
                "a proxy in front of the server must pass the header Range on, and not cache",
            )
        return ok(f"read from byte {start}")

    def _info(self) -> Check:
        info = self._storage.info(self._handle)
        digest = hashlib.sha256(self._content).hexdigest()
        if (info.size, info.content_type) != (len(self._content), CONTENT_TYPE):
            return fail(
                "headers-changed",
                f"{info.size} bytes of {info.content_type}, not {len(self._content)} of "
                f"{CONTENT_TYPE}",
                "a proxy in front of the server must not change headers",
            )
        if info.digest != digest:
            return warn(
                "digest-not-kept",
                "the SHA-256 is not recorded, so damage cannot be detected",
                "a proxy in front of the server must pass the headers x-amz-meta-* on",
            )
        return ok("size, content type and SHA-256 are recorded")

    def _remove(self) -> Check:
        self._storage.remove(self._handle)
        if self._handle in self._storage:
            return fail("still-there", "a removed attachment still exists")
        return ok("a removed attachment no longer exists")

    # Links, used as a client without credentials uses them.

    def _lacks_links(self) -> Check | None:
        links, url = self._storage.abilities.links, self._storage.url
        if links is not None and links.is_service and (url or "").startswith("/"):
            return skip("relative-url", "attach_url is a path, without the host of the service")
        unanswered = skip("unreachable", "the server of the links cannot be reached")
        return self._doctor.lacks_links() or (unanswered if self._is_unreachable else None)

    def _lacks_forms(self) -> Check | None:
        links, url = self._storage.abilities.links, self._storage.url
        if links is not None and not links.post_links:
            return skip(
                "no-form-links", "the server has no form uploads, and attach_url is not set"
            )
        if links is not None and links.is_served and (url or "").startswith("/"):
            return skip("relative-url", "attach_url is a path, without the host of the service")
        return None

    def _post_link(self) -> Check:
        if remaining := self._lacks_links() or self._lacks_forms():
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
                f"a form of {len(self._content) + 1} bytes was accepted, but its link allows "
                f"{len(self._content)}",
                "the server ignores content-length-range: give POST links to trusted clients only",
            )
        return ok(f"{_place(link)}: {_size(self._content)} uploaded; one byte more is refused")

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
                "the link worked twice, and the second upload replaced the first",
                "a proxy in front of the server must pass the header If-None-Match on",
            )
        return ok(f"{_place(link)}: {_size(self._content)} uploaded; a second upload is refused")

    def _get_link(self) -> Check:
        if remaining := self._lacks_links():
            return remaining
        link = self._storage.download_link(self._handle)
        answer = self._doctor.client.fetch(link)
        if not answer.ok:
            return self._doctor.explain_refusal("GET", answer)
        if answer.body != self._content:
            return fail("other-content", "the bytes downloaded are not the bytes that were stored")
        if (answer.disposition, answer.filename) != ("attachment", NAME):
            return fail(
                "disposition-ignored",
                "the response lacks Content-Disposition: attachment with the file name",
                "a proxy in front of the server must pass the header Content-Disposition on",
            )
        return ok(f"{_place(link)}: {_size(answer.body)} downloaded")

    def _compare(self, handle: str) -> Check | None:
        """Compare an uploaded attachment, unless the step `read` failed."""
        if self._verdicts.get("read") is Verdict.FAIL:
            return None
        with self._storage.open(handle) as stream:
            if stream.read() == self._content:
                return None
        return fail("other-content", "the bytes stored are not the bytes that were uploaded")

    def _cors(self, origin: str) -> Check:
        """Send the preflight requests of a browser for a page of this origin (Fetch)."""
        if remaining := self._lacks_links():
            return remaining
        if self._verdicts["get link"] is Verdict.FAIL:
            return self._lacks("get link")
        self._storage.cors.make_rule([origin])
        try:
            link = self._storage.download_link(self._handle or self._reserve())
        except Error as error:
            return skip(error.code, one_line(error))
        methods = self._doctor.methods
        missing = [method for method in methods if not self._allows(link, origin, method)]
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
                f"pages of {origin} cannot read the response header ETag, which multipart uploads "
                "need",
                *self._doctor.not_shared(origin),
            )
        return ok(f"pages of {origin} may use the links")

    def _allows(self, link: PresignedLink, origin: str, method: str) -> bool:
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": self._doctor.headers,
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
                or {*self._doctor.headers.split(",")} <= sent
            )
        )


def _words(values: Sequence[str] | None) -> set[str]:
    return {word.strip().lower() for value in values or () for word in value.split(",")}


def _size(content: bytes) -> str:
    return f"{len(content) // 1024} KiB" if len(content) == SIZE else f"{len(content)} bytes"


def _since(began: float) -> str:
    return f"{(time.perf_counter() - began) * 1000:.0f} ms"


def _place(link: PresignedLink) -> str:
    parts = urlsplit(link.url)
    return f"{parts.scheme}://{parts.netloc}"
