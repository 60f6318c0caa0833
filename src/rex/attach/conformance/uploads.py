"""Promises on upload links: what a client may upload, and how it is stored."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from rex.attach.conformance.client import fetch, put, upload
from rex.attach.conformance.expectations import expect, expect_content, expect_error, expect_true
from rex.attach.conformance.promise import link_promise
from rex.attach.conformance.samples import MIB, sample
from rex.core import Kind

if TYPE_CHECKING:
    from rex.attach.conformance.client import Answer
    from rex.attach.conformance.harness import Harness
    from rex.attach.storage import Storage

NAMES = ("中文 file.txt", "עברית.txt", "a+b & c=d;e%41#f.txt", "it's {0} $(id).txt")
TYPES = ((None, "text/plain"), ("image/png", "image/png"))


@link_promise(supported=True, needs="limits_put")
def a_put_link_keeps_to_its_limit(harness: Harness) -> None:
    """A PUT with up to `max_size` bytes is stored; a byte more, or another limit, is refused."""
    with harness.storage() as storage:
        for max_size in (10, 0, MIB):
            handle = storage.reserve("a.bin")
            link = storage.upload_link(handle, method="PUT", max_size=max_size)
            answer = put(link, bytes(max_size + 1))
            _expect_refused(storage, handle, "an upload over the limit", answer)
            raised = {
                name: value.replace(str(max_size), str(max_size + 1)) if "range" in name else value
                for name, value in link.headers.items()
            }
            answer = put(dataclasses.replace(link, headers=raised), bytes(max_size + 1))
            _expect_refused(storage, handle, "an upload with another limit", answer)
            expect_true("an upload at the limit is accepted", put(link, sample(max_size)).ok)
            expect_content(storage, handle, sample(max_size))
    with harness.storage(max_size=10) as limited:
        handle = limited.reserve("a.bin")
        link = limited.upload_link(handle, method="PUT")
        _expect_refused(limited, handle, "an upload over the storage's limit", put(link, bytes(11)))


@link_promise(supported=True, needs="not limits_put")
def a_put_link_does_not_promise_a_limit(harness: Harness) -> None:
    """A PUT link with a size limit, its own or that of the storage, is `UNSUPPORTED`."""
    with harness.storage() as storage:
        handle = storage.reserve("a.txt")
        expect_error(
            Kind.UNSUPPORTED, "max_size", storage.upload_link, handle, method="PUT", max_size=10
        )
    with harness.storage(max_size=10) as limited:
        what = "PUT link under a limit"
        expect_error(Kind.UNSUPPORTED, what, limited.upload_link, handle, method="PUT")


@link_promise(supported=True, needs="post_links")
def a_form_upload_becomes_the_attachment(harness: Harness) -> None:
    """An upload with a POST link becomes an attachment, as with `add`."""
    with harness.storage() as storage:
        for size in (0, 1, 9 * MIB):
            data = sample(size)
            handle = storage.reserve("scan.png")
            answer = upload(storage.upload_link(handle), data)
            expect("status of the upload", 204, answer.status)
            expect("content type", "image/png", storage.info(handle).content_type)
            expect("size", size, storage.stat(handle).st_size)
            expect_content(storage, handle, data)


@link_promise(supported=True, needs="post_links")
def a_form_upload_under_any_name_works(harness: Harness) -> None:
    """Forms and download links work for names in any script and with any character."""
    with harness.storage() as storage:
        for name in NAMES:
            handle = storage.reserve(name)
            expect("status of POST", 204, upload(storage.upload_link(handle), b"form").status)
            expect_content(storage, handle, b"form")
            _expect_download(storage, handle, name, b"form")


@link_promise(supported=True)
def a_put_link_under_any_name_works(harness: Harness) -> None:
    """PUT and download links work for names in any script and with any character."""
    with harness.storage() as storage:
        for name in NAMES:
            handle = storage.reserve(name)
            link = storage.upload_link(handle, method="PUT")
            expect_true("PUT is accepted", put(link, b"body").ok)
            expect_content(storage, handle, b"body")
            _expect_download(storage, handle, name, b"body")


def _expect_download(storage: Storage, handle: str, name: str, content: bytes) -> None:
    answer = fetch(storage.download_link(handle))
    expect("download", (200, content), (answer.status, answer.body))
    expect(f"name of {name} in the download", name, answer.filename)


@link_promise(supported=True, needs="post_links")
def a_form_upload_keeps_to_its_limit(harness: Harness) -> None:
    """A form upload of up to `max_size` bytes is stored; one byte more is refused."""
    with harness.storage() as storage:
        for max_size in (10, 0, MIB):
            handle = storage.reserve("a.bin")
            link = storage.upload_link(handle, max_size=max_size)
            _expect_refused(
                storage, handle, "an upload over the limit", upload(link, bytes(max_size + 1))
            )
            expect("status of an upload at the limit", 204, upload(link, sample(max_size)).status)
            expect_content(storage, handle, sample(max_size))


@link_promise(supported=True, needs="post_links")
def the_limit_of_the_storage_holds_for_links(harness: Harness) -> None:
    """A link allows no more bytes than the storage, regardless of `max_size`."""
    with harness.storage(max_size=10) as storage:
        for max_size in (None, 1000):
            handle = storage.reserve("a.bin")
            link = storage.upload_link(handle, max_size=max_size)
            _expect_refused(storage, handle, "an upload over the limit", upload(link, bytes(11)))
            expect("status of an upload at the limit", 204, upload(link, bytes(10)).status)
        handle = storage.reserve("a.bin")
        link = storage.upload_link(handle, max_size=5)
        _expect_refused(storage, handle, "an upload over its own limit", upload(link, bytes(6)))


@link_promise(supported=True, needs="post_links")
def every_field_of_a_form_is_pinned(harness: Harness) -> None:
    """A form with a changed or missing field is refused, and nothing is stored."""
    with harness.storage() as storage:
        handle = storage.reserve("a.txt")
        link = storage.upload_link(handle)
        for name, value in link.fields.items():
            changed = {**link.fields, name: f"{value}x"}
            answer = upload(dataclasses.replace(link, fields=changed), b"data")
            _expect_refused(storage, handle, f"a form with a different {name}", answer)
            less = {other: field for other, field in link.fields.items() if other != name}
            answer = upload(dataclasses.replace(link, fields=less), b"data")
            _expect_refused(storage, handle, f"a form without {name}", answer)
        expect("attachments stored", [], list(storage))
        expect("status of the unchanged form", 204, upload(link, b"data").status)


@link_promise(supported=True, needs="post_links")
def a_form_takes_no_other_fields(harness: Harness) -> None:
    """A form with an added field that would change content, headers or response is refused."""
    with harness.storage() as storage:
        handle = storage.reserve("a.txt")
        link = storage.upload_link(handle)
        for name, value in (
            ("Cache-Control", "public"),
            ("Content-Encoding", "gzip"),
            ("Expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
            ("acl", "public-read"),
            ("success_action_redirect", "https://example.com/"),
        ):
            answer = upload(dataclasses.replace(link, fields={**link.fields, name: value}), b"data")
            _expect_refused(storage, handle, f"a form with {name} added", answer)
        expect("status of the unchanged form", 204, upload(link, b"data").status)


@link_promise(supported=True, needs="post_links")
def the_content_type_of_a_form_is_pinned(harness: Harness) -> None:
    """A form must have the content type of the link, given or by the name."""
    with harness.storage() as storage:
        for given, expected in TYPES:
            handle = storage.reserve("a.txt")
            form = storage.upload_link(handle, content_type=given)
            fields = {**form.fields, "Content-Type": "text/html"}
            answer = upload(dataclasses.replace(form, fields=fields), b"data")
            _expect_refused(storage, handle, "a form with a different type", answer)
            expect("status of the form", 204, upload(form, b"data").status)
            expect("content type", expected, storage.info(handle).content_type)


@link_promise(supported=True, needs="pins_type")
def the_content_type_of_an_upload_is_pinned(harness: Harness) -> None:
    """A client must send the content type of a PUT link, given or by the name."""
    with harness.storage() as storage:
        for given, expected in TYPES:
            handle = storage.reserve("a.txt")
            link = storage.upload_link(handle, method="PUT", content_type=given)
            headers = {**link.headers, "Content-Type": "text/html"}
            answer = put(dataclasses.replace(link, headers=headers), b"data")
            _expect_refused(storage, handle, "a PUT with a different type", answer)
            expect_true("PUT with the type is accepted", put(link, b"data").ok)
            expect("content type", expected, storage.info(handle).content_type)


@link_promise(supported=True, needs="not pins_type")
def what_a_client_calls_its_upload_is_not_believed(harness: Harness) -> None:
    """Where a client can choose the type, a download link has that of the name, and no coding."""
    with harness.storage() as storage:
        for inline in (False, True):
            handle = storage.reserve("a.png")
            link = storage.upload_link(handle, method="PUT")
            headers = {
                name: "text/html" if "type" in name.lower() else value
                for name, value in link.headers.items()
            }
            headers |= {name: value for name, value in link.headers.items() if "blob-type" in name}
            put(dataclasses.replace(link, headers=headers), b"<script>")
            answer = fetch(storage.download_link(handle, inline=inline))
            expect("content type", "image/png", answer.headers.get("Content-Type"))
            coding = answer.headers.get("Content-Encoding")
            expect_true(f"there is no coding: {coding}", coding in (None, "identity"))


@link_promise(supported=True, needs="not post_links")
def a_form_link_that_cannot_be_made_is_refused(harness: Harness) -> None:
    """A storage without form links says so, and what would make them possible."""
    with harness.storage() as storage:
        handle = storage.reserve("a.txt")
        error = expect_error(Kind.UNSUPPORTED, "upload_link", storage.upload_link, handle)
        expect_true("the error has an explanation", error.payload)


@link_promise(supported=True, needs="post_links")
def a_form_in_a_coding_is_refused(harness: Harness) -> None:
    """A form with a content coding, which not every client decodes, is refused."""
    with harness.storage() as storage:
        handle = storage.reserve("a.txt")
        form = storage.upload_link(handle)
        fields = {**form.fields, "Content-Encoding": "gzip"}
        answer = upload(dataclasses.replace(form, fields=fields), b"data")
        _expect_refused(storage, handle, "a form in a coding", answer)
        expect("status without one", 204, upload(form, b"data").status)
        _expect_no_coding(storage, handle)


@link_promise(supported=True, needs="pins_type")
def an_upload_in_a_coding_is_refused(harness: Harness) -> None:
    """A PUT with a content coding, which not every client decodes, is refused."""
    with harness.storage() as storage:
        handle = storage.reserve("a.txt")
        link = storage.upload_link(handle, method="PUT")
        headers = {**link.headers, "Content-Encoding": "gzip"}
        answer = put(dataclasses.replace(link, headers=headers), b"data")
        _expect_refused(storage, handle, "a PUT in a coding", answer)
        expect_true("PUT without one is accepted", put(link, b"data").ok)
        _expect_no_coding(storage, handle)


def _expect_no_coding(storage: Storage, handle: str) -> None:
    expect("coding in info", None, storage.info(handle).content_encoding)
    told = fetch(storage.download_link(handle)).headers.get("Content-Encoding")
    expect_true(f"the download has no coding: {told}", told in (None, "identity"))


@link_promise(supported=True)
def a_put_link_works_once(harness: Harness) -> None:
    """The first upload with a PUT link is stored; the second is refused."""
    with harness.storage() as storage:
        for size in (0, 9 * MIB):
            handle = storage.reserve("a.txt")
            link = storage.upload_link(handle, method="PUT")
            expect_true("the first is accepted", put(link, sample(size)).ok)
            expect_true("the second is refused", put(link, b"another").refused)
            expect_content(storage, handle, sample(size))


@link_promise(supported=True)
def a_put_link_does_not_overwrite(harness: Harness) -> None:
    """A PUT link does not overwrite an existing attachment."""
    with harness.storage() as storage:
        handle = storage.add("a.txt", b"first")
        answer = put(storage.upload_link(handle, method="PUT"), b"second")
        expect_true("the upload is refused", answer.refused)
        expect_content(storage, handle, b"first")


@link_promise(supported=True, needs="pins_type")
def a_put_link_needs_its_headers(harness: Harness) -> None:
    """A PUT with a missing or changed header is refused."""
    with harness.storage() as storage:
        handle = storage.reserve("a.txt")
        link = storage.upload_link(handle, method="PUT")
        for name, value in link.headers.items():
            less = {other: header for other, header in link.headers.items() if other != name}
            for headers in (less, {**link.headers, name: f"{value}x"}):
                answer = put(dataclasses.replace(link, headers=headers), b"data")
                _expect_refused(storage, handle, f"a PUT without its {name}", answer)


def _expect_refused(storage: Storage, handle: str, what: str, answer: Answer) -> None:
    expect_true(f"{what} is refused (status {answer.status})", answer.refused)
    expect_error(Kind.NOT_FOUND, f"info after {what}", storage.info, handle)
