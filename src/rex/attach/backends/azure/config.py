"""The configuration of a storage on Azure Blob Storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rex.attach.backend.config import BackendSpec, option, read_place, timeout_option
from rex.core import typed

if TYPE_CHECKING:
    from rex.core.secret import AnySecret

__all__ = ["AzureConfig", "spec"]


@dataclass(frozen=True, slots=True)
class AzureConfig:
    """The container, the account, the credentials and the options of requests."""

    container: str = option(
        typed.text, in_url=True, help="the Azure container that keeps the attachments"
    )
    account: str | None = option(typed.text, None, help="the storage account of the container")
    key: AnySecret | None = option(
        typed.text,
        None,
        secret=True,
        help="a key of the account; default: the Azure chain provides the credentials",
    )
    sas_token: AnySecret | None = option(
        typed.text, None, secret=True, help="a SAS token for the container, in place of the key"
    )
    endpoint: str | None = option(
        typed.url,
        None,
        help="the address of the blob service; default: https://ACCOUNT.blob.core.windows.net",
    )
    prefix: str = option(
        typed.text, "", in_url=True, help="the folder in the container for all names"
    )
    timeout: float = timeout_option()


spec = BackendSpec(
    scheme="azure",
    example="azure://container/prefix?account=…",
    config=AzureConfig,
    prefix="attach_azure_",
    read_url=read_place("container"),
    factory="rex.attach.backends.azure.storage:AzureStorage",
    extra="azure",
)
