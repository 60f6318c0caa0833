"""A key, as a server knows an attachment, and its handle lead to each other on every storage."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from attach.s3_storage import s3_storage
from rex.attach import Storage, open_storage
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.maintenance import State, sweep, verify
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rex.attach.backends.s3.storage import S3Storage

NAMES = ("a.txt", "Größe 100% + ?.txt", "a&b=c.txt")


def s3_of(prefix: str) -> S3Storage:
    """Make a storage on a server that is never asked."""
    keys = {"access_key": "key", "secret_key": "secret"}
    return s3_storage("bucket", endpoint="http://127.0.0.1:9", prefix=prefix, **keys)


STORAGES: dict[str, Callable[[Path], Storage]] = {
    "memory": lambda _: open_storage("memory:"),
    "directory": lambda path: open_storage(f"file://{path}"),
    "bucket": lambda _: s3_of(""),
    "prefix": lambda _: s3_of("folder/20 %"),
    "moving": lambda _: FallbackStorage(s3_of("new"), open_storage("memory:")),
}
PREFIXES = {"prefix": "folder/20 %/", "moving": "new/"}


@pytest.fixture(params=STORAGES)
def named(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Storage]:
    """Give a storage and its name."""
    return request.param, STORAGES[request.param](tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_key_leads_back_to_its_handle(named: tuple[str, Storage], name: str) -> None:
    """The key is the handle without its first slash, behind the prefix."""
    kind, storage = named
    handle = storage.reserve(name)
    key = storage.key_of_handle(handle)
    assert PREFIXES.get(kind, "") + handle[1:] == key
    assert handle == storage.handle_of_key(key)


def test_what_is_not_the_key_of_an_attachment_is_ill_formed(named: tuple[str, Storage]) -> None:
    """The keys of others, another prefix, a handle."""
    kind, storage = named
    handle = storage.reserve("a b.txt")
    key = storage.key_of_handle(handle)
    wrong: list[Any] = ["", "x", handle, f"x{key}", f"other/{key}", f"{key}/", f"{key}/..", None]
    wrong += [f"{PREFIXES.get(kind, '')}.rex-attach", key.encode()]
    if kind in PREFIXES:
        wrong.append(handle[1:])
    for given in wrong:
        with pytest.raises(Error) as caught:
            storage.handle_of_key(given)
        assert Kind.ILL_FORMED is caught.value.kind
    with pytest.raises(Error) as caught:
        storage.key_of_handle(key)
    assert Kind.ILL_FORMED is caught.value.kind


def test_a_key_is_not_decoded() -> None:
    """A percent sign is a character of the name; who has an encoded key decodes it."""
    with open_storage("memory:") as storage:
        encoded = quote(storage.key_of_handle(storage.reserve("a b.txt")))
        assert encoded.endswith("/a%20b.txt")
        assert f"/{encoded}" == storage.handle_of_key(encoded)


def forms(storage: Storage, handle: str) -> list[str]:
    """Give the ways in which an application may refer to an attachment."""
    return [handle, handle[1:], storage.key_of_handle(handle)]


@pytest.mark.parametrize("form", [0, 1, 2], ids=["handle", "without slash", "key"])
@pytest.mark.parametrize("kind", ["memory", "prefix"])
def test_sweep_keeps_what_is_referred_to_in_any_form(kind: str, form: int, s3: S3Storage) -> None:
    """A handle, the handle without its first slash as Django has it, or the key on the server."""
    assert s3.prefix
    with open_storage("memory:") if kind == "memory" else s3 as storage:
        kept, orphan = [storage.add("a b.txt", b"x") for _ in range(2)]
        later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
        referenced = [forms(storage, kept)[form]]
        found = sweep(storage, referenced=referenced, now=later, delete=True)
        assert [orphan] == [one.handle for one in found]
        assert [kept] == [*storage]


def test_verify_finds_what_is_referred_to_in_any_form(tmp_path: Path) -> None:
    """What is neither a handle nor a key is reported, not skipped."""
    with open_storage(f"file://{tmp_path}") as storage:
        handle = storage.add("a.txt", b"x")
        references = [*forms(storage, handle), "nonsense"]
        states = [(one.handle, one.state) for one in verify(storage, handles=references, workers=1)]
    assert [*[(handle, State.OK)] * 3, ("nonsense", State.UNREADABLE)] == states
