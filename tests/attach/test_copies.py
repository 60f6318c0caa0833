"""Copies and pickles of storages, fresh and used; secrets of another library."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretBytes, SecretStr

from attach.s3_storage import s3_storage
from rex.attach import open_storage
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.backends.local.storage import LocalStorage
from rex.core import Error, Kind, Rex, Secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rex.attach import Storage
    from rex.attach.backends.s3.storage import S3Storage

OPTIONS = {
    "max_size": 1000,
    "link_expires": 600,
    "link_window": 60,
    "upload_expires": 3600,
    "max_uploads": 7,
    "url": "https://example.org/attach",
}
SECRET = "a secret of many characters"


@pytest.fixture(params=["memory", "directory", "bucket", "moving"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Give a storage with options of its own."""
    if request.param == "memory":
        return open_storage("memory:", secret=SECRET, **OPTIONS)
    if request.param == "bucket":
        s3: S3Storage = request.getfixturevalue("s3")
        return s3
    local = open_storage(f"file://{tmp_path}/a", secret=SECRET, **OPTIONS)
    if request.param == "directory":
        return local
    old = open_storage(f"file://{tmp_path}/b")
    old.init()
    return FallbackStorage(local, old)


def use(storage: Storage) -> str:
    """Do what makes a storage open files, connections, threads and caches."""
    storage.check()
    handle = storage.add("a.txt", b"content")
    assert b"content" == storage.open(handle).read()
    _ = storage.aio, storage.uploads, storage.tokens, storage.cors, [*storage]
    return handle


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_is_the_storage_itself(storage: Storage, copied: Callable[[Any], Any]) -> None:
    """Fresh or used, alone or in something else; so attachments in memory are there, too."""
    assert storage is copied(storage)
    handle = use(storage)
    assert storage is copied(storage)
    assert b"content" == copy.deepcopy({"storage": storage})["storage"].open(handle).read()
    storage.remove(handle)


def test_a_pickle_opens_the_same_place(storage: Storage) -> None:
    """Fresh or used, with the same options and the same tokens."""
    if "Memory" in repr(storage):
        with pytest.raises(Error, match="in memory cannot be pickled") as caught:
            pickle.dumps(storage)
        assert Kind.UNSUPPORTED is caught.value.kind
        return
    fresh = pickle.dumps(storage)
    handle = use(storage)
    owned = storage.reserve("a.txt", owner="ada")
    for pickled in (fresh, pickle.dumps(storage)):
        with pickle.loads(pickled) as other:  # noqa: S301 - made here
            assert (type(storage), repr(storage)) == (type(other), repr(other))
            assert b"content" == other.open(handle).read()
            assert other.is_owned_by(owned, "ada")
            for name in OPTIONS:
                assert getattr(storage, name) == getattr(other, name)
    storage.remove(handle)
    storage.close()


def test_a_pickle_of_a_relative_directory_leads_to_the_same_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process that runs elsewhere."""
    monkeypatch.chdir(tmp_path)
    storage = LocalStorage("files")
    storage.check()
    handle = storage.add("a.txt", b"content")
    program = (
        "import pickle, sys; storage = pickle.load(sys.stdin.buffer);"
        f"print(storage.open({handle!r}).read().decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(storage),
        capture_output=True,
        cwd="/",
        check=True,
    )
    assert b"content\n" == done.stdout


def test_credentials_of_the_chain_are_in_no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process gets its own; those of the settings are in it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIACHAIN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary of the chain")
    chain = s3_storage("bucket", endpoint="http://127.0.0.1:9")
    assert "AKIACHAIN" in chain.download_link(chain.reserve("a.txt")).url
    assert b"canary" not in pickle.dumps(chain)
    keys = {"access_key": "key", "secret_key": Secret("canary")}
    assert b"canary" in pickle.dumps(s3_storage("bucket", endpoint="http://127.0.0.1:9", **keys))


# Secrets of pydantic.


def test_options_accept_the_secrets_of_pydantic() -> None:
    """They sign as the text does, by any way of opening, and are shown nowhere."""
    s3 = "s3://bucket?endpoint=http://127.0.0.1:9"
    for secret in (SecretStr(SECRET), Secret(SECRET), SECRET):
        given: dict[str, Any] = {"access_key": "key", "secret_key": secret, "session_token": secret}
        opened = open_storage(s3, **given)
        direct = s3_storage("bucket", endpoint="http://127.0.0.1:9", **given)
        for storage in (opened, direct):
            keys = storage._bucket.credentials()  # type: ignore[attr-defined]
            assert (SECRET, SECRET) == (keys.secret_key, keys.session_token)
            assert SECRET not in repr(storage)
        for memory in (open_storage("memory:", secret=secret), LocalStorage("/x", secret=secret)):
            assert SECRET == memory._secret.reveal()  # type: ignore[union-attr]


def test_settings_accept_the_secrets_of_pydantic(tmp_path: Path) -> None:
    """An empty one counts as not given; a wrong one is not shown."""
    keys = SecretStr("0123456789abcdef")
    with Rex("rex.attach", attach_dir=tmp_path, attach_secret=SecretStr(SECRET)) as rex:
        assert Secret(SECRET) == rex.settings["attach_secret"]
    with Rex("rex.attach", attach_dir=tmp_path, attach_secret=SecretStr("")) as rex:
        assert rex.settings["attach_secret"] is None
    with Rex("rex.attach", attach_dir=tmp_path, attach_access="bearer", attach_access_keys=keys):
        pass
    for wrong in (SecretStr("short"), SecretStr(f"{SECRET}\n"), SecretBytes(SECRET.encode())):
        with pytest.raises(Error) as caught:
            Rex("rex.attach", attach_dir=tmp_path, attach_secret=wrong)
        assert "attach_secret" == caught.value.setting
        assert SECRET not in str(caught.value)
        assert "short" not in str(caught.value)


def record(upload: object) -> None:
    """Record an upload."""
    del upload


def test_a_pickle_has_the_hooks_of_the_application(tmp_path: Path) -> None:
    """So that an upload in another process is recorded too."""
    storage = open_storage(tmp_path, on_stored=record)
    restored = pickle.loads(pickle.dumps(storage))  # noqa: S301 - made here
    assert str(storage.hooks.given) == str(restored.hooks.given)
    assert restored.hooks.notifies_stored
