"""Links with a shared access signature: equal to those of Microsoft's own library, and checked."""

from __future__ import annotations

import base64
import datetime
import random
from typing import TYPE_CHECKING, Any

import pytest
from azure.storage.blob import UserDelegationKey, generate_blob_sas
from azure.storage.blob import _shared_access_signature as oracle
from azure.storage.blob._shared import shared_access_signature as oracle_base

from attach.azure_storage import azure_storage
from rex.attach.links.client import Client
from rex.attach.links.sas import FIELDS, VERSION, DelegationKey, sign_blob
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach_demo.azurite import Azurite

CASES = 1000
NEWEST = oracle.X_MS_VERSION
VERSIONS = (VERSION, "2020-12-06", NEWEST)
ALPHABET = "abcXYZ019 -_.~!*'();:@&=+$,/?#[]%\"<>\\^`{|}äß中文🎉\u05e9"
TEXTS = ("attachment; filename=\"a b.txt\"; filename*=UTF-8''%C3%A9", "inline", "text/plain", "")


def any_text(chance: random.Random, longest: int = 40) -> str:
    """Give any text."""
    return "".join(chance.choices(ALPHABET, k=chance.randint(1, longest)))


def any_key(chance: random.Random) -> str:
    """Give a key of the length of Azure's."""
    return base64.b64encode(chance.randbytes(64)).decode()


def any_case(chance: random.Random) -> dict[str, Any]:
    """Give the arguments of a link, as for our signer."""
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    expires_at = moment + datetime.timedelta(seconds=chance.randrange(10**8))
    names = chance.sample(["rscc", "rscd", "rsce", "rscl", "rsct"], chance.randrange(6))
    return {
        "account": f"acct{chance.randrange(10**9)}",
        "container": f"c-{chance.randrange(10**6)}",
        "blob": any_text(chance, 200).strip("/") or "a",
        "permissions": "".join(each for each in "racwd" if chance.random() < 0.5) or "r",
        "expires_at": expires_at,
        "start": chance.choice([None, moment - datetime.timedelta(hours=chance.randrange(99))]),
        "protocol": chance.choice([None, "https", "https,http"]),
        "response": {name: chance.choice(TEXTS) or any_text(chance) for name in names},
        "version": chance.choice(VERSIONS),
    }


def theirs(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **key: Any) -> str:
    """Give the link of Microsoft's library for the same arguments."""
    monkeypatch.setattr(oracle, "X_MS_VERSION", case["version"])
    monkeypatch.setattr(oracle_base, "X_MS_VERSION", case["version"])
    response = {
        theirs: case["response"].get(ours)
        for ours, theirs in (
            ("rscc", "cache_control"),
            ("rscd", "content_disposition"),
            ("rsce", "content_encoding"),
            ("rscl", "content_language"),
            ("rsct", "content_type"),
        )
    }
    made: str = generate_blob_sas(
        account_name=case["account"],
        container_name=case["container"],
        blob_name=case["blob"],
        permission=case["permissions"],
        expiry=case["expires_at"],
        start=case["start"],
        protocol=case["protocol"],
        **response,
        **key,
    )
    return made


def test_links_are_those_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte, for account keys, in each version."""
    chance = random.Random(16)  # noqa: S311 - cases, no secrets
    for _ in range(CASES):
        case, key = any_case(chance), any_key(chance)
        place = [case["account"], case["container"], case["blob"]]
        given = {name: case[name] for name in case if name not in ("account", "container", "blob")}
        assert theirs(case, monkeypatch, account_key=key) == sign_blob(*place, key=key, **given)


def test_links_of_delegation_keys_are_those_of_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Byte for byte, in the newest version, which is the only one that the library signs so."""
    chance = random.Random(17)  # noqa: S311 - as above
    for _ in range(CASES):
        case = any_case(chance) | {"version": NEWEST}
        key = DelegationKey(
            object_id=any_text(chance),
            tenant_id=any_text(chance),
            start="2026-01-01T00:00:00Z",
            expiry="2026-01-07T00:00:00Z",
            service="b",
            version=NEWEST,
            value=any_key(chance),
        )
        given = UserDelegationKey()
        given.signed_oid, given.signed_tid = key.object_id, key.tenant_id
        given.signed_start, given.signed_expiry = key.start, key.expiry
        given.signed_service, given.signed_version = key.service, key.version
        given.value = key.value
        given.signed_delegated_user_tid = None
        place = [case["account"], case["container"], case["blob"]]
        ours = {name: case[name] for name in case if name not in ("account", "container", "blob")}
        expected = theirs(case, monkeypatch, user_delegation_key=given)
        made = sign_blob(*place, key=key, **ours)
        assert expected == made


def test_every_field_of_a_link_is_signed(azurite: Azurite) -> None:
    """Azurite refuses a link with any one parameter changed or removed, or for another blob."""
    storage = azure_storage(
        azurite.container, account=azurite.account, endpoint=azurite.endpoint, key=azurite.key
    )
    handle, other = storage.add("a.txt", b"data"), storage.add("b.txt", b"other")
    now = datetime.datetime.now(datetime.UTC)
    query = sign_blob(
        azurite.account,
        azurite.container,
        handle[1:],
        key=azurite.key,
        permissions="r",
        start=now - datetime.timedelta(hours=1),
        expires_at=now + datetime.timedelta(hours=1),
        protocol="https,http",
        response={name: f"x-{name}" for name in ("rscc", "rscd", "rsce", "rscl", "rsct")},
    )
    client, base = Client(), f"{azurite.endpoint}/{azurite.container}"
    assert 200 == client.send("GET", f"{base}{handle}?{query}").status
    assert client.send("GET", f"{base}{other}?{query}").refused
    pairs = [pair.partition("=")[::2] for pair in query.split("&")]
    assert {"sig", *FIELDS} - {"si", "sip", "ses"} - {n for n in FIELDS if n[:2] == "sk"} == {
        name for name, _ in pairs
    }
    for number, (name, value) in enumerate(pairs):
        begin = "3" if value[:1] != "3" else "4"
        changed = [*pairs[:number], (name, begin + value[1:]), *pairs[number + 1 :]]
        for those in (changed, [*pairs[:number], *pairs[number + 1 :]]):
            text = "&".join(f"{name}={value}" for name, value in those)
            answer = client.send("GET", f"{base}{handle}?{text}")
            assert answer.refused, (name, answer.status)


def test_what_cannot_be_signed_is_refused() -> None:
    """A key that is not Base64 names its setting; a time needs a time zone."""
    place = ("acct", "container", "a.txt")
    now = datetime.datetime.now(datetime.UTC)
    with pytest.raises(Error) as caught:
        sign_blob(*place, key="no Base64", permissions="r", expires_at=now)
    assert (Kind.CONFIGURATION, "attach_azure_key") == (caught.value.kind, caught.value.setting)
    naive = now.replace(tzinfo=None)
    with pytest.raises(Error) as caught:
        sign_blob(*place, key="a2V5", permissions="r", expires_at=naive)
    assert Kind.ILL_FORMED is caught.value.kind


def test_a_delegation_key_is_not_shown() -> None:
    """It is a secret."""
    key = DelegationKey("oid", "tid", "start", "2026-01-01T00:00:00Z", "b", "v", "canary")
    assert "canary" not in repr(key)
