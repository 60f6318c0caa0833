"""Settings become a storage: the package `rex.attach`, `get_storage` and `open_storage`."""

from __future__ import annotations

from rex.attach.links.link import MAX_LINK_SECONDS
from rex.attach.settings import bearer_keys, comma_separated, host_names, rule_name
from rex.attach.storage import Storage, StorageOptions
from rex.core import Error, Kind, Package, Rex, Setting, Settings, get_rex, typed
from rex.core.setting import validate

__all__ = [
    "cors_origins",
    "get_storage",
    "is_configured",
    "make_storage",
    "open_storage",
    "package",
]

DIRECTORY = Setting(
    "attach_dir",
    typed.path,
    help="the directory to keep attachments in",
)
REQUIRE_MARKER = Setting(
    "attach_dir_require_marker",
    typed.boolean,
    False,
    help="whether the directory must exist and have its marker, as it has not while its disk is "
    "not mounted",
)
BUCKET = Setting(
    "attach_s3_bucket",
    typed.text,
    help="the S3 bucket to keep attachments in",
)
ENDPOINT = Setting(
    "attach_s3_endpoint",
    typed.url,
    help="the address of the S3 server; without it, AWS",
)
PUBLIC_ENDPOINT = Setting(
    "attach_s3_public_endpoint",
    typed.url,
    help="the address of the S3 server for clients, where it is another",
)
REGION = Setting(
    "attach_s3_region",
    typed.text,
    help="the region of the bucket; without it, that of the AWS chain where it gives the keys, "
    "or us-east-1",
)
ACCESS_KEY = Setting(
    "attach_s3_access_key",
    typed.text,
    help="the access key; without keys, the AWS chain provides them",
)
SECRET_KEY = Setting(
    "attach_s3_secret_key",
    typed.text,
    help="the secret key",
    secret=True,
)
SESSION_TOKEN = Setting(
    "attach_s3_session_token",
    typed.text,
    help="the session token of temporary keys",
    secret=True,
)
PREFIX = Setting(
    "attach_s3_prefix",
    typed.text,
    "",
    help="a folder in the bucket for all keys",
)
ADDRESSING = Setting(
    "attach_s3_addressing",
    typed.choice("path", "virtual"),
    help="where the bucket's name goes: path (usual), or virtual, in the host (usual at AWS)",
)
CA_FILE = Setting(
    "attach_s3_ca_file",
    typed.path,
    help="a PEM file of certificates to trust besides the system's",
)
TIMEOUT = Setting(
    "attach_s3_timeout",
    typed.between(typed.duration, 0.1, 3600, "from a tenth of a second to an hour"),
    30.0,
    help="how long to repeat a failing request, and to wait for a silent server",
)
CHECKSUMS = Setting(
    "attach_s3_checksums",
    typed.boolean,
    True,
    help="whether to send checksums, so that the server refuses what was damaged on the way",
)
MAX_SIZE = Setting(
    "attach_max_size",
    typed.size,
    help="the largest size of an attachment",
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
    help="the URL of an older storage, to read from it what has not been moved yet: "
    "file:///directory or s3://bucket?endpoint=…",
)
URL = Setting(
    "attach_url",
    typed.url,
    help="the address at which clients reach the service, for links to a storage that makes none: "
    "https://example.org/attach",
)
SECRET = Setting(
    "attach_secret",
    typed.key,
    help="what signs those links and other permissions; without it, the storage has its own",
    secret=True,
)
UPLOAD_EXPIRES = Setting(
    "attach_upload_expires",
    typed.between(typed.duration, 60, 366 * 24 * 3600, "from a minute to a year"),
    7 * 24 * 3600.0,
    help="how long an upload that is sent piece by piece may take",
)
MAX_UPLOADS = Setting(
    "attach_max_uploads",
    typed.between(typed.integer, 1, 10**9, "at least 1"),
    1000,
    help="how many unfinished resumable uploads each user may have",
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
    help="the keys of those who may, for bearer, separated by commas",
    secret=True,
)
ORIGINS = Setting(
    "attach_origins",
    typed.text,
    "",
    help="other sites whose pages may upload and remove, as https://example.org, by commas",
)
HOSTS = Setting(
    "attach_hosts",
    host_names,
    "",
    help="the host names by which the service may be asked, separated by commas; default: any",
)
REDIRECT = Setting(
    "attach_redirect",
    typed.boolean,
    False,
    help="whether a download is answered with a redirect to a download link",
)
STALL = Setting(
    "attach_stall_timeout",
    typed.between(typed.duration, 0.1, 3600, "from a tenth of a second to an hour"),
    30.0,
    help="how long to wait for a client that neither sends nor takes anything",
)


def get_storage() -> Storage:
    """Give the storage of the active application; it is made once and may be kept.

    Errors: `CONFIGURATION` when no application is active, or it has no package `rex.attach`.
    """
    rex = get_rex()
    if DIRECTORY.name not in rex.settings:
        raise Error(
            "The application has no package rex.attach",
            repr(rex),
            kind=Kind.CONFIGURATION,
            code="not-active",
        )
    return rex.service(Storage, lambda: make_storage(rex.settings))


def make_storage(settings: Settings) -> Storage:
    """Make the storage that the settings describe.

    Errors: `CONFIGURATION` unless they describe exactly one.
    """
    configured = [make for setting, make in _KINDS.items() if settings[setting] is not None]
    if len(configured) == 1:
        storage, fallback = configured[0](settings), settings[FALLBACK]
        if fallback is None:
            return storage
        from rex.attach.backends.fallback import FallbackStorage

        return FallbackStorage(storage, open_storage(fallback))
    names = " or ".join(setting.name for setting in _KINDS)
    how_many = "Two storages are" if configured else "No storage is"
    raise Error(
        f"{how_many} configured; give exactly one of",
        names,
        kind=Kind.CONFIGURATION,
        code="not-one-storage",
    )


def is_configured(settings: Settings) -> bool:
    """Whether the settings describe a storage, rightly or not."""
    return any(settings[setting] is not None for setting in _KINDS)


def open_storage(url: str, /, **options: object) -> Storage:
    """Open a storage without an application; use it in a ``with`` statement, or close it.

    `url` is ``file:///directory``, ``s3://bucket/prefix?endpoint=…&region=…`` or ``memory:``.
    `options`, in the URL's query or given as arguments, are the settings of S3 without their
    ``attach_s3_`` (`endpoint`, `public_endpoint`, `region`, `access_key`, `secret_key`,
    `session_token`, `addressing`, `ca_file`, `timeout`, `checksums`) and `max_size`,
    `link_expires`, `upload_expires`, `max_uploads`, `url` and `secret`. The secret ones cannot
    stand in the URL, since URLs are shown and logged.

    Errors: `CONFIGURATION`, which says what is wrong with the URL or an option. The server is
    not asked; `check` does that.
    """
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(url)
    except (ValueError, AttributeError, TypeError):
        raise _wrong_url(type(url).__name__) from None
    if parts.fragment:
        raise _wrong_url("a # must be written %23")
    given = {_name_of_setting(name): value for name, value in options.items()}
    for name, value in _query(parts.query).items():
        if name in given:
            raise _wrong_url(f"{name} is given twice")
        given[name] = value
    if parts.scheme == "memory" and url.partition("?")[0] == "memory:":
        from rex.attach.backends.memory import MemoryStorage

        return MemoryStorage(**_options(validate(_GENERAL, given)))
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path[:1] == "/":
        given[DIRECTORY.name] = unquote(parts.path)
    elif parts.scheme == "s3" and parts.netloc and "@" not in parts.netloc:
        given[BUCKET.name] = parts.netloc
        given[PREFIX.name] = unquote(parts.path)
    else:
        raise _wrong_url(f"{parts.scheme}:…")
    return make_storage(validate(package.settings, given))


def cors_origins(settings: Settings) -> list[str]:
    """Give the other sites whose pages may upload and remove."""
    return comma_separated(settings[ORIGINS])


def _wrong_url(what: str) -> Error:
    # The URL itself is not shown: somebody may have put a secret there.
    return Error(
        "The URL of a storage is file:///directory, s3://bucket/prefix?endpoint=… or memory:",
        what,
        kind=Kind.CONFIGURATION,
        code="wrong-url",
    )


def _query(query: str) -> dict[str, object]:
    from urllib.parse import parse_qsl

    given: dict[str, object] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        setting_name = _name_of_setting(name)
        if setting_name in (SECRET_KEY.name, SESSION_TOKEN.name, SECRET.name):
            raise Error(
                "A secret cannot stand in the URL of a storage; give it as an argument",
                name,
                kind=Kind.CONFIGURATION,
                code="secret-in-url",
                setting=setting_name,
            )
        if setting_name in given:
            raise _wrong_url(f"{name} is given twice")
        given[setting_name] = value
    return given


def _name_of_setting(option: str) -> str:
    if option == "require_marker":
        return REQUIRE_MARKER.name
    general = f"attach_{option}"
    is_general = any(setting.name == general for setting in _GENERAL)
    return general if is_general else f"attach_s3_{option}"


def _make_local(settings: Settings) -> Storage:
    from rex.attach.backends.local.storage import LocalStorage

    directory = settings[DIRECTORY]
    assert directory is not None  # noqa: S101 - that is why we are here
    return LocalStorage(directory, require_marker=settings[REQUIRE_MARKER], **_options(settings))


def _make_s3(settings: Settings) -> Storage:
    try:
        from rex.attach.backends.s3.storage import S3Storage
    except ImportError as missing:
        raise Error(
            "Attachments on S3 need more packages: pip install 'rex-attach[s3]'",
            missing,
            kind=Kind.CONFIGURATION,
            code="missing-package",
        ) from None
    bucket = settings[BUCKET]
    assert bucket is not None  # noqa: S101 - that is why we are here
    return S3Storage(
        bucket,
        endpoint=settings[ENDPOINT],
        public_endpoint=settings[PUBLIC_ENDPOINT],
        region=settings[REGION],
        access_key=settings[ACCESS_KEY],
        secret_key=settings[SECRET_KEY],
        session_token=settings[SESSION_TOKEN],
        prefix=settings[PREFIX],
        addressing=settings[ADDRESSING.name],
        ca_file=settings[CA_FILE],
        timeout=settings[TIMEOUT],
        checksums=settings[CHECKSUMS],
        **_options(settings),
    )


def _options(settings: Settings) -> StorageOptions:
    """Give what every kind of storage takes."""
    return {
        "max_size": settings[MAX_SIZE],
        "link_expires": settings[LINK_EXPIRES],
        "upload_expires": settings[UPLOAD_EXPIRES],
        "max_uploads": settings[MAX_UPLOADS],
        "url": settings[URL],
        "secret": settings[SECRET],
    }


_GENERAL = (MAX_SIZE, LINK_EXPIRES, URL, SECRET, UPLOAD_EXPIRES, MAX_UPLOADS)
"""The settings of every kind of storage."""

_KINDS = {DIRECTORY: _make_local, BUCKET: _make_s3}


def _start(rex: Rex) -> None:
    # A function is imported later, with the routes: its module may be the one that makes `rex`.
    if rex.settings[ACCESS] == "bearer":
        bearer_keys(rex.settings[ACCESS_KEYS])
    get_storage().check()


package = Package(
    name="rex.attach",
    help="keeps the files that users upload",
    settings=(
        DIRECTORY,
        REQUIRE_MARKER,
        BUCKET,
        ENDPOINT,
        PUBLIC_ENDPOINT,
        REGION,
        ACCESS_KEY,
        SECRET_KEY,
        SESSION_TOKEN,
        PREFIX,
        ADDRESSING,
        CA_FILE,
        TIMEOUT,
        CHECKSUMS,
        FALLBACK,
        *_GENERAL,
        ACCESS,
        ACCESS_KEYS,
        ORIGINS,
        HOSTS,
        REDIRECT,
        STALL,
    ),
    start=_start,
    commands="rex.attach.cli.attach:attach",
    routes="rex.attach.web.mount:routes",
    metrics="rex.attach.telemetry.prometheus:watch",
    tables=("storages",),
)
