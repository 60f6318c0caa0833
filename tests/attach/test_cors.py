"""Which sites' pages may use a bucket: shown and set, on a real server, by `rex attach cors`."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
import requests
from click.testing import CliRunner

from attach.harnesses import s3_client
from attach.s3_storage import s3_storage
from programs import PATIENCE
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.core import Error, Kind
from rex.core.command import root
from rex.core.exit_codes import EXIT_CODES

if TYPE_CHECKING:
    from pathlib import Path

    from rex.attach.backends.s3.storage import S3Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

SITE = "https://pages.example.org"
OTHERS = {"AllowedOrigins": ["https://other.example"], "AllowedMethods": ["GET"]}
BUCKETS = itertools.count()


@pytest.fixture
def storage(seaweedfs: SeaweedFS) -> S3Storage:
    """Give a storage in a bucket of its own, since the rules are the bucket's."""
    bucket = f"rules-{next(BUCKETS)}"
    endpoint, access_key, secret_key = seaweedfs.endpoint, *seaweedfs.credentials["admin"][:2]
    s3_client(endpoint, access_key, secret_key).create_bucket(Bucket=bucket)
    return s3_storage(bucket, endpoint=endpoint, access_key=access_key, secret_key=secret_key)


def run(storage: S3Storage, *arguments: str, **settings: str) -> tuple[int, str]:
    """Run `rex attach cors` for the storage; give its exit code and all that it says."""
    credentials = storage._bucket.credentials()
    environment = {
        "ATTACH_S3_BUCKET": storage.bucket,
        "ATTACH_S3_ENDPOINT": storage.endpoint,
        "ATTACH_S3_ACCESS_KEY": credentials.access_key,
        "ATTACH_S3_SECRET_KEY": credentials.secret_key,
    }
    result = CliRunner().invoke(root, ["attach", "cors", *arguments], env=environment | settings)
    assert credentials.secret_key not in result.output
    return result.exit_code, result.output


def preflight(storage: S3Storage, origin: str, method: str, header: str) -> requests.Response:
    """Ask the server what a browser asks before it uploads."""
    link = storage.upload_link(storage.reserve("a.txt"), method="PUT")
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": header,
    }
    return requests.options(link.url, headers=headers, timeout=PATIENCE)


def permits(rule: dict[str, Any]) -> tuple[Any, ...]:
    """Give what a rule permits."""
    names = ("AllowedOrigins", "AllowedMethods", "AllowedHeaders", "ExposeHeaders")
    return tuple(sorted(rule.get(name, ())) for name in names)


def test_a_site_that_is_allowed_may_upload(storage: S3Storage) -> None:
    """The server lets its pages send and read what uploaders need, and those of no other site."""
    storage.cors.allow([SITE])
    for method in ("PUT", "POST", "DELETE", "GET", "HEAD"):
        answer = preflight(storage, SITE, method, "content-type,if-none-match")
        assert (200, SITE) == (answer.status_code, answer.headers["Access-Control-Allow-Origin"])
    assert (
        "Access-Control-Allow-Origin"
        not in preflight(storage, "https://evil.example", "PUT", "content-type").headers
    )
    link = storage.upload_link(storage.reserve("a.txt"), method="PUT")
    sent = requests.put(
        link.url, data=b"abc", headers={**link.headers, "Origin": SITE}, timeout=PATIENCE
    )
    assert SITE == sent.headers["Access-Control-Allow-Origin"]
    assert {"ETag", "Location"} <= set(
        sent.headers["Access-Control-Expose-Headers"].replace(" ", "").split(",")
    )


def test_the_rules_of_others_stay(storage: S3Storage) -> None:
    """Ours comes first and once, however often it is set; other sites replace the earlier ones."""
    storage._bucket.control.set_cors([OTHERS])
    storage.cors.allow([SITE, "http://localhost:8000"])
    storage.cors.allow([SITE])
    rules = storage.cors.allow([SITE])
    assert [permits(storage.cors.make_rule([SITE])), permits(OTHERS)] == [*map(permits, rules)]
    assert storage.cors.allows([SITE])
    assert not storage.cors.allows([SITE, "http://localhost:8000"])


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "*",
        "example.org",
        "https://example.org/",
        "https://a@b",
        "https://x\n",
        "file://",
        "null",
    ],
)
def test_an_origin_is_a_scheme_and_a_host(storage: S3Storage, origin: str) -> None:
    """Nothing else is put into a rule."""
    with pytest.raises(Error) as caught:
        storage.cors.allow([SITE, origin])
    assert Kind.ILL_FORMED == caught.value.kind
    assert [] == storage.cors.rules()


def test_the_command_shows_and_sets(storage: S3Storage) -> None:
    """Without --apply nothing is changed; afterwards nothing is missing."""
    code, shown = run(storage, "--origin", SITE)
    assert (0, True, True) == (code, "has no CORS rules" in shown, "Needed" in shown)
    assert [] == storage.cors.rules()
    code, shown = run(storage, "--origin", SITE, "--apply")
    assert (0, f"{SITE}  GET PUT POST DELETE HEAD  *  ETag Location\n") == (code, shown)
    assert storage.cors.allows([SITE])
    assert (0, shown) == run(storage, "--origin", SITE)
    assert (0, shown) == run(storage)


def test_the_command_takes_the_origins_of_the_setting(storage: S3Storage) -> None:
    """As the service does; and JSON tells the rules in S3's words."""
    settings = {"ATTACH_ORIGINS": f"{SITE}, http://localhost:8000"}
    code, shown = run(storage, "--apply", "--json", **settings)
    answer = json.loads(shown)
    assert (0, [permits(answer["needed"])]) == (code, [*map(permits, answer["rules"])])
    assert ["http://localhost:8000", SITE] == answer["needed"]["AllowedOrigins"]
    assert {"rules": answer["rules"], "needed": None} == json.loads(run(storage, "--json")[1])


def test_the_command_needs_an_origin_to_set(storage: S3Storage) -> None:
    """There is no rule for nobody, and none for what is no origin."""
    for arguments in (["--apply"], ["--apply", "--origin", "example.org"]):
        code, shown = run(storage, *arguments)
        assert (EXIT_CODES[Kind.ILL_FORMED], True) == (code, "https://example.org" in shown)
    assert [] == storage.cors.rules()


def test_storages_without_a_bucket_say_so(tmp_path: Path) -> None:
    """There, the service itself answers, and its setting is named."""
    with pytest.raises(Error) as caught:
        MemoryStorage().cors.rules()
    assert Kind.UNSUPPORTED == caught.value.kind
    assert "attach_origins" in str(caught.value)
    environment = {"ATTACH_DIR": str(tmp_path)}
    LocalStorage(tmp_path).init()
    for arguments in ([], ["--origin", SITE, "--apply"]):
        result = CliRunner().invoke(root, ["attach", "cors", *arguments], env=environment)
        assert EXIT_CODES[Kind.UNSUPPORTED] == result.exit_code
        assert "attach_origins" in result.output


def test_keys_that_may_not_change_rules_are_told(seaweedfs: SeaweedFS, storage: S3Storage) -> None:
    """The server's refusal is an error of its own kind."""
    reader = seaweedfs.credentials["reader"]
    other = s3_storage(
        storage.bucket,
        endpoint=seaweedfs.endpoint,
        access_key=reader.access_key,
        secret_key=reader.secret_key,
    )
    with pytest.raises(Error) as caught:
        other.cors.allow([SITE])
    assert Kind.DENIED == caught.value.kind
