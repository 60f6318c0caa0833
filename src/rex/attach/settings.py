"""The settings of every storage and of the HTTP service; backends declare their own settings."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any

from rex.attach.links.link import MAX_LINK_SECONDS
from rex.core import Error, Kind, Setting, typed
from rex.core.typed import MIN_KEY_LENGTH, Type

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.core import Secret, Settings

__all__ = [
    "FALLBACK",
    "NAMES",
    "SERVICE",
    "STORAGE",
    "bearer_keys",
    "check_rule",
    "comma_separated",
    "cors_origins",
    "host_names",
    "import_rule",
    "rule_name",
]

NAMES = ("none", "public", "bearer")
"""The access rules that need no function."""

_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""``module:function``, of Python identifiers."""

_HOST_NAME = re.compile(r"[0-9A-Za-z_](?:[0-9A-Za-z_.-]*[0-9A-Za-z_.])?|\[[0-9A-Fa-f:.]+\]")
"""A host name or address in the header Host, without the port (RFC 3986, section 3.2.2)."""


def _read_rule(given: object) -> str:
    if not isinstance(given, str) or not (given in NAMES or _REFERENCE.fullmatch(given)):
        raise ValueError
    return given


def _read_hosts(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError
    names = comma_separated(given)
    if not names or not all(map(_HOST_NAME.fullmatch, names)):
        raise ValueError
    return given


rule_name = Type(f"{', '.join(NAMES)} or module:function", _read_rule)
"""The type of attach_access; it rejects a misspelt name before a function is imported."""

host_names = Type("host names without ports, as 'example.org, localhost, [::1]'", _read_hosts)
"""The type of attach_hosts."""

MAX_SIZE = Setting(
    "attach_max_size",
    typed.size,
    help="the maximum size of an attachment; default: no limit",
)

LINK_EXPIRES = Setting(
    "attach_link_expires",
    typed.between(typed.duration, 1, MAX_LINK_SECONDS, "from 1 second to 7 days"),
    3600.0,
    help="how long a link works, at most 7 days",
)

FALLBACK = Setting(
    "attach_fallback",
    typed.text,
    help="the URL of an older storage, read for attachments that have not been moved yet: "
    "file:///directory or s3://bucket?endpoint=…",
)

URL = Setting(
    "attach_url",
    typed.url,
    help="the address at which clients reach the service, for service links: "
    "https://example.org/attach",
)

SECRET = Setting(
    "attach_secret",
    typed.key,
    help="the secret that signs service links and upload tokens; default: generated per storage",
    secret=True,
)

UPLOAD_EXPIRES = Setting(
    "attach_upload_expires",
    typed.between(typed.duration, 60, 366 * 24 * 3600, "from a minute to a year"),
    7 * 24 * 3600.0,
    help="how long a resumable upload may take",
)

MAX_UPLOADS = Setting(
    "attach_max_uploads",
    typed.between(typed.integer, 1, 10**9, "at least 1"),
    1000,
    help="the maximum number of unfinished resumable uploads of a user",
)

ACCESS = Setting(
    "attach_access",
    rule_name,
    "none",
    help="who may use the service over HTTP: none, public, bearer or module:function",
)

ACCESS_KEYS = Setting(
    "attach_access_keys",
    typed.text,
    help="the keys that bearer accepts, separated by commas",
    secret=True,
)

ORIGINS = Setting(
    "attach_origins",
    typed.text,
    "",
    help="other sites whose pages may upload and remove, such as https://example.org, "
    "separated by commas",
)

HOSTS = Setting(
    "attach_hosts",
    host_names,
    "",
    help="the host names that clients may use for the service, separated by commas; default: any",
)

REDIRECT = Setting(
    "attach_redirect",
    typed.boolean,
    False,
    help="whether to redirect a download to a download link",
)

STALL = Setting(
    "attach_stall_timeout",
    typed.between(typed.duration, 0.1, 3600, "from a tenth of a second to an hour"),
    30.0,
    help="how long to wait for a client that neither sends nor receives",
)

STORAGE = (MAX_SIZE, LINK_EXPIRES, URL, SECRET, UPLOAD_EXPIRES, MAX_UPLOADS)
"""The settings of every storage."""

SERVICE = (ACCESS, ACCESS_KEYS, ORIGINS, HOSTS, REDIRECT, STALL)
"""The settings of the HTTP service."""


def cors_origins(settings: Settings) -> list[str]:
    """Return the origins in attach_origins, whose pages may upload and remove."""
    return comma_separated(settings[ORIGINS])


def comma_separated(text: str) -> list[str]:
    """Return the items of a comma-separated setting."""
    return [item for given in text.split(",") if (item := given.strip())]


def check_rule(name: str, keys: Secret | None) -> None:
    """Check that an access rule is usable; import its function. Errors: `CONFIGURATION`."""
    if name == "bearer":
        bearer_keys(keys)
    elif name not in NAMES:
        import_rule(name)


def bearer_keys(keys: Secret | None) -> list[str]:
    """Return the keys that bearer accepts.

    Errors: `CONFIGURATION` if there are none, or if a key is shorter than `MIN_KEY_LENGTH`.
    """
    known = [key.strip() for key in (keys.reveal() if keys else "").split(",")]
    if not all(len(key) >= MIN_KEY_LENGTH for key in known):
        raise Error(
            f"attach_access=bearer needs keys of at least {MIN_KEY_LENGTH} characters",
            kind=Kind.CONFIGURATION,
            code="wrong-setting",
            setting="attach_access_keys",
        )
    return known


def import_rule(name: str) -> Callable[..., Any]:
    """Import the function that ``module:function`` names. Errors: `CONFIGURATION`."""
    module, colon, function = name.partition(":")
    try:
        rule: Callable[..., Any] = getattr(importlib.import_module(module), function)
        if not callable(rule):
            raise TypeError("this is not a function")  # noqa: TRY301 - as for a missing function
    except Exception as failure:
        # The module of an application may raise any exception while it is imported.
        raise Error(
            "attach_access must be none, public, bearer or module:function",
            f"{name}: {failure}" if colon else name,
            kind=Kind.CONFIGURATION,
            code="wrong-setting",
            setting="attach_access",
        ) from failure
    return rule
