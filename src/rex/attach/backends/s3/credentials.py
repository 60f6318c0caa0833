"""Where the keys of S3 come from: the settings, or else the usual AWS chain."""

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
"""botocore renews temporary credentials when they have less than 15 minutes left."""


def static_credentials(
    access_key: str | None, secret_key: Secret | None, session_token: Secret | None
) -> CredentialsProvider | None:
    """Provide the keys that were given, or None when none were.

    Errors: `CONFIGURATION` when only a part of them was given.
    """
    if access_key is None and secret_key is None and session_token is None:
        return None
    if access_key is None or secret_key is None:
        missing = "attach_s3_access_key" if access_key is None else "attach_s3_secret_key"
        raise Error(
            "The S3 keys are given in part; give all of them, or none to use the AWS chain",
            f"missing: {missing}",
            kind=Kind.CONFIGURATION,
        )
    token = None if session_token is None else session_token.reveal()
    credentials = Credentials(access_key, secret_key.reveal(), token)
    return lambda: credentials


class AwsChain:
    """The chain of AWS: environment, profile files, container and instance roles.

    Temporary credentials are renewed before they expire. botocore does all of it.
    """

    def __init__(self) -> None:
        self._session: Any = None
        self._found: Any = None

    def __repr__(self) -> str:
        return "AwsChain()"

    def __call__(self) -> Credentials:
        """Give the credentials of this moment.

        Errors: `CONFIGURATION` when there are none, or only a part of them; `UNAVAILABLE` when
        whoever gives them out does not answer, or gives out expired ones.
        """
        with _explain_errors():
            if self._found is None:
                self._found = self._find()
            frozen = self._found.get_frozen_credentials()
        # Refreshable credentials alone know when they end, and botocore has no public name for it.
        expires_at = getattr(self._found, "_expiry_time", None)
        if expires_at is not None:
            # botocore's own UTC is another object, and obstore takes none but this.
            expires_at = expires_at.astimezone(datetime.UTC)
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token, expires_at)

    @property
    def is_at_hand(self) -> bool:
        """Whether the credentials of this moment are known, and not about to be renewed."""
        if self._found is None:
            return False
        expires_at = getattr(self._found, "_expiry_time", None)  # as above
        return expires_at is None or expires_at - datetime.datetime.now(datetime.UTC) > RENEWED

    @property
    def method(self) -> str:
        """What of the chain gave the credentials, in the words of botocore."""
        return str(getattr(self._found, "method", None) or "unknown")

    def region(self) -> str | None:
        """Give the region that the environment or the profile names, if any."""
        with _explain_errors():
            region = self._botocore().get_config_variable("region")
        return region if isinstance(region, str) else None

    def _find(self) -> Any:
        found = self._botocore().get_credentials()
        if found is None:
            raise Error(
                "There are no S3 credentials: give attach_s3_access_key and attach_s3_secret_key, "
                "or what the AWS chain looks for (environment, profile, role)",
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
    """Turn whatever botocore raises into an `Error`: it is the chain's, not an attachment's."""
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

        # That the keys it was given have expired already, botocore says with a RuntimeError.
        passing = (CredentialRetrievalError, HTTPClientError, MetadataRetrievalError, RuntimeError)
        kind = Kind.UNAVAILABLE if isinstance(failure, passing) else Kind.CONFIGURATION
        raise Error(
            "The AWS chain cannot provide the S3 keys, and attach_s3_access_key is not given",
            f"{type(failure).__name__}: {failure}",
            kind=kind,
            code="no-credentials",
        ) from failure
