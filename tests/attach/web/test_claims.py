"""A client may claim its own upload, within the limit of its receipt, and nothing else."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from attach.web.doors import CONTENT, EVERY_DOOR, KINDS, LINKS, Sender, StoppedError
from attach.web.uploaders import Page
from rex.attach import open_storage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.storage.hooks import Hooks
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from attach.web.doors import Door
    from rex.attach import Storage, StoredUpload, UploadRequest

DAY = 24 * 3600
SECRET = "the secret of two storages of one application"


class Row:
    """A user as an ORM has it."""

    def __init__(self, number: int) -> None:
        self.id = number


USERS: list[tuple[Any, Any]] = [
    ("ann", "bob"),
    (1, 2),
    (Row(1), Row(2)),
    ({"sub": "ann", "aud": "x"}, {"sub": "bob", "aud": "x"}),
]
"""Users, each with another one."""


def claim(storage: Storage, user: object, **claimed: Any) -> tuple[int, Any]:
    """Claim over HTTP; return the status and the JSON."""
    answer = Page(storage, user).ask("POST", "/claim", json=claimed)
    return answer.status_code, answer.json()


def told(storage: Storage) -> list[tuple[str, object]]:
    """Return the list of what the application is told from now on."""
    calls: list[tuple[str, object]] = []
    storage.hooks = Hooks(on_stored=lambda upload: calls.append((upload.handle, upload.owner)))
    return calls


# What comes in at each door belongs to its user.


@EVERY_DOOR
def test_an_upload_belongs_to_the_user_who_uploaded(door: Door, storage: Storage) -> None:
    """The user may claim its handle again and again; another user and a visitor may not."""
    for user, other in USERS:
        handle = door(Sender(storage, user))
        assert (True, False) == tuple(storage.is_owned_by(handle, each) for each in (user, other))
        status, claimed = claim(storage, user, handle=handle)
        assert (200, handle, len(CONTENT)) == (status, claimed["handle"], claimed["size"])
        assert (200, claimed) == claim(storage, user, handle=handle)
        for stranger in (other, None):
            status, problem = claim(storage, stranger, handle=handle)
            assert (403, "not-owner") == (status, problem["type"])


@pytest.mark.parametrize("door", LINKS.values(), ids=LINKS)
def test_the_receipt_of_a_link_is_for_its_user(door: Door, storage: Storage) -> None:
    """Once the bytes are there; the same receipt gets the same answer."""
    for user, other in USERS:
        sender = Sender(storage, user)
        handle = door(sender)
        calls = told(storage)
        status, claimed = claim(storage, user, receipt=sender.receipt)
        assert (200, handle, len(CONTENT)) == (status, claimed["handle"], claimed["size"])
        assert (200, claimed) == claim(storage, user, receipt=sender.receipt)
        assert [(handle, user)] * 2 == calls
        for stranger in (other, None):
            status, problem = claim(storage, stranger, receipt=sender.receipt)
            assert (403, "not-owner") == (status, problem["type"])
        assert 2 == len(calls)


def test_the_receipt_of_a_visitor_is_for_every_client_that_has_it(storage: Storage) -> None:
    """But a handle alone is not."""
    sender = Sender(storage)
    handle = LINKS["a POST link"](sender)
    for user in (None, "ann"):
        assert 200 == claim(storage, user, receipt=sender.receipt)[0]
        assert (403, "not-owner") == _refused(claim(storage, user, handle=handle))


# What is refused.


class Refused(NamedTuple):
    """Something that ann claims in vain."""

    make: Callable[[Storage, pytest.MonkeyPatch], object]
    kind: Kind
    code: str
    status: int


def receipt(storage: Storage, owner: object = "ann", **options: Any) -> str:
    """Return a receipt of an attachment that is there."""
    return storage.receipt(storage.add("a", b"abcd", owner=owner), owner=owner, **options)


def expired(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a receipt one second after its end."""
    made = receipt(storage, expires=10)
    later = time.time() + 10 + storage.upload_expires + 1
    monkeypatch.setattr(time, "time", lambda: later)
    return made


def of_another_storage(storage: Storage, _: object) -> str:
    """Return a receipt that this storage could have signed, of bytes that are elsewhere."""
    storage.__dict__.pop("tokens", None)
    storage._secret = other_secret = MemoryStorage(secret=SECRET)._secret
    return receipt(MemoryStorage(secret=other_secret))


def without_bytes(storage: Storage, _: object) -> str:
    """Return a receipt of what is never uploaded."""
    return storage.receipt(storage.reserve("a", owner="ann"), owner="ann")


REFUSED = {
    "another user's handle": Refused(
        lambda storage, _: storage.add("a", b"abcd", owner="bob"), Kind.DENIED, "not-owner", 403
    ),
    "another user's receipt": Refused(
        lambda storage, _: receipt(storage, "bob"), Kind.DENIED, "not-owner", 403
    ),
    "a receipt without owner of another user's handle": Refused(
        lambda storage, _: storage.receipt(storage.add("a", b"abcd", owner="bob")),
        Kind.DENIED,
        "not-owner",
        403,
    ),
    "a handle without an owner": Refused(
        lambda storage, _: storage.add("a", b"abcd"), Kind.DENIED, "not-owner", 403
    ),
    "an expired receipt": Refused(expired, Kind.DENIED, "receipt-expired", 403),
    "a receipt of another application": Refused(
        lambda *_: receipt(MemoryStorage(secret="another application's secret")),
        Kind.DENIED,
        "bad-signature",
        403,
    ),
    "a receipt of another storage": Refused(of_another_storage, Kind.NOT_FOUND, "not-found", 404),
    "a receipt without bytes": Refused(without_bytes, Kind.NOT_FOUND, "not-found", 404),
    "a handle without bytes": Refused(
        lambda storage, _: storage.reserve("a", owner="ann"), Kind.NOT_FOUND, "not-found", 404
    ),
    "too many bytes": Refused(
        lambda storage, _: receipt(storage, max_size=3), Kind.TOO_LARGE, "too-large", 413
    ),
    "a token for something else": Refused(
        lambda storage, _: storage.tokens.sign(
            "sign", {"handle": storage.add("a", b"abcd"), "max": None, "owner": None}, expires=2e10
        ),
        Kind.DENIED,
        "bad-signature",
        403,
    ),
    "a changed receipt": Refused(
        lambda storage, _: f"x{receipt(storage)}", Kind.DENIED, "bad-signature", 403
    ),
    "no text": Refused(lambda *_: 5, Kind.ILL_FORMED, "ill-formed", 400),
    "an ill-formed handle": Refused(
        lambda *_: "/../../etc/passwd", Kind.ILL_FORMED, "ill-formed", 400
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_claim_is_refused(what: str, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the operation, by its coroutine and over HTTP alike; the application is told nothing."""
    make, kind, code, status = REFUSED[what]
    claimed: Any = make(storage, monkeypatch)
    there, calls = [*storage], told(storage)
    with pytest.raises(Error) as refused:
        storage.claim(claimed, owner="ann")
    assert (kind, code) == (refused.value.kind, refused.value.code)
    with pytest.raises(Error) as refused:
        asyncio.run(storage.aio.claim(claimed, owner="ann"))
    assert (kind, code) == (refused.value.kind, refused.value.code)
    for field in ("receipt", "handle"):
        answered, problem = claim(storage, "ann", **{field: claimed})
        assert (status, kind.value, code) == (answered, problem["kind"], problem["type"])
    assert (there, []) == ([*storage], calls)


@pytest.mark.parametrize("user", [None, {}, object(), "", True])
def test_a_user_without_an_identity_claims_nothing(user: Any, storage: Storage) -> None:
    """Neither by handle nor by receipt."""
    handle = storage.add("a", b"abcd", owner="ann")
    for claimed in (handle, storage.receipt(handle, owner="ann")):
        with pytest.raises(Error) as refused:
            storage.claim(claimed, owner=user)
        assert refused.value.kind in (Kind.DENIED, Kind.ILL_FORMED)
        assert 403 == claim(storage, user, receipt=claimed)[0]


def test_a_put_link_cannot_limit_but_its_receipt_does(storage: Storage) -> None:
    """Bytes that came by the link are there, and are not given."""
    Sender(storage)  # links need the address of the service
    handle = storage.reserve("a", owner="ann")
    storage.put(handle, b"abcd")
    made = storage.receipt(handle, owner="ann", max_size=3)
    assert (413, "too-large") == _refused(claim(storage, "ann", receipt=made))
    assert handle in storage
    assert 200 == claim(storage, "ann", receipt=storage.receipt(handle, owner="ann", max_size=4))[0]


HOSTILE: list[Any] = [
    {},
    {"receipt": None},
    {"receipt": None, "handle": None},
    {"handle": 5},
    {"handle": []},
    {"handle": {"receipt": "x"}},
    {"receipt": True},
    {"receipt": ""},
    {"receipt": "."},
    {"receipt": "x" * 60000},
    {"receipt": "\ud800.\udfff"},
    {"receipt": "é" * 100},
    {"handle": "/"},
    {"handle": "/\x00"},
    {"handle": "/" + "x" * 60000},
    {"handle": "//2026/11/28/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab/a"},
    {"handle": "/2026/11/28/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab/"},
    {"handle": "/2026/11/28/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab/\ud800"},
    {"handle": "/2026/11/28/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab/../a"},
    {"handle": "/2026/99/99/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab/a"},
    [],
    5,
    None,
    "text",
    [[[[]]]],
]


@pytest.mark.parametrize("user", [None, "ann"])
def test_a_hostile_claim_is_the_clients_fault(user: object, storage: Storage) -> None:
    """Of whatever type, size or shape it is."""
    page = Page(storage, user)
    for hostile in HOSTILE:
        status = page.ask("POST", "/claim", content=json.dumps(hostile)).status_code
        assert status in (400, 403, 413, 422), (status, hostile)
    for content in (b"", b"{", b"\xff", b'{"receipt": NaN}', b"{" * 60000, b'{"a":' * 9000):
        status = page.ask("POST", "/claim", content=content).status_code
        assert status in (400, 403, 413, 422), (status, content[:20])


# What a claim tells the application.


def test_a_claim_tells_the_application_whatever_the_bytes_came_by(storage: Storage) -> None:
    """With the user; the application may refuse, and the attachment stays."""
    handle = storage.add("a", b"abcd", owner="ann")
    seen: list[StoredUpload] = []

    def refuse(upload: StoredUpload) -> None:
        seen.append(upload)
        raise Error("No scans of passports", kind=Kind.REFUSED)

    calls = told(storage)
    assert storage.info(handle) == storage.claim(handle, owner="ann")
    assert [(handle, "ann")] == calls
    storage.hooks = Hooks(on_complete=refuse)
    status, problem = claim(storage, "ann", handle=handle)
    assert (422, "No scans of passports") == (status, problem["detail"])
    assert (handle, "ann") == (seen[0].handle, seen[0].owner)
    assert handle in storage


@pytest.mark.parametrize("harness", KINDS, indirect=True)
@pytest.mark.parametrize("name", LINKS)
def test_the_limit_of_the_application_is_in_the_receipt(name: str, storage: Storage) -> None:
    """Where the link cannot hold it, the claim does; where the link can, nothing is stored."""

    def limit(request: UploadRequest) -> UploadRequest:
        return dataclasses.replace(request, max_size=len(CONTENT) - 1)

    storage.hooks = Hooks(on_begin=limit)
    sender = Sender(storage, "ann")
    with pytest.raises(StoppedError):
        LINKS[name](sender)
    assert [] == [*storage]
    assert sender.receipt is not None
    handle = storage.tokens.read("receipt", sender.receipt)["handle"]
    storage.put(handle, CONTENT, notify=False)
    assert (413, "too-large") == _refused(claim(storage, "ann", receipt=sender.receipt))


def _refused(answer: tuple[int, Any]) -> tuple[int, str]:
    status, problem = answer
    return status, problem["type"]


@pytest.mark.parametrize(("user", "owner"), [("ann", "ann"), ("bob", None), (None, None)])
def test_a_link_tells_the_owner_where_the_request_has_that_user(
    user: str | None, owner: str | None
) -> None:
    """A request with a link needs no user; another user than the owner is none."""
    told: list[object] = []
    with open_storage(
        "memory:", url="http://here", on_stored=lambda upload: told.append(upload.owner)
    ) as storage:
        link = Page(storage, "ann").json("POST", "/sign", json={"method": "PUT", "key": "a.txt"})
        assert 200 == Page(storage, user).ask("PUT", link["url"], content=b"a").status_code
        begun = Page(storage, "ann").ask("POST", "/links", json={"name": "b.txt"}).json()
        asked = begun["link"]
        put = Page(storage, user).ask("PUT", asked["url"], headers=asked["headers"], content=b"b")
        assert 201 == put.status_code
    assert [owner, owner] == told


def test_an_upload_is_claimed_by_its_key_on_the_server(storage: Storage) -> None:
    """Uppy reports only the key."""
    handle = storage.add("a.txt", b"a", owner="ann")
    key = storage.key_of_handle(handle)
    claimed = Page(storage, "ann").json("POST", "/claim", json={"key": key})
    assert handle == claimed["handle"]
    assert 403 == Page(storage, "bob").ask("POST", "/claim", json={"key": key}).status_code
    assert 400 == Page(storage, "ann").ask("POST", "/claim", json={"key": 7}).status_code
