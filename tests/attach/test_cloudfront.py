"""Links and cookies of CloudFront: botocore signs the same, and the documented checks hold."""

from __future__ import annotations

import base64
import copy
import datetime
import fnmatch
import ipaddress
import json
import pickle
import random
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.signers import CloudFrontSigner
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from attach.azure_storage import azure_storage
from attach.s3_storage import s3_storage
from rex.attach import Storage, open_storage
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.explain import explain
from rex.attach.links.cloudfront import CloudFront, make_policy
from rex.attach.links.signed_link import SignedLink
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

URL = "https://d111111abcdef8.cloudfront.net"
KEY_ID = "K2JCJMDEHXQW5F"
HANDLE = "/2026/11/28/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab/ü %41.png"
NOW = 1_795_867_200
CASES = 300
PRIVATE = rsa.generate_private_key(65537, 2048)
ORACLE = CloudFrontSigner(KEY_ID, lambda text: PRIVATE.sign(text, PKCS1v15(), SHA1()))  # noqa: S303


def write(path: Path, key: PrivateKeyTypes = PRIVATE, password: bytes | None = None) -> str:
    """Write a private key; return its path."""
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, encryption))
    return str(path)


@pytest.fixture
def cdn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CloudFront:
    """Make a distribution; it is noon."""
    monkeypatch.setattr(time, "time", lambda: float(NOW))
    return CloudFront(URL, KEY_ID, write(tmp_path / "key.pem"))


def storage(cdn: CloudFront | None, **options: Any) -> Storage:
    """Make a storage on a server that is never asked."""
    keys = {"access_key": "key", "secret_key": "secret"}
    return s3_storage("bucket", endpoint="http://127.0.0.1:9", cdn=cdn, **keys | options)


def accepts(url: str, *, now: int = NOW, client: str = "192.0.2.1") -> bool:
    """Return whether CloudFront answers a URL, as the Developer Guide describes its checks."""
    base, separator, query = url.partition("?")
    ours = ("Expires", "Policy", "Signature", "Key-Pair-Id")
    parts = query.split("&") if separator else []
    rest = "&".join(part for part in parts if part.partition("=")[0] not in ours)
    given = {name: value for part in parts for name, _, value in [part.partition("=")]}
    resource = f"{base}?{rest}" if rest else base
    return _holds(given, resource, now, client)


def _holds(given: Mapping[str, str], resource: str, now: int, client: str) -> bool:
    if given.get("Key-Pair-Id") != KEY_ID:
        return False
    if "Policy" in given:
        policy = _decode(given["Policy"])
    else:
        expires = given.get("Expires", "")
        condition = f'{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}'
        policy = f'{{"Statement":[{{"Resource":"{resource}","Condition":{condition}}}]}}'.encode()
    try:
        signature = _decode(given["Signature"])
        PRIVATE.public_key().verify(signature, policy, PKCS1v15(), SHA1())  # noqa: S303
    except (InvalidSignature, KeyError, ValueError):
        return False
    (statement,) = json.loads(policy)["Statement"]
    condition = statement["Condition"]
    network = condition.get("IpAddress", {"AWS:SourceIp": "0.0.0.0/0"})["AWS:SourceIp"]
    starts = condition.get("DateGreaterThan", {"AWS:EpochTime": 0})["AWS:EpochTime"]
    return (
        starts < now < condition["DateLessThan"]["AWS:EpochTime"]
        and fnmatch.fnmatchcase(resource, statement["Resource"].replace("[", "[[]"))
        and ipaddress.ip_address(client) in ipaddress.ip_network(network)
    )


def _decode(text: str) -> bytes:
    return base64.b64decode(text.translate(str.maketrans("-_~", "+=/")), validate=True)


def at(seconds: int) -> datetime.datetime:
    """Return a time so many seconds after noon."""
    return datetime.datetime.fromtimestamp(NOW + seconds, datetime.UTC)


def test_botocore_signs_the_same(cdn: CloudFront) -> None:
    """Canned policies of hundreds of URLs, and custom ones, byte for byte."""
    chance = random.Random(20261129)  # noqa: S311
    alphabet = "aZ09-._~!$&'()*+,;=:@/%"
    for _ in range(CASES):
        path = "".join(chance.choices(alphabet, k=chance.randrange(1, 60)))
        query = "?a=b%20c&d=%22" if chance.random() < 0.5 else ""
        url, seconds = f"{URL}/{path}{query}", chance.randrange(1, 10**6)
        expected = ORACLE.generate_presigned_url(url, date_less_than=at(seconds))
        assert expected == cdn.sign_url(url, NOW + seconds)
        client = chance.choice([None, "192.0.2.1", "192.0.2.0/24"])
        starts = chance.choice([None, NOW - 5])
        policy = ORACLE.build_policy(
            f"{URL}/{path}*", at(seconds), None if starts is None else at(-5), client
        )
        assert policy == make_policy(f"{URL}/{path}*", NOW + seconds, starts=starts, client=client)
        expected = ORACLE.generate_presigned_url(url, policy=policy)
        assert expected == cdn.sign_url(url, 0, policy=policy)


def test_a_download_link_leads_to_the_distribution(cdn: CloudFront) -> None:
    """With the prefix, the name and the type that S3 puts into the response; uploads do not."""
    with storage(cdn, prefix="folder") as on_cdn:
        link = on_cdn.download_link(HANDLE, filename="b c.png", inline=True, expires=60)
        upload = on_cdn.upload_link(HANDLE)
    parts = urlsplit(link.url)
    assert (URL, at(60)) == (f"{parts.scheme}://{parts.netloc}", link.expires_at)
    assert f"/folder{HANDLE}".replace("ü %", "%C3%BC%20%25") == parts.path
    query = parse_qs(parts.query)
    assert ['inline; filename="b c.png"'] == query["response-content-disposition"]
    assert ["image/png"] == query["response-content-type"]
    assert upload.url.startswith("http://127.0.0.1:9/")
    assert accepts(link.url)


def test_a_changed_link_is_refused(cdn: CloudFront) -> None:
    """Each part of it, and at any time after its end."""
    link = storage(cdn).download_link(HANDLE, expires=60).url
    assert accepts(link, now=NOW + 59)
    changed = {
        link.replace("%2541", "%2542"),
        link.replace("attachment", "inline"),
        link.replace("https:", "http:"),
        link.replace(URL, "https://other.example"),
        link.replace(f"Expires={NOW + 60}", f"Expires={NOW + 61}"),
        link.replace("Signature=", "Signature=A"),
        link.replace(KEY_ID, "K2JCJMDEHXQW5G"),
        link.replace("?", "?a=b&"),
    }
    assert 8 == len(changed - {link})
    assert not any(map(accepts, changed))
    assert not accepts(link, now=NOW + 60)


def test_a_link_stays_the_same_within_a_window(
    cdn: CloudFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends when it says, and never later than without a window."""
    windowed = storage(cdn, link_window=900, link_expires=3600)
    links = []
    for seconds in (0, 899.5, 900):
        monkeypatch.setattr(time, "time", lambda seconds=seconds: NOW + seconds)
        links.append(windowed.download_link(HANDLE))
    assert links[0] == links[1] != links[2]
    assert [at(3600), at(4500)] == [link.expires_at for link in links[1:]]
    assert [True, False] == [accepts(links[0].url, now=NOW + late) for late in (3599, 3600)]


def test_cookies_allow_a_pattern(cdn: CloudFront) -> None:
    """Until they expire, and for a client; no other path, and not once they are changed."""
    cookies = cdn.cookies("2026/11/*", expires=60, client="192.0.2.0/24")
    given = {name.removeprefix("CloudFront-"): value for name, value in cookies.items()}
    expected = make_policy(f"{URL}/2026/11/*", NOW + 60, client="192.0.2.0/24")
    assert (expected.encode(), KEY_ID) == (_decode(given["Policy"]), given["Key-Pair-Id"])
    url, client = f"{URL}/2026/11/28/a.png", "192.0.2.1"
    assert _holds(given, url, NOW + 59, client)
    assert not _holds(given, url, NOW + 60, client)
    assert not _holds(given, url, NOW, "198.51.100.1")
    assert not _holds(given, f"{URL}/2026/12/01/a.png", NOW, client)
    longer = make_policy(f"{URL}/2026/11/*", NOW + 3600)
    forged = base64.b64encode(longer.encode()).decode().translate(str.maketrans("+=/", "-_~"))
    assert not _holds({**given, "Policy": forged}, url, NOW, client)
    with pytest.raises(Error) as caught:
        cdn.cookies(expires=0)
    assert Kind.ILL_FORMED is caught.value.kind


def test_the_settings_describe_the_distribution(tmp_path: Path) -> None:
    """Also behind an older storage, and in another process."""
    options = {"cdn_url": f"{URL}/", "cdn_key_id": KEY_ID, "cdn_key": write(tmp_path / "key.pem")}
    keys = {"access_key": "key", "secret_key": "secret"}
    with open_storage("s3://bucket", **options, **keys) as opened:
        for each in (opened, copy.deepcopy(opened), pickle.loads(pickle.dumps(opened))):  # noqa: S301
            assert each.download_link(HANDLE).url.startswith(f"{URL}/2026/")
        assert f"CloudFront('{URL}', '{KEY_ID}')" == repr(opened.cdn)
        signing = FallbackStorage(opened, open_storage("memory:")).new
        assert signing.download_link(HANDLE).url.startswith(URL)


def test_an_expired_link_is_explained_and_a_valid_one_is_not(cdn: CloudFront) -> None:
    """It has neither a signature of S3 nor its parameters; ours is not shown."""
    on_cdn = storage(cdn)
    link = on_cdn.download_link(HANDLE, expires=60).url
    for seconds, expected in ((59, []), (60, ["link-expired"])):
        found = explain(link, storage=on_cdn, now=at(seconds))
        assert expected == [reason.code for reason in found.reasons]
    signature = parse_qs(link)["Signature"][0]
    assert signature in SignedLink(link).secrets
    assert signature not in str(explain(f"{link}\\&", storage=on_cdn, now=at(60)))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("HTTPS://D111111abcdef8.CloudFront.net:443/", URL),
        ("http://Files.example:80/a%20b", "http://files.example/a%20b"),
        ("https://files.example:444", "https://files.example:444"),
    ],
)
def test_links_have_the_address_that_browsers_send(
    given: str, expected: str, tmp_path: Path
) -> None:
    """The signature is for it: CloudFront would refuse what browsers make of another."""
    keys = {"access_key": "key", "secret_key": "secret"}
    options = {"cdn_url": given, "cdn_key_id": KEY_ID, "cdn_key": write(tmp_path / "key.pem")}
    with open_storage("s3://bucket", **options, **keys) as opened:
        assert opened.download_link(HANDLE).url.startswith(f"{expected}/2026/")


def test_cookies_that_no_request_matches_are_refused(cdn: CloudFront) -> None:
    """A first slash is that of the address, not another one."""
    wrong: list[dict[str, Any]] = [
        *({"pattern": pattern} for pattern in ("ü/*", "a b/*", "a%/*", '"', "a#b", "a\n")),
        *({"client": client} for client in ("", "2001:db8::1", "192.0.2.0/33", "localhost")),
    ]
    for arguments in wrong:
        with pytest.raises(Error) as caught:
            cdn.cookies(**arguments)
        assert Kind.ILL_FORMED is caught.value.kind, arguments
    assert cdn.cookies("2026/*") == cdn.cookies("/2026/*")


BAD: dict[str, tuple[Callable[[Path], dict[str, str]], str]] = {
    "no key": (lambda _: {"cdn_url": URL, "cdn_key_id": KEY_ID}, "attach_cdn_key"),
    "no id": (lambda at: {"cdn_url": URL, "cdn_key": write(at)}, "attach_cdn_key_id"),
    "no address": (lambda at: {"cdn_key_id": KEY_ID, "cdn_key": write(at)}, "attach_cdn_url"),
    "a host that browsers encode": (
        lambda at: {"cdn_url": "https://büro.example", "cdn_key_id": KEY_ID, "cdn_key": write(at)},
        "attach_cdn_url",
    ),
    "a path that browsers shorten": (
        lambda at: {"cdn_url": f"{URL}/a/..", "cdn_key_id": KEY_ID, "cdn_key": write(at)},
        "attach_cdn_url",
    ),
    "id": (lambda at: {"cdn_key_id": "a&b", "cdn_key": write(at)}, "attach_cdn_key_id"),
    "a missing file": (
        lambda at: {"cdn_url": URL, "cdn_key_id": KEY_ID, "cdn_key": str(at)},
        "attach_cdn_key",
    ),
    "not a key": (
        lambda at: {"cdn_url": URL, "cdn_key_id": KEY_ID, "cdn_key": __file__, "": str(at)},
        "attach_cdn_key",
    ),
    "another kind of key": (
        lambda at: {
            "cdn_url": URL,
            "cdn_key_id": KEY_ID,
            "cdn_key": write(at, ec.generate_private_key(ec.SECP256R1())),
        },
        "attach_cdn_key",
    ),
    "a password": (
        lambda at: {
            "cdn_url": URL,
            "cdn_key_id": KEY_ID,
            "cdn_key": write(at, password=b"secret"),
        },
        "attach_cdn_key",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_an_error_names_the_setting_that_is_wrong(name: str, tmp_path: Path) -> None:
    """And never shows a key."""
    make, setting = BAD[name]
    options = {option: value for option, value in make(tmp_path / "key.pem").items() if option}
    with pytest.raises(Error) as caught:
        open_storage("s3://bucket", access_key="key", secret_key="secret", **options)
    assert (Kind.CONFIGURATION, setting) == (caught.value.kind, caught.value.setting)
    assert "PRIVATE KEY" not in str(caught.value)


def test_the_service_still_answers_the_forms_of_azure(cdn: CloudFront) -> None:
    """A CDN changes the links of downloads only."""
    url = "https://files.example.org/attach"
    links = [
        azure_storage("container", account="account", key="a2V5", url=url, cdn=each).abilities.links
        for each in (None, cdn)
    ]
    assert [True, True] == [each is not None and each.is_served for each in links]


@pytest.mark.parametrize("place", ["memory:", "file:///nowhere"])
def test_a_cdn_needs_a_server(place: str, tmp_path: Path) -> None:
    """A distribution cannot read a directory."""
    options = {"cdn_url": URL, "cdn_key_id": KEY_ID, "cdn_key": write(tmp_path / "key.pem")}
    with pytest.raises(Error) as caught:
        open_storage(place, **options)
    assert (Kind.CONFIGURATION, "attach_cdn_url") == (caught.value.kind, caught.value.setting)


def test_a_public_address_needs_no_signature(cdn: CloudFront) -> None:
    """It leads below the setting, by the key on the server; cookies may protect it."""
    public = storage(cdn, prefix="folder", public_url=f"{URL}/")
    url = public.public_url(HANDLE)
    assert f"{URL}/folder{HANDLE}".replace("ü %", "%C3%BC%20%25") == url
    assert f"{URL}{HANDLE}".replace("ü %", "%C3%BC%20%25") == (
        open_storage("memory:", public_url=URL).public_url(HANDLE)
    )
    cookies = public.cdn.cookies("folder/*") if public.cdn else {}
    given = {name.removeprefix("CloudFront-"): value for name, value in cookies.items()}
    assert _holds(given, url, NOW, "192.0.2.1")
    with pytest.raises(Error) as caught:
        storage(None).public_url(HANDLE)
    assert (Kind.UNSUPPORTED, "no-public-url") == (caught.value.kind, caught.value.code)
