"""S3 credentials from the settings, or else from the AWS credential chain."""

from __future__ import annotations

import datetime
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rex.attach.links.sigv4 import Credentials
from rex.core import Error, Kind, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    CredentialsProvider = Callable[[], Credentials]

__all__ = ["AwsChain", "CredentialsProvider", "static_credentials"]


RENEWED = datetime.timedelta(minutes=20)
"""Minimum lifetime of cached credentials; botocore renews those with less than 15 minutes left."""


def static_credentials(
    access_key: str | None, secret_key: Secret | None, session_token: Secret | None
) -> CredentialsProvider | None:
    """Return a provider of the given credentials, or None if none are given.

    Errors: `CONFIGURATION` if the credentials are incomplete.
    """
    if access_key is None and secret_key is None and session_token is None:
        return None
    if access_key is None or secret_key is None:
        missing = "attach_s3_access_key" if access_key is None else "attach_s3_secret_key"
        raise Error(
            "The S3 credentials are incomplete; set all of them, or none to use the AWS chain",
            f"missing: {missing}",
            kind=Kind.CONFIGURATION,
        )
    token = None if session_token is None else session_token.reveal()
    credentials = Credentials(access_key, secret_key.reveal(), token)
    return lambda: credentials


class AwsChain:
    """The AWS credential chain: environment, profile files, container and instance roles.

    botocore implements the chain, and renews temporary credentials before they expire.
    """

    def __init__(self) -> None:
        self._session: Any = None
        self._found: Any = None

    def __repr__(self) -> str:
        return "AwsChain()"

    def __call__(self) -> Credentials:
        """Return the current credentials.

        Errors: `CONFIGURATION` if there are none, or if they are incomplete; `UNAVAILABLE` if the
        credential service does not answer, or returns expired credentials.
        """
        with _explain_errors():
            if self._found is None:
                self._found = self._find()
            frozen = self._found.get_frozen_credentials()
        # Only refreshable credentials have an expiry, and botocore has no public name for it.
        expires_at = getattr(self._found, "_expiry_time", None)
        if expires_at is not None:
            # obstore accepts only this UTC object, not botocore's.
            expires_at = expires_at.astimezone(datetime.UTC)
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token, expires_at)

    @property
    def is_at_hand(self) -> bool:
        """Whether the current credentials are cached, and not about to be renewed."""
        if self._found is None:
            return False
        expires_at = getattr(self._found, "_expiry_time", None)  # as above
        return expires_at is None or expires_at - datetime.datetime.now(datetime.UTC) > RENEWED

    @property
    def method(self) -> str:
        """The provider in the chain that returned the credentials, as botocore names it."""
        return str(getattr(self._found, "method", None) or "unknown")

    def region(self) -> str | None:
        """Return the region of the environment or the profile, or None."""
        with _explain_errors():
            region = self._botocore().get_config_variable("region")
        return region if isinstance(region, str) else None

    def _find(self) -> Any:
        found = self._botocore().get_credentials()
        if found is None:
            raise Error(
                "There are no S3 credentials; set attach_s3_access_key and attach_s3_secret_key, "
                "or a source of the AWS chain (environment, profile, role)",
                kind=Kind.CONFIGURATION,
                code="no-credentials",
            )
        return found

    def _botocore(self) -> Any:
        if self._session is None:
            import botocore.session

            self._session = botocore.session.get_session()
        return self._session


@contextmanager
def _explain_errors() -> Iterator[None]:
    """Map exceptions of botocore to `Error`: they concern the chain, not an attachment."""
    try:
        yield
    except Error:
        raise
    except Exception as failure:
        from botocore.exceptions import (
            CredentialRetrievalError,
            HTTPClientError,
            MetadataRetrievalError,
        )

        # botocore raises RuntimeError if the credentials it received have expired already.
        passing = (CredentialRetrievalError, HTTPClientError, MetadataRetrievalError, RuntimeError)
        kind = Kind.UNAVAILABLE if isinstance(failure, passing) else Kind.CONFIGURATION
        raise Error(
            "The AWS chain has no S3 credentials, and attach_s3_access_key is not set",
            f"{type(failure).__name__}: {failure}",
            kind=kind,
            code="no-credentials",
        ) from failure
