"""Tokens of the Azure chain: environment, workload identity, managed identity, command line.

obstore keeps the tokens of its own chain to itself, but blocks, listings and user delegation keys
need them too. So this chain serves all requests, those of obstore included.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from rex.attach.backends.azure.credentials import Credentials
from rex.attach.links.client import Client, Unreachable
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rex.attach.links.client import Answer

__all__ = ["AzureChain"]

RESOURCE = "https://storage.azure.com"
AUTHORITY = "https://login.microsoftonline.com"
IMDS = "http://169.254.169.254"
RENEWED = 5 * 60
"""Seconds before its expiry after which a token is renewed."""
SECONDS = 10
PROBE_SECONDS = 1
"""The wait for the metadata service, which exists on machines of Azure only."""
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class _Token(NamedTuple):
    value: str
    expires: float
    """In seconds since 1970."""
    source: str

    def __repr__(self) -> str:
        return f"_Token({self.source!r}, ...)"


class AzureChain(Credentials):
    """Tokens of Microsoft Entra ID from the first source that is configured.

    The sources: a service principal with a secret (AZURE_CLIENT_ID, AZURE_TENANT_ID,
    AZURE_CLIENT_SECRET), a workload identity (AZURE_FEDERATED_TOKEN_FILE), a managed identity, and
    the command ``az``. A token is renewed before it expires.
    """

    def __init__(self) -> None:
        self._token: _Token | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "AzureChain()"

    def authorize(
        self, method: str, url: str, headers: dict[str, str]
    ) -> tuple[str, dict[str, str]]:
        """Add a token to the headers."""
        del method
        return url, {**headers, "Authorization": f"Bearer {self.token().value}"}

    def for_obstore(self) -> Any:
        """Return a token."""
        token = self.token()
        expires_at = datetime.datetime.fromtimestamp(token.expires, datetime.UTC)
        return {"token": token.value, "expires_at": expires_at}

    @property
    def source(self) -> str:
        """The source of the token."""
        return self.token().source

    def token(self) -> _Token:
        """Return a valid token.

        Errors: `CONFIGURATION` if there is no source; `UNAVAILABLE` if a source does not answer.
        """
        with self._lock:
            if self._token is None or self._token.expires - RENEWED < time.time():
                self._token = _find_token(os.environ)
            return self._token


def _find_token(environ: Mapping[str, str]) -> _Token:
    client, tenant = environ.get("AZURE_CLIENT_ID"), environ.get("AZURE_TENANT_ID")
    secret, file = environ.get("AZURE_CLIENT_SECRET"), environ.get("AZURE_FEDERATED_TOKEN_FILE")
    if client and tenant and secret:
        form = {"client_id": client, "client_secret": secret}
        return _from_authority(environ, tenant, form, "service principal")
    if client and tenant and file:
        form = {
            "client_id": client,
            "client_assertion_type": _ASSERTION,
            "client_assertion": _read(file),
        }
        return _from_authority(environ, tenant, form, "workload identity")
    found = _from_identity(environ, client) or _from_command(environ)
    if found is None:
        raise Error(
            "There are no Azure credentials; set attach_azure_key or attach_azure_sas_token, or a "
            "source of the Azure chain (environment, managed identity, az login)",
            kind=Kind.CONFIGURATION,
            code="no-credentials",
            setting="attach_azure_key",
        )
    return found


def _from_authority(
    environ: Mapping[str, str], tenant: str, form: dict[str, str], source: str
) -> _Token:
    authority = environ.get("AZURE_AUTHORITY_HOST", AUTHORITY).rstrip("/")
    url = f"{authority}/{tenant}/oauth2/v2.0/token"
    scope = {"grant_type": "client_credentials", "scope": f"{RESOURCE}/.default"}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = _send("POST", url, headers, urlencode(form | scope).encode(), source)
    return _token_of(answer, source)


def _from_identity(environ: Mapping[str, str], client: str | None) -> _Token | None:
    """Return a token of the managed identity; None on a machine outside Azure."""
    query = {"resource": RESOURCE, **({"client_id": client} if client else {})}
    endpoint, header = environ.get("IDENTITY_ENDPOINT"), environ.get("IDENTITY_HEADER")
    if endpoint and header:
        url = f"{endpoint}?{urlencode({'api-version': '2019-08-01', **query})}"
        answer = _send("GET", url, {"X-IDENTITY-HEADER": header}, None, "managed identity")
        return _token_of(answer, "managed identity")
    host = environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST", IMDS).rstrip("/")
    path = "metadata/identity/oauth2/token"
    url = f"{host}/{path}?{urlencode({'api-version': '2018-02-01', **query})}"
    try:
        answer = Client(timeout=PROBE_SECONDS).send("GET", url, {"Metadata": "true"})
    except Unreachable:
        return None
    # Another cloud, or a proxy, may answer at this address.
    return _token_of(answer, "managed identity") if answer.ok else None


def _from_command(environ: Mapping[str, str]) -> _Token | None:
    program = shutil.which("az", path=environ.get("PATH"))
    if program is None:
        return None
    command = [program, "account", "get-access-token", "--output", "json", "--resource", RESOURCE]
    try:
        done = subprocess.run(command, capture_output=True, timeout=30, check=True)  # noqa: S603 - the command of Azure
        found = json.loads(done.stdout)
        return _Token(found["accessToken"], float(found["expires_on"]), "az")
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None


def _send(
    method: str, url: str, headers: dict[str, str], body: bytes | None, source: str
) -> Answer:
    try:
        return Client(timeout=SECONDS).send(method, url, headers, body)
    except Unreachable as failure:
        raise _error(source, str(failure), Kind.UNAVAILABLE) from None


def _token_of(answer: Answer, source: str) -> _Token:
    """Parse a response. Errors: `CONFIGURATION` if it refuses, `UNAVAILABLE` for a server error."""
    try:
        found = json.loads(answer.body)
        if answer.ok:
            expires = float(found.get("expires_on") or time.time() + float(found["expires_in"]))
            return _Token(str(found["access_token"]), expires, source)
        reason = str(found.get("error_description") or found.get("error") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        reason = ""
    passing = answer.status >= 500 or answer.status == 429  # noqa: PLR2004 - RFC 9110, RFC 6585
    kind = Kind.UNAVAILABLE if passing else Kind.CONFIGURATION
    raise _error(source, f"status {answer.status} {reason}".partition("\r")[0][:300].strip(), kind)


def _read(path: str) -> str:
    try:
        return Path(path).read_text("ascii")
    except (OSError, ValueError) as failure:
        raise _error("workload identity", str(failure), Kind.CONFIGURATION) from None


def _error(source: str, reason: str, kind: Kind) -> Error:
    shown = reason if reason.isprintable() else ascii(reason)
    return Error(
        f"The Azure chain has no credentials ({source}), and attach_azure_key is not set",
        shown,
        kind=kind,
        code="no-credentials",
    )
