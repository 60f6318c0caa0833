"""Application default credentials of Google: a file, a user of gcloud, a workload, a machine.

obstore keeps the tokens of its own chain to itself, but sessions, listings and signatures need them
too. So this chain serves all requests, those of obstore included.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from rex.attach.backends.gcs.credentials import (
    SCOPE,
    Credentials,
    Token,
    read_key,
    service_account,
)
from rex.attach.links.client import Client, Unreachable
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rex.attach.links.client import Answer

__all__ = ["GoogleChain", "find_credentials"]

IAM = "https://iamcredentials.googleapis.com"
OAUTH = "https://oauth2.googleapis.com/token"
SECONDS = 10
PROBE_SECONDS = 1
"""The wait for the metadata server, which exists on machines of Google only."""
_METADATA = "computeMetadata/v1/instance/service-accounts/default"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type


def find_credentials(environ: Mapping[str, str] | None = None) -> Credentials:
    """Return the application default credentials; no request is made.

    The sources: the file that GOOGLE_APPLICATION_CREDENTIALS names, the file of ``gcloud auth
    application-default login``, and the metadata server of a machine of Google.
    """
    environ = os.environ if environ is None else environ
    named = environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    folder = environ.get("CLOUDSDK_CONFIG") or str(Path.home() / ".config" / "gcloud")
    usual = Path(folder) / "application_default_credentials.json"
    if not named and not usual.is_file():
        return GoogleChain({"type": "machine"}, environ)
    path = named or usual
    found = read_key(path)
    if found.get("type") == "service_account":
        return service_account(found, path)
    return GoogleChain(found, environ)


class GoogleChain(Credentials):
    """Provides tokens of a source other than a key; the IAM service signs for the account."""

    def __init__(self, source: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        """Use the content of a file of credentials, or the type ``machine``."""
        super().__init__()
        self._source = dict(source)
        self._environ = {"GCE_METADATA_HOST": environ.get("GCE_METADATA_HOST", "")}

    def __repr__(self) -> str:
        return f"GoogleChain({self.source!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._source, self._environ)

    @property
    def source(self) -> str:
        """The type of the source."""
        return str(self._source.get("type"))[:40]

    @functools.cached_property
    def email(self) -> str:
        """The service account that signs links; empty for a user."""
        if self.source == "machine":
            return self._metadata("email").body.decode(errors="replace").strip()
        url = str(self._source.get("service_account_impersonation_url", ""))
        return url.rpartition("/serviceAccounts/")[2].partition(":")[0]

    def sign(self, data: bytes) -> bytes:
        """Return a signature by the IAM service.

        Errors: `DENIED` if the account may not sign for itself; `UNAVAILABLE`; `CONFIGURATION`.
        """
        url = f"{IAM}/v1/projects/-/serviceAccounts/{self.email}:signBlob"
        body = json.dumps({"payload": base64.b64encode(data).decode()}).encode()
        answer = _send("POST", url, self._json_headers(self.token().value), body)
        if answer.status == 403:  # noqa: PLR2004 - RFC 9110
            raise Error(
                "The service account may not sign links; it needs the role Service Account Token "
                "Creator on itself",
                self.email,
                kind=Kind.DENIED,
                code="no-permission",
            )
        return base64.b64decode(_field(answer, "signedBlob"))

    def _fetch(self) -> Token:
        if self.source == "machine":
            return _token_of(self._metadata(f"token?{urlencode({'scopes': SCOPE})}"))
        if self.source == "authorized_user":
            names = ("client_id", "client_secret", "refresh_token")
            form = {name: str(self._source.get(name, "")) for name in names}
            return _token_of(_post_form(OAUTH, {"grant_type": "refresh_token", **form}))
        if self.source == "external_account":
            return self._exchange()
        raise _error(f"credentials of the type {self.source!r} are not supported")

    def _metadata(self, name: str) -> Answer:
        host = self._environ["GCE_METADATA_HOST"] or "metadata.google.internal"
        url, headers = f"http://{host}/{_METADATA}/{name}", {"Metadata-Flavor": "Google"}
        try:
            answer = Client(timeout=PROBE_SECONDS).send("GET", url, headers)
        except Unreachable:
            raise _error("no file of credentials, and no metadata server") from None
        if not answer.ok:
            raise _error(f"the metadata server answered {answer.status}")
        return answer

    def _exchange(self) -> Token:
        """Return a token for that of another identity provider (RFC 8693)."""
        form = {
            "grant_type": _EXCHANGE,
            "audience": str(self._source.get("audience", "")),
            "scope": SCOPE,
            "requested_token_type": _ACCESS_TOKEN,
            "subject_token_type": str(self._source.get("subject_token_type", "")),
            "subject_token": self._subject_token(),
        }
        token = _token_of(_post_form(self._url("token_url"), form))
        url = self._url("service_account_impersonation_url")
        if not url:
            return token
        body = json.dumps({"scope": [SCOPE]}).encode()
        answer = _send("POST", url, self._json_headers(token.value), body)
        return Token(_field(answer, "accessToken"), time.time() + 3600)

    def _url(self, name: str) -> str:
        url = str(self._source.get(name) or "")
        if url and not url.startswith("https://"):
            raise _error(f"{name} must begin with https://")
        return url

    def _subject_token(self) -> str:
        source = self._source.get("credential_source")
        path = source.get("file") if isinstance(source, dict) else None
        if not isinstance(path, str):
            raise _error("the token of a workload must be in a file (credential_source.file)")
        try:
            text = Path(path).read_text("utf-8").strip()
            form = source.get("format", {}) if isinstance(source, dict) else {}
            if form.get("type") == "json":
                return str(json.loads(text)[form["subject_token_field_name"]])
        except (OSError, ValueError, KeyError, TypeError) as failure:
            raise _error(f"{path}: {type(failure).__name__}") from None
        return text

    def _json_headers(self, token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


def _post_form(url: str, form: Mapping[str, str]) -> Answer:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return _send("POST", url, headers, urlencode(form).encode())


def _send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    try:
        return Client(timeout=SECONDS).send(method, url, headers, body)
    except Unreachable as failure:
        raise _error(str(failure), Kind.UNAVAILABLE) from None


def _token_of(answer: Answer) -> Token:
    lifetime = _field(answer, "expires_in")
    return Token(_field(answer, "access_token"), time.time() + float(lifetime or 0))


def _field(answer: Answer, name: str) -> str:
    """Return a field of a response. Errors: `CONFIGURATION`; `UNAVAILABLE` for a server error."""
    try:
        found = json.loads(answer.body)
        if answer.ok:
            return str(found[name])
        reason = str(found.get("error_description") or found.get("error") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        reason = ""
    passing = answer.status >= 500 or answer.status == 429  # noqa: PLR2004 - RFC 9110, RFC 6585
    kind = Kind.UNAVAILABLE if passing else Kind.CONFIGURATION
    raise _error(f"status {answer.status} {reason}"[:300].strip(), kind)


def _error(reason: str, kind: Kind = Kind.CONFIGURATION) -> Error:
    return Error(
        "There are no Google credentials; set attach_gcs_key, or provide application default "
        "credentials (GOOGLE_APPLICATION_CREDENTIALS, gcloud, a service account of the machine)",
        reason if reason.isprintable() else ascii(reason),
        kind=kind,
        code="no-credentials",
        setting="attach_gcs_key",
    )
