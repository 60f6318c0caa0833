"""Attachments on Azure Blob Storage, with links that bypass the application."""

from __future__ import annotations

import datetime
import hashlib
import hmac
from typing import TYPE_CHECKING, Any, Unpack

from rex.attach.backend.abilities import Abilities
from rex.attach.backends.azure.codes import AZURE_CODES, PLACE
from rex.attach.backends.azure.container import Container
from rex.attach.backends.azure.control import AzureFailure
from rex.attach.backends.azure.credentials import AccountKey
from rex.attach.backends.objects.storage import ObjectStorage
from rex.attach.backends.service_links import ServiceLinks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rex.attach.backend.abilities import LinkSigner
    from rex.attach.backend.diagnostics import Doctor
    from rex.attach.backend.failures import Meaning
    from rex.attach.backend.garbage import Garbage
    from rex.attach.backends.azure.config import AzureConfig
    from rex.attach.content.content import Content
    from rex.attach.storage import StorageOptions

__all__ = ["AzureStorage"]

TOKENS_PURPOSE = b"rex.attach: the secret of tokens"
LEVELS = 3
"""The folders of a handle before its UUID: year, month and day."""


class AzureStorage(ObjectStorage):
    """Attachments in a container of an Azure storage account."""

    _codes = AZURE_CODES

    def __init__(self, config: AzureConfig, **options: Unpack[StorageOptions]) -> None:
        """Use a container; make no request yet."""
        container = Container(config)
        super().__init__(container, **options)
        self._container = container
        self.account = container.account
        self.container = container.name
        self.endpoint = container.endpoint

    def __repr__(self) -> str:
        return f"AzureStorage('azure://{self.container}/{self.prefix}', account={self.account!r})"

    def __reduce__(self) -> tuple[object, ...]:
        """Return how to open the same container."""
        return self._restorable(self._container.config)

    def _put_large(self, key: str, content: Content, content_type: str) -> None:
        self._container.put_parts(key, content, content_type)

    def _delete(self, key: str) -> None:
        self._container.remove(self._container.path(key))

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        folder = "" if day is None else day.isoformat().replace("-", "/") + "/"
        for name in self._names(folder, after):
            if not name.startswith(f"{PLACE}/"):
                yield name

    def _names(self, folder: str, after: str | None) -> Iterator[str]:
        """Yield the keys in a folder after a key; skip the folders that are before it.

        Azure cannot begin a listing after a name, so this goes down the folders of the name.
        """
        control, path = self._container.control, self._container.path(folder)
        if after is None or folder > after:
            for found in control.objects(path):
                yield found.name.removeprefix(self.prefix)
            return
        is_flat = folder.count("/") >= LEVELS or not after.startswith(folder)
        for found in control.objects(path, is_flat=is_flat):
            name = found.name.removeprefix(self.prefix)
            if found.is_prefix and (name > after or after.startswith(name)):
                yield from self._names(name, after)
            elif not found.is_prefix and name > after:
                yield name

    def _abilities(self) -> Abilities:
        from rex.attach.backends.azure.multipart import AzureMultipart
        from rex.attach.backends.azure.resumable import AzureResumable
        from rex.attach.backends.azure.rules import AzureRules

        return Abilities(
            links=self._links(),
            resumable=AzureResumable(self._container),
            multipart=AzureMultipart(self._container),
            bucket=AzureRules(self._container),
            garbage=self._garbage,
            diagnostics=self._doctors,
            one_remover=True,
            create_once=True,
        )

    def _links(self) -> LinkSigner | None:
        """Return the signer of the links; without a key to sign with, the service's, or None."""
        from rex.attach.backends.azure.links import AzureLinks

        service = None if self.url is None else ServiceLinks(self.url, lambda: self.tokens)
        if not self._container.signs:
            return service
        return AzureLinks(self._container, service)

    def _garbage(self, before: datetime.datetime) -> Iterator[Garbage]:
        from rex.attach.backends.azure.garbage import find_garbage

        return find_garbage(
            self._container, before, datetime.timedelta(seconds=self.upload_expires)
        )

    def _doctors(self) -> Sequence[Doctor[Any]]:
        from rex.attach.backends.azure.diagnostics import AzureDoctor

        return (AzureDoctor(self, self._container),)

    def _check(self, *, create: bool) -> None:
        from rex.attach.backends.azure.check import check_container

        del create  # nothing needs to be created in a container
        check_container(self._container)

    def _own_secret(self) -> bytes:
        credentials = self._container.credentials
        if not isinstance(credentials, AccountKey):
            # Credentials that change cannot derive a lasting secret.
            return super()._own_secret()
        return hmac.digest(credentials.key.encode(), TOKENS_PURPOSE, hashlib.sha256)

    def _explain(self, failure: Exception) -> Meaning | None:
        if isinstance(failure, AzureFailure):
            return failure.meaning
        return super()._explain(failure)
