"""The credentials of a container: an account key, a SAS token, or tokens of the Azure chain."""

from __future__ import annotations

import abc
import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from rex.attach.backends.azure.shared_key import authorization
from rex.attach.links.sas import decode_key

if TYPE_CHECKING:
    from rex.core import Secret

__all__ = ["AccountKey", "Credentials", "SasToken"]


class Credentials(abc.ABC):
    """Authorizes the requests of our own client and of obstore."""

    @abc.abstractmethod
    def authorize(
        self, method: str, url: str, headers: dict[str, str]
    ) -> tuple[str, dict[str, str]]:
        """Return the address and the headers with which to send a request."""

    @abc.abstractmethod
    def for_obstore(self) -> Any:
        """Return the credentials in the form that obstore expects."""


class AccountKey(Credentials):
    """A key of the storage account."""

    def __init__(self, account: str, key: Secret) -> None:
        decode_key(key.reveal())
        self.account = account
        self._key = key

    def __repr__(self) -> str:
        return f"AccountKey({self.account!r})"

    @property
    def key(self) -> str:
        """The key in Base64."""
        return self._key.reveal()

    def authorize(
        self, method: str, url: str, headers: dict[str, str]
    ) -> tuple[str, dict[str, str]]:
        """Sign the request with the key."""
        signed = authorization(method, url, headers, account=self.account, key=self.key)
        return url, {**headers, "Authorization": signed}

    def for_obstore(self) -> Any:
        """Return the key."""
        return {"access_key": self.key, "expires_at": None}


class SasToken(Credentials):
    """A SAS token for the container or the account."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    def __repr__(self) -> str:
        return "SasToken()"

    @property
    def token(self) -> str:
        """The token: the query of a URL, without the question mark."""
        return self._token.reveal().lstrip("?")

    @property
    def fields(self) -> dict[str, str]:
        """The parameters of the token."""
        return dict(parse_qsl(self.token))

    @property
    def has_expired(self) -> bool:
        """Whether the token has expired by the clock of this machine."""
        try:
            ends = datetime.datetime.fromisoformat(self.fields.get("se", ""))
        except ValueError:
            return False
        return ends.replace(tzinfo=ends.tzinfo or datetime.UTC) < datetime.datetime.now(
            datetime.UTC
        )

    def authorize(
        self, method: str, url: str, headers: dict[str, str]
    ) -> tuple[str, dict[str, str]]:
        """Append the token to the address."""
        del method
        return f"{url}{'&' if '?' in url else '?'}{self.token}", headers

    def for_obstore(self) -> Any:
        """Return the token."""
        return {"sas_token": self.token, "expires_at": None}
