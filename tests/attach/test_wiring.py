"""Settings and URLs become the right storage, or an error that says what is wrong with them."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rex.attach import get_storage, open_storage
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.backends.s3.storage import S3Storage
from rex.attach.opening import BACKENDS
from rex.core import Error, Kind, Package, Rex

if TYPE_CHECKING:
    from rex.attach.backend.config import BackendSpec
    from rex.attach_demo.seaweedfs import SeaweedFS

CANARY = "canary-5f5e1d5e"
KEYS = {"access_key": "key", "secret_key": CANARY}


def test_an_application_has_one_storage(tmp_path: Path) -> None:
    """It is made once, also for the demo, and can be used outside of the application."""
    with Rex("rex.attach_demo", attach_dir=tmp_path, attach_s3_bucket=None) as rex:
        storage = get_storage()
        assert storage is get_storage()
    assert isinstance(storage, LocalStorage)
    assert storage.add("a.txt", b"") in storage
    assert ("rex.attach", "rex.attach_demo") == tuple(package.name for package in rex.packages)


def test_settings_reach_the_storage(tmp_path: Path) -> None:
    """Sizes and durations are read as people write them."""
    settings = {"attach_max_size": "10 MB", "attach_link_expires": "15m"}
    with Rex("rex.attach", attach_dir=tmp_path, **settings):
        assert (10_000_000, 900) == (get_storage().max_size, get_storage().link_expires)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "No storage is configured; set exactly one of"),
        ({"attach_dir": ""}, "No storage is configured; set exactly one of"),
        ({"attach_dir": "/tmp", "attach_s3_bucket": "b"}, "Two storages are configured"),  # noqa: S108 - not used
        ({"attach_dri": "/tmp"}, "attach_dir"),  # noqa: S108 - not used
        ({"attach_s3_bucket": "b", "attach_s3_endpoint": "ftp://x"}, "attach_s3_endpoint"),
        ({"attach_s3_bucket": "b", "attach_s3_addressing": "both"}, "attach_s3_addressing"),
        ({"attach_s3_bucket": "b", "attach_s3_access_key": "k"}, "attach_s3_secret_key"),
        ({"attach_s3_bucket": "b", "attach_s3_prefix": "a/../b"}, "attach_s3_prefix"),
        ({"attach_s3_bucket": "b", "attach_s3_prefix": "${filename}"}, "attach_s3_prefix"),
        ({"attach_s3_bucket": "b", "attach_s3_prefix": "a\\b"}, "attach_s3_prefix"),
        ({"attach_s3_bucket": "my bucket"}, "attach_s3_bucket"),
        ({"attach_s3_bucket": "a/b"}, "attach_s3_bucket"),
        ({"attach_s3_bucket": "b?x"}, "attach_s3_bucket"),
        ({"attach_s3_bucket": "b", "attach_s3_region": "EU West"}, "attach_s3_region"),
        ({"attach_s3_bucket": "b", "attach_s3_secret_key": f"{CANARY}\n"}, "attach_s3_secret_key"),
        ({"attach_s3_bucket": "b", "attach_s3_timeout": "0"}, "attach_s3_timeout"),
        ({"attach_dir": "/tmp", "attach_link_expires": "30d"}, "attach_link_expires"),  # noqa: S108
        ({"attach_dir": "/missing/parent/directory"}, "attach_dir"),
        ({"attach_dir": "/tmp", "attach_access": "anbody"}, "attach_access):\n    expected none"),  # noqa: S108
        ({"attach_dir": "/tmp", "attach_access": "rules.may"}, "attach_access"),  # noqa: S108
        ({"attach_dir": "/tmp", "attach_access": "rules:"}, "attach_access"),  # noqa: S108
        ({"attach_dir": "/tmp", "attach_access": "bearer"}, "attach_access_keys"),  # noqa: S108
        (
            {
                "attach_dir": "/tmp",  # noqa: S108
                "attach_access": "bearer",
                "attach_access_keys": "0123456789abcdef, 0123456789abcde",
            },
            "(setting attach_access_keys)",
        ),
        ({"attach_dir": "/tmp", "attach_hosts": "https://a.example"}, "attach_hosts"),  # noqa: S108
        ({"attach_dir": "/tmp", "attach_hosts": "a.example:80"}, "attach_hosts"),  # noqa: S108
        ({"attach_dir": "/tmp", "attach_hosts": " , "}, "attach_hosts"),  # noqa: S108
        ({"attach_dir": "/tmp", "attach_hosts": "*"}, "attach_hosts"),  # noqa: S108
    ],
    ids=str,
)
def test_a_wrong_configuration_fails_in_the_constructor(
    settings: dict[str, str], said: str
) -> None:
    """The error names the setting."""
    with pytest.raises(Error) as caught:
        Rex("rex.attach", **settings)
    assert Kind.CONFIGURATION is caught.value.kind
    assert said in str(caught.value)
    assert CANARY not in str(caught.value)


def test_an_application_without_attachments_has_no_storage() -> None:
    """The error says which package is missing."""
    with Rex(Package("other")), pytest.raises(Error, match=r"not have the package rex\.attach"):
        get_storage()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory:", "MemoryStorage()"),
        ("file:///srv/attachments", "LocalStorage('/srv/attachments')"),
        ("file:///srv/with%20blank", "LocalStorage('/srv/with blank')"),
        (
            "s3://b?region=eu-west-1",
            "S3Storage('s3://b/', endpoint='https://s3.eu-west-1.amazonaws.com')",
        ),
        ("s3://b/a/b?endpoint=http://h:1", "S3Storage('s3://b/a/b/', endpoint='http://h:1')"),
    ],
)
def test_a_url_opens_a_storage(url: str, shown: str) -> None:
    """The kind, the place and the options stand in it."""
    with open_storage(url, **(KEYS if url.startswith("s3:") else {})) as storage:
        assert shown == repr(storage)


def test_options_are_arguments_or_stand_in_the_query() -> None:
    """They are read as settings are."""
    with open_storage("memory:?max_size=1kB", link_expires="1m") as storage:
        assert isinstance(storage, MemoryStorage)
        assert (1000, 60) == (storage.max_size, storage.link_expires)
    with open_storage("s3://b", addressing="path", timeout="1s", **KEYS) as storage:
        assert isinstance(storage, S3Storage)
        assert ("path", 1) == (storage._bucket.addressing, storage._bucket.config.timeout)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "A storage must be a path or a URL"),
        ("srv/attachments", "a relative path begins with ./"),
        ("memory:x", "A storage must be a path or a URL"),
        ("file://host/srv", "A storage must be a path or a URL"),
        ("https://example.org", "A storage must be a path or a URL"),
        (f"s3://key:{CANARY}@b", "A storage must be a path or a URL"),
        (f"s3://b?secret_key={CANARY}", "A secret must not be in the URL"),
        (f"s3://b?session_token={CANARY}", "A secret must not be in the URL"),
        ("s3://b?regoin=x", "did you mean region?"),
        ("s3://b/prefix#more", "A storage must be a path or a URL"),
        ("file:///srv/x#y", "A storage must be a path or a URL"),
        ("file:srv", "A storage must be a path or a URL"),
        ("s3://b?region=a&region=b", "region is given twice"),
        ("s3://[bad", "A storage must be a path or a URL"),
        ("s3://b?max_size=big", "attach_max_size"),
    ],
)
def test_a_wrong_url_is_refused_without_being_shown(url: str, said: str) -> None:
    """The error says what is wrong; no secret is in it."""
    with pytest.raises(Error) as caught:
        open_storage(url)
    assert Kind.CONFIGURATION is caught.value.kind
    assert said in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_an_option_given_in_two_ways_is_refused() -> None:
    """Neither wins."""
    with pytest.raises(Error, match="region is given twice"):
        open_storage("s3://b?region=a", region="b")
    with pytest.raises(Error, match="bytes"):
        open_storage(b"/srv")  # type: ignore[arg-type]  # what somebody may try


@pytest.mark.parametrize("form", ["{0}/a?b#c", "./a?b#c", "../{1}/a?b#c"])
def test_a_path_opens_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """A path is not a URL: its question mark and its number sign are part of it."""
    monkeypatch.chdir(tmp_path)
    given = form.format(tmp_path, tmp_path.name)
    for place in (given, Path(given), Path("a?b#c")):
        with open_storage(place, max_size="1kB") as storage:
            assert f"LocalStorage('{tmp_path}/a?b#c')" == repr(storage)
            assert 1000 == storage.max_size


def test_without_arguments_the_configured_storage_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment wins over rex.toml, as for the command; an error names the source."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ATTACH_")]:
        monkeypatch.delenv(name)
    (tmp_path / "rex.toml").write_text("[settings]\nattach_dir = 'b'\nattach_max_size = '1 kB'\n")
    monkeypatch.setenv("ATTACH_DIR", "a")
    with open_storage() as storage:
        assert f"LocalStorage('{tmp_path}/a')" == repr(storage)
        assert 1000 == storage.max_size
    with Rex.from_environment("rex.attach", attach_max_size=5, attach_dir=None) as rex:
        assert (f"{tmp_path}/a", 5) == (rex.settings.attach_dir, get_storage().max_size)
    monkeypatch.setenv("ATTACH_MAX_SIZE", "big")
    with pytest.raises(Error, match=r"\(environment ATTACH_MAX_SIZE\)"):
        open_storage()
    with pytest.raises(Error, match=r"got 'large' \(argument\)"):
        Rex.from_environment("rex.attach", attach_max_size="large")
    with pytest.raises(Error, match=r"needs a path or a URL as its first argument.*\s+endpoint$"):
        open_storage(max_size=5, endpoint="http://h")


def test_options_replace_the_settings_of_the_configured_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So an application with its storage in the environment passes its own functions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATTACH_DIR", "a")
    monkeypatch.setenv("ATTACH_MAX_SIZE", "1 kB")
    stored: list[str] = []
    with open_storage(max_size=5, on_stored=lambda upload: stored.append(upload.handle)) as storage:
        storage.init()
        assert 5 == storage.max_size
        assert [storage.add("a.txt", b"bytes")] == stored


def test_the_scheme_of_an_endpoint_may_be_in_capitals() -> None:
    """It is the same server."""
    with open_storage("s3://b", endpoint="HTTP://h:1", **KEYS) as storage:
        assert "S3Storage('s3://b/', endpoint='http://h:1')" == repr(storage)


def test_no_secret_is_shown(seaweedfs: SeaweedFS) -> None:
    """Neither by the application, the storage, its links and credentials, nor by an error."""
    settings = seaweedfs.settings()
    secret = settings["attach_s3_secret_key"]
    with Rex("rex.attach", **settings) as rex:
        storage = get_storage()
        handle = storage.reserve("a.txt")
        link = storage.upload_link(handle)
        with pytest.raises(Error) as caught:
            storage.open(handle)
    assert isinstance(storage, S3Storage)
    text = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [frame.locals for frame in text.stack if frame.filename != __file__]
    everything = [
        rex,
        rex.settings,
        storage,
        link,
        storage._bucket.credentials(),
        str(caught.value),
        ours,
    ]
    assert ours
    assert secret not in " ".join(map(repr, everything))
    assert link.fields["x-amz-signature"] not in repr(link)


def test_links_point_to_where_clients_reach_the_server() -> None:
    """The public endpoint is what is signed; the bucket stands in the path or in the host."""
    options = {"endpoint": "http://inside:1", "public_endpoint": "https://files.example.org/"}
    with open_storage("s3://b", **options, **KEYS) as storage:
        handle = storage.reserve("a.txt")
        assert "https://files.example.org/b/" == storage.upload_link(handle).url
    with open_storage("s3://b", addressing="virtual", **options, **KEYS) as storage:
        assert (
            f"https://b.files.example.org{handle}"
            == (storage.download_link(handle).url.partition("?")[0])
        )
    with open_storage("s3://b", region="cn-north-1", **KEYS) as storage:
        expected = f"https://b.s3.cn-north-1.amazonaws.com.cn{handle}"
        assert expected == storage.download_link(handle).url.partition("?")[0]
    with open_storage("s3://dotted.name", **KEYS) as storage:
        assert storage.upload_link(handle).url.endswith("amazonaws.com/dotted.name/")


def test_a_bucket_in_the_host_works_on_a_real_server(
    seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Virtual addressing for data and the check."""
    # Not every system resolves names below localhost; the server takes requests as a proxy does.
    monkeypatch.setenv("http_proxy", seaweedfs.endpoint)
    endpoint = seaweedfs.endpoint.replace("127.0.0.1", "localhost")
    settings = seaweedfs.settings() | {
        "attach_s3_endpoint": endpoint,
        "attach_s3_addressing": "virtual",
        "attach_s3_prefix": "virtual",
    }
    with Rex("rex.attach", **settings):
        storage = get_storage()
        handle = storage.add("a.txt", b"content")
        with storage.open(handle) as stream:
            assert b"content" == stream.read()
        assert [handle] == list(storage)


@pytest.mark.parametrize("url", ["file:///d?endpoint=http://h:1", "memory:?require_marker=true"])
def test_an_option_of_another_backend_is_refused_by_the_name_as_given(url: str) -> None:
    """With the options of this backend."""
    with pytest.raises(Error) as caught:
        open_storage(url)
    given = url.partition("?")[2].partition("=")[0]
    assert "unknown-option" == caught.value.code
    assert str(caught.value.payload).startswith(f"{given}; known: ")
    assert "max_size" in str(caught.value.payload)


@pytest.mark.parametrize("spec", BACKENDS, ids=lambda spec: spec.scheme)
def test_every_option_of_a_backend_is_used(spec: BackendSpec) -> None:
    """An option that the folder of the backend does not read would have no effect."""
    folder = Path(str(sys.modules[spec.config.__module__].__file__)).parent
    source = "".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    assert [] == [name for name in spec.settings if f"config.{name}" not in source]
