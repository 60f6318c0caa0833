"""The settings of every storage and of the HTTP service; backends declare their own settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rex.attach.links.link import MAX_LINK_SECONDS
from rex.core import Error, Kind, Setting, typed
from rex.core.function import Function, find_signature
from rex.core.typed import MIN_KEY_LENGTH, Type

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach.links.cloudfront import CloudFront
    from rex.core import Secret, Settings

__all__ = [
    "FALLBACK",
    "NAMES",
    "SERVICE",
    "STORAGE",
    "bearer_keys",
    "check_access",
    "check_link_window",
    "check_user",
    "comma_separated",
    "cors_origins",
    "host_names",
    "rule_type",
    "takes_request",
]

NAMES = ("none", "public", "bearer")
"""The access rules that need no function."""

_HOST_NAME = re.compile(r"[0-9A-Za-z_](?:[0-9A-Za-z_.-]*[0-9A-Za-z_.])?|\[[0-9A-Fa-f:.]+\]")
"""A host name or address in the header Host, without the port (RFC 3986, section 3.2.2)."""


def _read_rule(given: object) -> str | Function:
    if isinstance(given, str) and given in NAMES:
        return given
    return typed.function.read(given)


def _read_key_id(given: object) -> str:
    if not isinstance(given, str) or not re.fullmatch("[A-Za-z0-9]+", given):
        raise ValueError
    return given


def _read_hosts(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError
    names = comma_separated(given)
    if not names or not all(map(_HOST_NAME.fullmatch, names)):
        raise ValueError
    return given


def _read_location(given: object) -> str:
    if given == "x-sendfile":
        return "x-sendfile"
    if not (location := typed.path_prefix.read(given)):
        raise ValueError  # every path would be internal
    return location


def _read_cdn_url(given: object) -> str:
    """Return an address as browsers send it: the signature is for that."""
    scheme, separator, rest = typed.url_or_path.read(given).partition("://")
    host, slash, path = rest.partition("/")
    if not separator or not host.isascii():
        raise ValueError
    scheme, host = scheme.lower(), host.lower()
    host = host.removesuffix(":443" if scheme == "https" else ":80")
    return f"{scheme}://{host}{slash}{path}"


rule_type: Type[str | Function] = Type(f"{', '.join(NAMES)}, {typed.function.expected}", _read_rule)
"""The type of attach_access; it rejects a misspelt name before a function is imported."""

internal_location: Type[str] = Type(f"{typed.path_prefix.expected}; or x-sendfile", _read_location)
"""The type of attach_sendfile."""

cdn_url: Type[str] = Type(
    "an http:// or https:// address in ASCII, percent-encoded, without user, '..', query or "
    "fragment",
    _read_cdn_url,
)
"""The type of attach_cdn_url."""

key_id: Type[str] = Type("letters and digits, such as K2JCJMDEHXQW5F", _read_key_id)
"""The type of attach_cdn_key_id."""

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

LINK_WINDOW = Setting(
    "attach_link_window",
    typed.between(typed.duration, 1, MAX_LINK_SECONDS, "from 1 second to 7 days"),
    help="how long a download link stays the same, so that browsers can cache; less than "
    "attach_link_expires; default: each link is new",
)

FALLBACK = Setting(
    "attach_fallback",
    typed.text,
    help="the URL of an older storage, such as file:///directory or s3://bucket?endpoint=…, read "
    "for attachments that have not been moved yet",
)

URL = Setting(
    "attach_url",
    typed.url_or_path,
    help="the address at which clients reach the service, as https://example.org/attach; for "
    "browsers, its path is enough: /attach",
)

SENDFILE = Setting(
    "attach_sendfile",
    internal_location,
    help="the internal location of nginx or Caddy that sends downloads (X-Accel-Redirect), as "
    "/_attach; or x-sendfile, for Apache (X-Sendfile); default: the service sends them",
)

CDN_URL = Setting(
    "attach_cdn_url",
    cdn_url,
    help="the address of a CloudFront distribution before the bucket, to which download links "
    "lead; default: they lead to the server",
)

CDN_KEY_ID = Setting(
    "attach_cdn_key_id",
    key_id,
    help="the id of the public key in the distribution's trusted key group",
)

CDN_KEY = Setting(
    "attach_cdn_key",
    typed.path,
    help="the file of the private key (RSA, PEM) that signs links to the distribution",
)

PUBLIC_URL = Setting(
    "attach_public_url",
    typed.url,
    help="the address below which every client may read every attachment without a signature, "
    "for storage.public_url()",
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

ACCESS: Setting[str | Function] = Setting(
    "attach_access",
    rule_type,
    "none",
    help="who may use the service over HTTP: none, public, bearer or module:function",
)

USER = Setting(
    "attach_user",
    typed.function,
    help="the function that returns the user of a request: module:function; default: the user in "
    "the ASGI scope",
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

EVENTS_KEY = Setting(
    "attach_events_key",
    typed.key,
    help="the key with which an S3 server authenticates its event notifications (POST /events); "
    "default: none are accepted",
    secret=True,
)

ON_BEGIN = Setting(
    "attach_on_begin",
    typed.function,
    help="the function that is called when an upload begins, and may refuse or change it: "
    "module:function",
)

ON_COMPLETE = Setting(
    "attach_on_complete",
    typed.function,
    help="the function that is called once the bytes of an upload are stored, and may refuse it: "
    "module:function",
)

ON_STORED = Setting(
    "attach_on_stored",
    typed.function,
    help="the function that records an upload before its client is acknowledged: module:function",
)

ON_REMOVED = Setting(
    "attach_on_removed",
    typed.function,
    help="the function that is called before an attachment is removed: module:function",
)

STORAGE = (
    MAX_SIZE,
    LINK_EXPIRES,
    LINK_WINDOW,
    URL,
    SENDFILE,
    CDN_URL,
    CDN_KEY_ID,
    CDN_KEY,
    PUBLIC_URL,
    SECRET,
    UPLOAD_EXPIRES,
    MAX_UPLOADS,
    ON_BEGIN,
    ON_COMPLETE,
    ON_STORED,
    ON_REMOVED,
)
"""The settings of every storage."""

SERVICE = (ACCESS, ACCESS_KEYS, USER, ORIGINS, HOSTS, REDIRECT, STALL, EVENTS_KEY)
"""The settings of the HTTP service."""


def check_link_window(settings: Settings) -> None:
    """Check that links last longer than their window. Errors: `CONFIGURATION`."""
    window, expires = settings[LINK_WINDOW], settings[LINK_EXPIRES]
    if window is not None and window >= expires:
        raise Error(
            "attach_link_window must be less than attach_link_expires",
            f"{window} seconds, and links last for {expires} seconds",
            kind=Kind.CONFIGURATION,
            code="wrong-setting",
            setting=LINK_WINDOW.name,
        )


def make_cdn(settings: Settings) -> CloudFront | None:
    """Return the CDN that the settings describe. Errors: `CONFIGURATION`."""
    given = {each.name: settings[each] for each in (CDN_URL, CDN_KEY_ID, CDN_KEY)}
    url, key_id, key = given.values()
    if url is not None and key_id is not None and key is not None:
        from rex.attach.links.cloudfront import CloudFront

        return CloudFront(url, key_id, key)
    missing = next((name for name, value in given.items() if value is None), None)
    if not any(given.values()):
        return None
    raise Error(
        f"A CDN needs all of {', '.join(given)}",
        f"{missing} is not set",
        kind=Kind.CONFIGURATION,
        code="wrong-setting",
        setting=missing,
    )


def cors_origins(settings: Settings) -> list[str]:
    """Return the origins in attach_origins, whose pages may upload and remove."""
    return comma_separated(settings[ORIGINS])


def comma_separated(text: str) -> list[str]:
    """Return the items of a comma-separated setting."""
    return [item for given in text.split(",") if (item := given.strip())]


def check_access(settings: Settings, *, imports: bool = True) -> None:
    """Check that the access rule, its keys and the function of the user are usable.

    `imports` is whether to import functions that are given by name. Errors: `CONFIGURATION`.
    """
    rule, user = settings[ACCESS], settings[USER]
    if isinstance(rule, Function) and (imports or not rule.needs_import):
        takes_request(rule.load(ACCESS.name))
    if user is not None and (imports or not user.needs_import):
        check_user(user.load(USER.name))
    if rule == "bearer":
        bearer_keys(settings[ACCESS_KEYS])
        if user is not None:
            raise Error(
                "attach_access=bearer identifies users by their keys; remove attach_user",
                user,
                kind=Kind.CONFIGURATION,
                code="wrong-setting",
                setting=USER.name,
            )


def takes_request(rule: Callable[..., Any]) -> bool:
    """Check the parameters of an access rule; return whether it receives the request.

    Errors: `CONFIGURATION`.
    """
    without, with_request = "user, action, handle", "user, action, handle, request"
    return find_signature(rule, (without, with_request), ACCESS.name) == with_request


def check_user(user: Callable[..., Any]) -> None:
    """Check the parameters of a function that returns the user. Errors: `CONFIGURATION`."""
    find_signature(user, ("request",), USER.name)


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
