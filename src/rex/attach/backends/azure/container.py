"""A container: its address and credentials, and how blobs are stored in it."""

from __future__ import annotations

import datetime
import functools
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from rex.attach.backends.azure.blocks import block_id, new_tag, read_id
from rex.attach.backends.azure.codes import DISCARDED
from rex.attach.backends.azure.control import AzureControl
from rex.attach.backends.azure.credentials import AccountKey, SasToken
from rex.attach.backends.azure.delegation import DelegationKeys
from rex.attach.backends.objects import native
from rex.attach.backends.objects.connection import (
    check_name,
    client_options,
    origin,
    retry_options,
    server_time,
)
from rex.attach.backends.objects.objects import (
    Objects,
    digest_metadata,
    encode_upload_metadata,
    object_headers,
)
from rex.attach.backends.objects.parts import send_concurrently
from rex.core import Error, Kind, Secret
from rex.core.secret import reveal

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import AzureStore

    from rex.attach.backends.azure.config import AzureConfig
    from rex.attach.backends.azure.credentials import Credentials
    from rex.attach.content.content import Content
    from rex.attach.info import Metadata
    from rex.attach.links.sas import DelegationKey

__all__ = ["MAX_SKEW", "Container", "blob_headers"]

MAX_SKEW = 15 * 60
"""Seconds between the clocks from which Azure refuses requests."""
_ACCOUNT = re.compile(r"[a-z0-9-]{3,63}")
_ACCOUNT_RULE = "The account must consist of 3 to 24 lower-case letters and digits"
_ACCOUNT_VARIABLES = ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME")
_KEY_VARIABLES = ("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY")
_SAS_VARIABLE = "AZURE_STORAGE_SAS_TOKEN"
_CONTAINER = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*|\$root|\$web")
_CONTAINER_RULE = (
    "The container name must consist of 3 to 63 lower-case letters, digits and single hyphens, and "
    "begin and end with a letter or digit"
)


class Container(Objects):
    """A container in a storage account; see `AzureStorage`."""

    def __init__(self, config: AzureConfig) -> None:
        super().__init__(config.prefix, setting="attach_azure_prefix")
        self.config = config
        self.name = check_name(
            config.container, _CONTAINER, "attach_azure_container", _CONTAINER_RULE
        )
        self.account = check_name(
            config.account or "", _ACCOUNT, "attach_azure_account", _ACCOUNT_RULE
        )
        self.endpoint = origin(config.endpoint or f"https://{self.account}.blob.core.windows.net")
        self.credentials = _credentials(config, self.account)

    @property
    def url(self) -> str:
        """The address of the container."""
        return f"{self.endpoint}/{self.name}"

    @property
    def is_default(self) -> bool:
        """Whether the address follows from the account."""
        return self.config.endpoint is None

    # The keys that sign links.

    @property
    def signs(self) -> bool:
        """Whether the credentials can sign links; a SAS token cannot."""
        return not isinstance(self.credentials, SasToken)

    @property
    def has_signing_key(self) -> bool:
        """Whether the key that signs links is cached, so that signing needs no request."""
        return isinstance(self.credentials, AccountKey) or self._delegation.is_cached

    def signing_key(
        self, expires_at: datetime.datetime
    ) -> tuple[str | DelegationKey, datetime.datetime]:
        """Return the key that signs a link, and when the link expires: with it, at the latest."""
        if isinstance(self.credentials, AccountKey):
            return self.credentials.key, expires_at
        return self._delegation.for_link(expires_at)

    @functools.cached_property
    def _delegation(self) -> DelegationKeys:
        return DelegationKeys(self.control)

    def clock_skew(self) -> float | None:
        """Return by how many seconds this clock is ahead of the server's; None if unknown."""
        theirs = server_time(self.endpoint)
        return None if theirs is None else (_now() - theirs).total_seconds()

    def has_clock_skew(self) -> bool:
        """Return whether the clocks differ by more than Azure accepts."""
        return abs(self.clock_skew() or 0) > MAX_SKEW

    # Requests.

    @functools.cached_property
    def control(self) -> AzureControl:
        """The client for all requests other than those for blobs."""
        return AzureControl(
            self.url,
            service=self.endpoint,
            credentials=self.credentials,
            timeout=self.config.timeout,
        )

    def _connect(self) -> AzureStore:
        endpoint, seconds = self.endpoint, self.config.timeout
        return native.obstore.store.AzureStore(
            self.name,
            # Override all that obstore would read from the environment.
            config={
                "account_name": self.account,
                "endpoint": self.endpoint,
                "use_emulator": False,
                "use_fabric_endpoint": False,
                "skip_signature": False,
                "disable_tagging": True,
            },
            # Must not refer to the container, which has the client: see `Bucket`.
            credential_provider=_provider(self.credentials),
            client_options=client_options(endpoint, endpoint, seconds),
            retry_config=retry_options(seconds),
        )

    def _describe(self, result: GetResult) -> Metadata:
        if result.attributes.get(DISCARDED):
            raise FileNotFoundError
        return super()._describe(result)

    def delete(self, path: str) -> None:
        """Remove a blob, if it exists."""
        with suppress(FileNotFoundError):
            super().delete(path)

    def remove(self, path: str) -> None:
        """Remove a blob. Errors: `FileNotFoundError` for all but one of several callers."""
        self.control.delete(path)

    def put_whole(
        self,
        key: str,
        whole: bytes,
        content_type: str,
        *,
        digest: str,
        upload_metadata: str,
        mode: Literal["create", "overwrite"],
    ) -> None:
        """Store a blob in one request, with its SHA-256 and upload metadata."""
        try:
            super().put_whole(
                key, whole, content_type, digest=digest, upload_metadata=upload_metadata, mode=mode
            )
        except native.obstore.exceptions.AlreadyExistsError:
            if self.exists(key):
                raise
            # Another client has uncommitted blocks, which Azurite takes for a blob.
            headers = blob_headers(
                key, content_type, digest=digest, upload_metadata=upload_metadata
            )
            name = block_id(new_tag(), 0, len(whole))
            if whole:
                self.control.put_block(self.path(key), name, whole)
            self.control.commit(self.path(key), [name] if whole else [], headers)

    def put_parts(self, key: str, content: Content, content_type: str) -> None:
        """Store content as blocks, unless the blob exists; leave nothing after a failure.

        Of several concurrent calls, one succeeds; the others raise `FileExistsError`.
        """
        control, path, tag = self.control, self.path(key), new_tag()

        def send(_: int, offset: int, data: bytes) -> str:
            name = block_id(tag, offset, len(data))
            control.put_block(path, name, data)
            return name

        try:
            names = send_concurrently(content, send)
            headers = blob_headers(
                key, content_type, digest=content.digest, upload_metadata=content.upload_metadata
            )
            control.commit(path, names, headers)
        except BaseException:
            with suppress(Exception):  # Azure removes them after a week
                self.discard(path, tag)
            raise

    def discard(self, path: str, tag: str) -> None:
        """Remove the uncommitted blocks with a tag, unless other clients have blocks too."""
        blocks = self.control.blocks(path)
        is_ours = all(read_id(block.id)[0] == tag for block in blocks)
        if blocks and is_ours and not any(block.is_committed for block in blocks):
            with suppress(FileExistsError):
                self.control.discard(path)


def blob_headers(
    key: str, content_type: str, *, digest: str | None, upload_metadata: str
) -> dict[str, str]:
    """Return the headers of a request that creates a blob, with its attributes."""
    attributes = {
        f"x-ms-blob-{name.lower()}": value
        for name, value in object_headers(key, content_type).items()
    }
    metadata = {**encode_upload_metadata(upload_metadata), **digest_metadata(digest)}
    return attributes | {f"x-ms-meta-{name}": value for name, value in metadata.items()}


def _credentials(config: AzureConfig, account: str) -> Credentials:
    if config.key is not None and config.sas_token is not None:
        raise Error(
            "The account key and the SAS token are both set; set only one",
            kind=Kind.CONFIGURATION,
            code="wrong-setting",
            setting="attach_azure_sas_token",
        )
    if config.sas_token is not None:
        return SasToken(Secret(str(reveal(config.sas_token))))
    if config.key is not None:
        return AccountKey(account, Secret(str(reveal(config.key))))
    return _from_environment(account)


def _from_environment(account: str) -> Credentials:
    """Return the key or the SAS token of the environment, or else the chain of tokens.

    The variables are those of the command ``az`` and of obstore; they are ignored if the
    environment names another account.
    """
    from rex.attach.backends.azure.chain import AzureChain

    named = {os.environ.get(name) for name in _ACCOUNT_VARIABLES} - {None, ""}
    if not named or account in named:
        for name in _KEY_VARIABLES:
            if os.environ.get(name):
                return AccountKey(account, Secret(os.environ[name]))
        if os.environ.get(_SAS_VARIABLE):
            return SasToken(Secret(os.environ[_SAS_VARIABLE]))
    return AzureChain()


def _provider(credentials: Credentials) -> Any:
    """Return the provider of credentials in the form that obstore expects."""
    return credentials.for_obstore


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
