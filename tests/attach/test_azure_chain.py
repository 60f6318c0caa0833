"""Tokens of the Azure chain, from fakes of the services that issue them."""

from __future__ import annotations

import datetime
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from attach.azure_storage import azure_storage
from attach.fake_server import Answer, Request, fake_server, refused_address
from programs import PATIENCE
from rex.attach.backends.azure import chain
from rex.attach.backends.azure.chain import AzureChain
from rex.attach.backends.azure.credentials import AccountKey, Credentials, SasToken
from rex.attach.links.sas import DelegationKey, sign_blob
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = (
    *("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"),
    *("IDENTITY_ENDPOINT", "IDENTITY_HEADER"),
    *("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"),
)
PRINCIPAL = {
    "AZURE_CLIENT_ID": "client",
    "AZURE_TENANT_ID": "tenant",
    "AZURE_CLIENT_SECRET": "canary",
}
DELEGATED = """<UserDelegationKey><SignedOid>oid</SignedOid><SignedTid>tid</SignedTid>
<SignedStart>2026-01-01T00:00:00Z</SignedStart><SignedExpiry>{expiry}</SignedExpiry>
<SignedService>b</SignedService><SignedVersion>2023-11-03</SignedVersion><Value>a2V5</Value>
</UserDelegationKey>"""


class Issuer:
    """A fake of the services that issue tokens, and of a blob service that takes them."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.refusal: Answer | None = None
        self.lifetime = 3600.0

    def __call__(self, request: Request) -> Answer:
        """Answer a request."""
        self.requests.append(request)
        if self.refusal is not None:
            return self.refusal
        if "userdelegationkey" in request.path:
            expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=7)
            return Answer(200, DELEGATED.format(expiry=f"{expiry:%Y-%m-%dT%H:%M:%SZ}"))
        if "token" in request.path:
            token = f"token-{len(self.requests)}"
            expires = {"expires_in": self.lifetime}
            return Answer(200, json.dumps({"access_token": token, **expires}))
        return Answer(200, "<EnumerationResults><Blobs/></EnumerationResults>")


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Issuer, str]]:
    """Run the fake; no source of the machine counts."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for patience in ("PROBE_SECONDS", "SECONDS"):
        monkeypatch.setattr(chain, patience, PATIENCE)
    monkeypatch.setenv("PATH", str(tmp_path))
    fake = Issuer()
    with fake_server(fake) as address:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", address)
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", address)
        yield fake, address


def set_all(monkeypatch: pytest.MonkeyPatch, **given: object) -> None:
    """Set variables of the environment."""
    for name, value in given.items():
        monkeypatch.setenv(name, str(value))


def test_a_service_principal_comes_first(
    issuer: tuple[Issuer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a secret; its token is used until shortly before it expires."""
    fake, _ = issuer
    set_all(
        monkeypatch,
        AZURE_CLIENT_ID="client",
        AZURE_TENANT_ID="tenant",
        AZURE_CLIENT_SECRET="canary",
    )
    chain = AzureChain()
    assert ("token-1", "service principal") == (chain.token().value, chain.source)
    assert 1 == len(fake.requests)
    assert "/tenant/oauth2/v2.0/token" == fake.requests[0].path
    assert "token-1" not in repr(chain.token())
    fake.lifetime = 1
    soon = time.time() + 3600
    monkeypatch.setattr("rex.attach.backends.azure.chain.time.time", lambda: soon)
    assert "token-2" == chain.token().value
    assert "token-3" == chain.token().value


def test_a_workload_identity_has_a_file(
    issuer: tuple[Issuer, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file that is missing is named."""
    file = tmp_path / "assertion"
    set_all(
        monkeypatch,
        AZURE_CLIENT_ID="client",
        AZURE_TENANT_ID="tenant",
        AZURE_FEDERATED_TOKEN_FILE=file,
    )
    with pytest.raises(Error, match="workload identity"):
        AzureChain().token()
    file.write_text("signed")
    assert "workload identity" == AzureChain().source
    assert "/tenant/oauth2/v2.0/token" == issuer[0].requests[0].path


def test_a_managed_identity_is_asked(
    issuer: tuple[Issuer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of an App Service, or else that of a virtual machine."""
    fake, address = issuer
    assert "managed identity" == AzureChain().source
    assert "true" == fake.requests[0].headers["Metadata"]
    set_all(monkeypatch, IDENTITY_ENDPOINT=f"{address}/token", IDENTITY_HEADER="canary")
    assert "managed identity" == AzureChain().source
    query = parse_qs(urlsplit(fake.requests[1].path).query)
    assert ["https://storage.azure.com"] == query["resource"]


def test_the_command_of_azure_is_the_last(
    issuer: tuple[Issuer, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a machine outside Azure, after az login."""
    del issuer
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", refused_address())
    program = tmp_path / "az"
    program.write_text('#!/bin/sh\necho \'{"accessToken": "t", "expires_on": 9999999999}\'\n')
    program.chmod(0o755)
    assert "az" == AzureChain().source
    program.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(Error, match="There are no Azure credentials"):
        AzureChain().token()


@pytest.mark.parametrize(("status", "kind"), [(401, Kind.CONFIGURATION), (503, Kind.UNAVAILABLE)])
def test_a_refusal_is_told(
    issuer: tuple[Issuer, str], monkeypatch: pytest.MonkeyPatch, status: int, kind: Kind
) -> None:
    """With what the issuer says of it, and no secret."""
    set_all(
        monkeypatch,
        AZURE_CLIENT_ID="client",
        AZURE_TENANT_ID="tenant",
        AZURE_CLIENT_SECRET="canary",
    )
    body = json.dumps({"error": "invalid_client", "error_description": "AADSTS7000215: Wrong"})
    issuer[0].refusal = Answer(status, body)
    with pytest.raises(Error) as caught:
        AzureChain().token()
    assert kind is caught.value.kind
    assert "AADSTS7000215" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_links_are_signed_with_a_delegation_key(issuer: tuple[Issuer, str]) -> None:
    """It is fetched once; then links need no request."""
    fake, address = issuer
    storage = azure_storage("container", account="acct", endpoint=address)
    storage.check()
    links = storage.abilities.links
    assert links is not None
    handle = storage.reserve("a.txt")
    was_offline = links.is_offline
    link = storage.download_link(handle)
    assert (False, True) == (was_offline, links.is_offline)
    count = len(fake.requests)
    upload = storage.upload_link(handle, method="PUT", expires=60)
    assert count == len(fake.requests)
    assert all(
        request.headers.get("Authorization") == "Bearer token-1" for request in fake.requests[1:]
    )
    expiry = parse_qs(urlsplit(link.url).query)["ske"][0]
    key = DelegationKey("oid", "tid", "2026-01-01T00:00:00Z", expiry, "b", "2023-11-03", "a2V5")
    expected: Any = sign_blob(
        "acct",
        "container",
        handle[1:],
        key=key,
        permissions="c",
        expires_at=upload.expires_at,
    )
    assert expected == upload.url.partition("?")[2]


def test_the_environment_may_have_a_key_or_a_token(
    issuer: tuple[Issuer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for the command az; not if it is that of another account."""
    del issuer
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2023-11-03&sig=canary")
    assert isinstance(of_environment(), SasToken)
    monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V5")
    assert isinstance(of_environment(), AccountKey)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "other")
    assert isinstance(of_environment(), AzureChain)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "acct")
    assert isinstance(of_environment(), AccountKey)


def of_environment() -> Credentials:
    """Give the credentials of a storage without any of its own."""
    return azure_storage("container", account="acct")._container.credentials


def test_a_sas_token_signs_no_links() -> None:
    """The service answers them, if there is one."""
    given = {"account": "acct", "sas_token": "sv=2023-11-03&sig=canary"}
    storage = azure_storage("container", **given)
    assert storage.abilities.links is None
    assert "canary" not in repr(storage._container.credentials)
    served = azure_storage("container", url="http://localhost/attach", **given)
    assert served.abilities.links is not None
    assert served.abilities.links.is_service
