"""Links to Azure that are refused: what `explain` says of each, and of no other reason."""

from __future__ import annotations

import base64
import dataclasses
import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.sax.saxutils import escape

import pytest

from attach.azure_storage import azure_storage
from rex.attach.explain import explain
from rex.attach.links.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach.backends.azure.storage import AzureStorage
    from rex.attach.links.client import Answer
    from rex.attach.links.link import PresignedLink
    from rex.attach_demo.azurite import Azurite

OTHER_KEY = base64.b64encode(b"another key of the account").decode()


@pytest.fixture
def azure(azurite: Azurite) -> AzureStorage:
    """Give a storage on Azurite."""
    return azure_storage(
        azurite.container,
        account=azurite.account,
        endpoint=azurite.endpoint,
        key=azurite.key,
        prefix="explained",
    )


def with_key(storage: AzureStorage, key: str) -> AzureStorage:
    """Open the same place with another key."""
    config = dataclasses.replace(storage._container.config, key=key)
    return type(storage)(config)


def stored(storage: AzureStorage) -> PresignedLink:
    """Give a download link that works."""
    return storage.download_link(storage.add("a b.txt", b"data"))


class Broken(NamedTuple):
    """A link that is refused."""

    make: Callable[[AzureStorage], str]
    code: str
    method: str = "GET"
    headers: dict[str, str] | None = None
    later: float = 0
    """How many seconds later the link is used."""
    subject: str = ""


def changed(old: str, new: str) -> Callable[[AzureStorage], str]:
    """Replace a part of a download link."""

    def make(storage: AzureStorage) -> str:
        url = stored(storage).url
        assert old in url
        return url.replace(old, new)

    return make


def without(name: str) -> Callable[[AzureStorage], str]:
    """Remove a parameter of a download link."""

    def make(storage: AzureStorage) -> str:
        path, _, query = stored(storage).url.partition("?")
        return f"{path}?{'&'.join(p for p in query.split('&') if not p.startswith(f'{name}='))}"

    return make


def used_up(storage: AzureStorage) -> str:
    """Give an upload link whose attachment exists."""
    return storage.upload_link(storage.add("a.txt", b"data"), method="PUT").url


def encoded_twice(storage: AzureStorage) -> str:
    """Encode the query of a link again."""
    path, _, query = stored(storage).url.partition("?")
    return f"{path}?{query.replace('%', '%25')}"


PUT_HEADERS = {"x-ms-blob-type": "BlockBlob"}

BROKEN = {
    "expired": Broken(lambda s: stored(s).url, "link-expired", later=8 * 24 * 3600),
    "cut off by a shell": Broken(lambda s: stored(s).url.partition("&sr=")[0], "incomplete"),
    "cut off at its end": Broken(lambda s: stored(s).url[:-9], "cut-off"),
    "without a signature": Broken(without("sig"), "incomplete"),
    "unsigned": Broken(lambda s: stored(s).url.partition("?")[0], "unsigned"),
    "of another name": Broken(changed("rsct=text/plain", "rsct=text/html"), "signature-mismatch"),
    "with a longer life": Broken(changed("&sp=r&", "&sp=racwd&"), "parameter-changed"),
    "without its disposition": Broken(without("rscd"), "signature-mismatch"),
    "for another blob": Broken(changed("a%20b.txt", "b.txt"), "signature-mismatch"),
    "signed with another key": Broken(
        lambda s: with_key(s, OTHER_KEY).download_link(s.add("a.txt", b"data")).url,
        "signature-mismatch",
    ),
    "encoded twice": Broken(encoded_twice, "encoded-twice"),
    "in HTML": Broken(lambda s: stored(s).url.replace("&", "&amp;"), "from-html"),
    "for uploading, used to download": Broken(
        lambda s: s.upload_link(s.add("a.txt", b""), method="PUT").url, "wrong-method"
    ),
    "for downloading, used to upload": Broken(
        lambda s: stored(s).url, "wrong-method", "PUT", PUT_HEADERS
    ),
    "used up": Broken(used_up, "exists", "PUT", PUT_HEADERS),
    "without the header of Azure": Broken(
        lambda s: s.upload_link(s.reserve("a.txt"), method="PUT").url,
        "header-missing",
        "PUT",
        {},
        subject="x-ms-blob-type",
    ),
    "of nothing": Broken(lambda s: s.download_link(s.reserve("a.txt")).url, "not-found"),
    "in a missing container": Broken(
        lambda s: (
            azure_storage(
                "missing", account=s.account, endpoint=s.endpoint, key=s._container.config.key
            )
            .download_link(s.reserve("a.txt"))
            .url
        ),
        "no-container",
    ),
    "to another account": Broken(
        lambda s: stored(s).url.replace(f"/{s.account}/", "/other/"), "other-account"
    ),
    "to another host": Broken(
        lambda s: "http://other.example/" + stored(s).url.split("/", 3)[3], "other-host"
    ),
}


def text_of(answer: Answer) -> bytes:
    """Give a response as a client saves it."""
    head = "".join(f"{name}: {value}\n" for name, value in answer.headers.items())
    return f"HTTP/1.1 {answer.status} -\n{head}\n".encode() + answer.body


@pytest.mark.parametrize("name", BROKEN)
def test_the_reason_is_named(name: str, azure: AzureStorage) -> None:
    """Also before any response, if the link shows it; nothing secret is shown."""
    broken = BROKEN[name]
    url = broken.make(azure)
    given: dict[str, Any] = {"method": broken.method, "headers": broken.headers}
    response = None
    if not broken.later and url.startswith(azure.endpoint):
        body = b"new" if broken.method == "PUT" else None
        sent = {"Content-Type": "text/plain", **(broken.headers or {})}
        answer = Client().send(broken.method, url, sent, body)
        assert answer.refused, answer
        response = text_of(answer)
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=broken.later)
    found = explain(url, response=response, storage=azure, now=now, **given)
    codes = [reason.code for reason in found.reasons]
    assert broken.code in codes[:2], found.reasons
    (reason,) = (each for each in found.reasons if each.code == broken.code)
    assert broken.subject in reason.subject
    shown = "\n".join(f"{each.reason} {each.evidence} {each.change}" for each in found.reasons)
    assert "attach_s3" not in shown
    for part in url.partition("?")[2].split("&"):
        if part.startswith("sig="):
            assert part[4:20] not in shown


def test_a_link_that_works_has_no_reasons(azure: AzureStorage) -> None:
    """And its signature is right."""
    for link in (stored(azure), azure.upload_link(azure.reserve("ä b+c.txt"), method="PUT")):
        found = explain(link.url, storage=azure, method=link.method)
        assert [] == found.reasons
        assert "the signature, with the account key of the settings" in found.checked


def test_the_text_that_azure_signed_is_compared(azure: AzureStorage) -> None:
    """Azure, unlike Azurite, sends it."""
    from rex.attach.links.sas import string_to_sign
    from rex.attach.links.signed_link import SignedLink

    url = stored(azure).url
    link = SignedLink(url)
    place = f"/blob/{azure.account}/container/a.txt"
    fields = {name: link[name] for name in ("sp", "se", "sv", "sr", "rscc", "rscd", "rsce", "rsct")}
    for change, code in ((None, "wrong-account-key"), ("rscd", "parameter-rewritten")):
        signed = string_to_sign(place, {**fields, **({change: "x"} if change else {})})
        detail = f"Signature did not match. String to sign used was {escape(signed)}"
        body = (
            "<Error><Code>AuthenticationFailed</Code><Message>Server failed</Message>"
            f"<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail></Error>"
        )
        response = f"HTTP/1.1 403 -\n\n{body}".encode()
        assert code in [reason.code for reason in explain(url, response=response).reasons]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AuthorizationProtocolMismatch", "https-only"),
        ("AuthorizationSourceIPMismatch", "other-client"),
        ("AuthorizationPermissionMismatch", "no-permission"),
        ("KeyBasedAuthenticationNotPermitted", "keys-disabled"),
        ("UnauthorizedBlobOverwrite", "exists"),
        ("RequestBodyTooLarge", "too-large"),
        ("Md5Mismatch", "digest-mismatch"),
        ("ContainerNotFound", "no-container"),
        ("BlobNotFound", "not-found"),
    ],
)
def test_codes_of_azure_have_a_meaning(azure: AzureStorage, code: str, expected: str) -> None:
    """Those that Azurite never sends too."""
    body = f"<Error><Code>{code}</Code><Message>Why</Message></Error>"
    response = f"HTTP/1.1 403 -\n\n{body}".encode()
    found = explain(stored(azure).url, response=response, storage=azure)
    assert [expected] == [reason.code for reason in found.reasons]
