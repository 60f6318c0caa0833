"""An upload that a user has begun takes no other user, at any door and whatever users are."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from starlette.authentication import SimpleUser, UnauthenticatedUser

from attach.web.test_companion import FILE, every
from attach.web.test_sign import begun
from attach.web.tus_client import Client
from attach.web.uploaders import ANYBODY, Page
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.owner import identity_of
from rex.attach.web import Access
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach import Storage
    from rex.attach.backends.s3.storage import S3Storage


class Row:
    """A row of a table of users, as an ORM gives it."""

    def __init__(self, pk: int) -> None:
        self.pk = pk
        self.username = "same"


@dataclasses.dataclass
class Claims:
    """What a token says of a user."""

    sub: str
    roles: list[str] = dataclasses.field(default_factory=list)


class Numbered(NamedTuple):
    """A user that is a tuple."""

    id: int
    username: str = "same"


USERS: dict[str, tuple[Any, Any]] = {
    "texts": ("ann", "bob"),
    "numbers": (1, 2),
    "UUIDs": (uuid.UUID(int=1), uuid.UUID(int=2)),
    "objects": (Row(1), Row(2)),
    "dictionaries": ({"id": 1, "name": "same"}, {"id": 2, "name": "same"}),
    "claims in a dictionary": ({"sub": "ann", "aud": "a"}, {"sub": "bob", "aud": "a"}),
    "dataclasses": (Claims("ann"), Claims("bob")),
    "tuples": (Numbered(1), Numbered(2)),
    "users of Starlette": (SimpleUser("ann"), SimpleUser("bob")),
    "a user and a visitor": ("ann", None),
    "a user and a visitor of Starlette": (SimpleUser("ann"), UnauthenticatedUser()),
}
"""Two users, of whom the first begins the upload."""

ALIKE: list[Any] = [
    object(),
    {},
    {"name": "ann"},
    {"id": None},
    {"id": True},
    "",
    True,
    ("ann",),
    dataclasses.make_dataclass("User", ["name"])("ann"),
]
"""Users of whom one cannot be told from another."""


class UserClient(Client):
    """A tus client of a user."""

    def __init__(self, storage: Storage, user: object, access: Access = ANYBODY) -> None:
        super().__init__(storage, access)
        app = self.app

        async def of_user(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "user": user}, receive, send)

        self.app = of_user


@pytest.mark.parametrize("kind", USERS)
def test_an_upload_by_tus_is_its_owners_alone(kind: str, storage: Storage) -> None:
    """Ask, append, end, join: before it is complete and afterwards."""
    owner, other = (UserClient(storage, user) for user in USERS[kind])
    path, part = owner.create(6), owner.create(3, Upload_Concat="partial")
    assert 204 == owner.patch(path, 0, b"abc").status_code
    assert 204 == owner.patch(part, 0, b"xyz").status_code

    def refused() -> set[int]:
        joined = {"Upload-Concat": f"final;{part}"}
        return {
            other.patch(path, 3, b"def").status_code,
            other.ask("HEAD", path).status_code,
            other.ask("DELETE", path).status_code,
            other.ask("DELETE", part).status_code,
            other.ask("POST", headers=joined).status_code,
            other.ask("POST", path, headers={"X-HTTP-Method-Override": "DELETE"}).status_code,
        }

    assert {403} == refused()
    assert (3, 3) == (owner.offset(path), owner.offset(part))
    assert 204 == owner.patch(path, 3, b"def").status_code
    assert {403} == refused()
    assert (b"abcdef", 3) == (owner.read(path), owner.offset(part))
    assert b"xyz" == owner.read(owner.join(part))
    assert 204 == owner.ask("DELETE", path).status_code


@pytest.mark.parametrize("kind", USERS)
def test_an_upload_in_parts_is_its_owners_alone(kind: str, s3: S3Storage) -> None:
    """At the doors of Companion and of `sign`: list, sign, complete, end."""
    owner, other = (Page(s3, user) for user in USERS[kind])
    upload = owner.json("POST", "/s3/multipart", json=FILE)
    assert {403} == every(other, upload)
    signed = begun(owner)
    s3_id = s3.multipart.create(upload["handle"])
    for key, upload_id in ((signed["key"], signed["uploadId"]), (upload["key"], s3_id)):
        for method in ("GET", "PUT", "POST", "DELETE"):
            wanted = {"method": method, "key": key, "uploadId": upload_id, "partNumber": 1}
            assert 403 == other.ask("POST", "/sign", json=wanted).status_code
            assert 200 == owner.ask("POST", "/sign", json=wanted).status_code
    for handle in (upload["handle"], s3.handle_of_key(signed["key"])):
        for found in [*s3._bucket.control.list_multiparts(s3.key_of_handle(handle))]:
            s3.multipart.abort(handle, found)


@pytest.mark.parametrize("user", ALIKE, ids=map(str, range(len(ALIKE))))
def test_users_who_cannot_be_told_apart_upload_nothing(
    user: object, s3: S3Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """They are refused where an upload begins, and the log says what a user needs."""
    client, page = UserClient(MemoryStorage(), user), Page(s3, user)
    answers = [
        client.ask("POST", headers={"Upload-Length": "3"}),
        page.ask("POST", "/s3/multipart", json=FILE),
        page.ask("GET", "/s3/params?filename=a"),
        page.ask("POST", "/sign", json={"method": "PUT", "key": "a"}),
    ]
    assert {403} == {answer.status_code for answer in answers}
    assert [] == [*client.storage.uploads.list()]
    assert len(answers) == caplog.text.count("username")


def test_each_user_has_another_text() -> None:
    """And a visitor has none."""
    users = [
        *("ann", "1", 1, "2", uuid.UUID(int=1), "name:1", "id:1", "pk:1"),
        *({"id": 1}, {"id": "1"}, {"pk": 1}, {"sub": "1"}, Row(1), Row(2), Numbered(1)),
        *(SimpleUser("ann"), SimpleUser("id:1")),
    ]
    owners = [owner_of(user) for user in users]
    # Two ways to say the same: a dictionary and an object.
    assert len(users) - 2 == len({*owners})
    assert [None, None] == [owner_of(None), owner_of(UnauthenticatedUser())]


def owner_of(user: object) -> str | None:
    """Return the text for a user."""
    request: Any = httpx.Request("GET", "http://here")
    request.scope = {"user": user}
    owner = ANYBODY.owner(request)
    return None if owner is None else identity_of(owner)


def test_an_upload_without_an_owner_takes_whom_the_rule_lets_pass() -> None:
    """As one that the application has begun, or a visitor who logs in meanwhile."""
    storage = MemoryStorage()
    path = f"/tus{storage.uploads.create('a', size=6).handle}"
    assert 204 == UserClient(storage, "ann").patch(path, 0, b"abc").status_code
    assert 204 == UserClient(storage, None).patch(path, 3, b"def").status_code


def test_the_rule_sees_the_new_handle(s3: S3Storage) -> None:
    """Before an upload begins and once more when its handle is known: then nothing is left."""
    asked: list[tuple[str, str | None]] = []

    def rule(_: object, action: str, handle: str | None) -> bool:
        asked.append((action, handle))
        return handle is None

    access = Access(rule)
    client, page = UserClient(s3, "ann", access), Page(s3, "ann", access)
    begin = {"Upload-Length": "3", "Content-Type": "application/offset+octet-stream"}
    requests: list[tuple[str, Any]] = [
        ("upload", lambda: client.ask("POST", headers={"Upload-Length": "3"})),
        ("upload", lambda: client.ask("POST", headers=begin, content=b"abc")),
        ("upload", lambda: client.ask("POST", headers={"Upload-Length": "0"})),
        ("upload", lambda: page.ask("POST", "/?name=a", content=b"abc")),
        ("upload", lambda: page.ask("POST", "/", files={"file": ("a", b"abc")})),
        ("link", lambda: page.ask("POST", "/links", json={"name": "a"})),
        ("link", lambda: page.ask("GET", "/s3/params?filename=a")),
        ("link", lambda: page.ask("POST", "/s3/multipart", json=FILE)),
        ("link", lambda: page.ask("POST", "/sign", json={"method": "PUT", "key": "a"})),
        ("link", lambda: page.ask("POST", "/sign", json={"method": "POST", "key": "a"})),
    ]
    for action, request in requests:
        asked.clear()
        assert 403 == request().status_code
        (first, none), (second, handle) = asked
        assert (action, None, action) == (first, none, second)
        assert handle is not None
        assert handle not in s3
    assert ([], []) == ([*s3], [*s3.uploads.list()])
    assert [] == [*s3._bucket.control.list_uploads(s3.prefix)]


@pytest.mark.parametrize("kind", ["texts", "dictionaries"])
def test_a_user_has_a_number_of_unfinished_uploads(kind: str, storage: Storage) -> None:
    """One more is refused, until one ends; other users and visitors have their own number."""
    storage.max_uploads = 2
    ann, bob = (UserClient(storage, user) for user in USERS[kind])
    path, _ = (ann.create(3) for _ in range(2))
    refused = ann.ask("POST", headers={"Upload-Length": "3"})
    assert (423, "busy") == (refused.status_code, refused.json()["kind"])
    assert "at most 2" in refused.json()["detail"]
    bob.create(3)
    for _ in range(3):
        UserClient(storage, None).create(3)
    assert 204 == ann.patch(path, 0, b"abc").status_code
    assert ann.create(3)


def test_a_storage_without_a_secret_takes_visitors_only() -> None:
    """What it lacks is said, to the operator."""

    class Secretless(MemoryStorage):
        def _own_secret(self) -> bytes:
            raise Error("no secret", "attach_secret", kind=Kind.UNSUPPORTED)

    storage = Secretless()
    assert 422 == UserClient(storage, "ann").ask("POST", headers={"Upload-Length": "3"}).status_code
    assert asyncio.run(storage.aio.reserve("a"))
    assert UserClient(storage, None).create(3)
