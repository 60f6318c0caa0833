"""The start-up check of a container: the setting that is wrong, by the error code of Azure."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

from rex.attach.backend.failures import Meaning
from rex.attach.backends.azure.control import AzureFailure
from rex.attach.backends.azure.credentials import AccountKey, SasToken
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.backends.azure.container import Container

__all__ = ["check_container"]

_SERVER_ERROR = http.client.INTERNAL_SERVER_ERROR


def check_container(container: Container) -> None:
    """List the container once, and explain an error response.

    Errors: `CONFIGURATION` with the setting that is wrong; `ABSENT` if the container does not
    exist; `DENIED` if a permission is missing; `UNAVAILABLE` if the server does not respond, or has
    an internal error.
    """
    query = {"restype": "container", "comp": "list", "maxresults": "1", "prefix": container.prefix}
    try:
        answer = container.control.ask_once("GET", None, query)
    except AzureFailure as failure:
        raise _explain(container, failure) from None
    if b"<EnumerationResults" not in answer.body:
        raise _not_azure(container, f"status {answer.status}")


def _explain(container: Container, failure: AzureFailure) -> Error:
    shown = f"{container.url}: {failure.code}: {failure.message}"[:500].rstrip(": ")
    if failure.code == "Unreachable":
        kind = Kind.UNAVAILABLE if failure.is_passing else Kind.CONFIGURATION
        return Error(
            "The Azure server cannot be reached",
            f"{container.endpoint}: {failure.message}",
            kind=kind,
            code="server-unreachable",
            setting="attach_azure_account" if container.is_default else "attach_azure_endpoint",
        )
    if failure.code in _OF_NAME:
        return _OF_NAME[failure.code].error(container.name)
    if failure.code in ("AuthenticationFailed", "InvalidAuthenticationInfo"):
        return _credentials_error(container, failure).error(shown)
    if failure.kind is Kind.DENIED:
        return failure.meaning.error(shown)
    if failure.status >= _SERVER_ERROR:
        return Error("The Azure server has an error", shown, kind=Kind.UNAVAILABLE)
    return _not_azure(container, f"status {failure.status} {failure.code}")


def _credentials_error(container: Container, failure: AzureFailure) -> Meaning:
    message = failure.message.lower()
    if "date header" in message or "too old" in message:
        return _CLOCK
    credentials = container.credentials
    if isinstance(credentials, SasToken):
        is_expired = "expir" in message or "time frame" in message or credentials.has_expired
        return _EXPIRED if is_expired else _WRONG_SAS
    if isinstance(credentials, AccountKey):
        return _CLOCK if container.has_clock_skew() else _WRONG_KEY
    return _WRONG_TOKEN


def _not_azure(container: Container, found: str) -> Error:
    return Error(
        "The server at this address is not an Azure blob service",
        f"{container.endpoint}: {found}".rstrip(),
        kind=Kind.CONFIGURATION,
        code="not-azure",
        setting="attach_azure_endpoint",
    )


_NO_CONTAINER = Meaning(
    Kind.ABSENT,
    "The container does not exist",
    code="no-container",
    setting="attach_azure_container",
)
_WRONG_NAME = Meaning(
    Kind.CONFIGURATION,
    "The server does not accept the name of the container",
    code="wrong-setting",
    setting="attach_azure_container",
)
_OF_NAME = {
    "ContainerNotFound": _NO_CONTAINER,
    "ContainerBeingDeleted": _NO_CONTAINER,
    "InvalidResourceName": _WRONG_NAME,
    "OutOfRangeInput": _WRONG_NAME,
}
_WRONG_KEY = Meaning(
    Kind.CONFIGURATION,
    "The account key is wrong, or belongs to another account",
    code="wrong-account-key",
    setting="attach_azure_key",
)
_WRONG_SAS = Meaning(
    Kind.CONFIGURATION,
    "The SAS token is wrong, or belongs to another account",
    code="wrong-sas-token",
    setting="attach_azure_sas_token",
)
_EXPIRED = Meaning(
    Kind.CONFIGURATION,
    "The SAS token has expired, or is not valid yet",
    code="credentials-expired",
    setting="attach_azure_sas_token",
)
_WRONG_TOKEN = Meaning(
    Kind.CONFIGURATION,
    "The server does not accept the token of the Azure chain",
    code="wrong-token",
)
_CLOCK = Meaning(
    Kind.CONFIGURATION,
    "The clocks of this machine and of the Azure server differ too much",
    code="clock-skew",
)
