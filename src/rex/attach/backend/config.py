"""The configuration of a backend: its settings, its options, and its storage."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from typing import TYPE_CHECKING, Any

from rex.core import Error, Kind, Setting, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

    from rex.core import Settings
    from rex.core.typed import Type

__all__ = ["BackendSpec", "option", "read_place", "timeout_option"]


def option(
    type_: Type[object],
    default: object = dataclasses.MISSING,
    *,
    help: str,  # noqa: A002 - as in `Setting`
    secret: bool = False,
    setting: str | None = None,
    in_url: bool = False,
) -> Any:
    """Declare a field of a backend's configuration, with its setting and its option.

    A field without `default` selects the backend: the backend is used if the setting is given. The
    name of the setting is `setting`, by default the backend's prefix and the name of the field.
    With `in_url`, the host or path of a storage's URL gives the value, and there is no option. A
    `secret` must not be in a URL.
    """
    declared = {"type": type_, "help": help, "secret": secret, "setting": setting, "in_url": in_url}
    return dataclasses.field(default=default, metadata=declared)


def timeout_option() -> Any:
    """Declare the field of the time for failing requests to a server."""
    return option(
        typed.between(typed.duration, 0.1, 3600, "from a tenth of a second to an hour"),
        30.0,
        help="how long to retry a failing request, and to wait for a silent server",
    )


def read_place(field: str) -> Callable[[SplitResult], Mapping[str, str] | None]:
    """Return a `BackendSpec.read_url` for URLs whose host is `field`, and whose path the prefix."""

    def read(parts: SplitResult) -> dict[str, str] | None:
        from urllib.parse import unquote

        if not parts.netloc or "@" in parts.netloc:
            return None
        return {field: parts.netloc, "prefix": unquote(parts.path)}

    return read


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackendSpec:
    """The entry of a backend in the registry of `rex.attach.opening`; does not import it."""

    scheme: str
    """The scheme of the URLs of its storages."""
    example: str
    """A URL, for error messages."""
    config: type[Any]
    """A dataclass whose fields are declared with `option`."""
    prefix: str
    """The prefix of the names of its settings."""
    read_url: Callable[[SplitResult], Mapping[str, str] | None]
    """Returns the fields in the host and path of a URL; None for an invalid URL."""
    factory: str
    """``module:function``, called with a configuration and the options of every storage."""
    extra: str | None = None
    """The extra of the distribution that installs what the backend needs."""

    @functools.cached_property
    def settings(self) -> dict[str, Setting[Any]]:
        """The setting of each field, by the name of the field."""
        return {
            field.name: Setting(
                field.metadata["setting"] or f"{self.prefix}{field.name}",
                field.metadata["type"],
                None if field.default is dataclasses.MISSING else field.default,
                help=field.metadata["help"],
                secret=field.metadata["secret"],
            )
            for field in dataclasses.fields(self.config)
        }

    @functools.cached_property
    def selector(self) -> Setting[Any] | None:
        """The setting that selects the backend; None if only a URL does."""
        for field in dataclasses.fields(self.config):
            if field.default is dataclasses.MISSING:
                return self.settings[field.name]
        return None

    @property
    def options(self) -> dict[str, Setting[Any]]:
        """The settings that a URL or a keyword can give, by the name of the option."""
        fields = dataclasses.fields(self.config)
        names = [field.name for field in fields if not field.metadata["in_url"]]
        return {name: self.settings[name] for name in names}

    def open(self, settings: Settings, **options: Any) -> Any:
        """Return the storage; `options` are those of every storage.

        Errors: `CONFIGURATION`, also if the packages that the backend needs are not installed.
        """
        module, _, name = self.factory.partition(":")
        try:
            make = getattr(importlib.import_module(module), name)
        except ImportError as missing:
            if self.extra is None:  # nothing to install
                raise
            raise Error(
                f"The storage {self.scheme}: needs more packages: "
                f"pip install 'rex-attach[{self.extra}]'",
                missing,
                kind=Kind.CONFIGURATION,
                code="missing-package",
            ) from None
        values = {name: settings[setting] for name, setting in self.settings.items()}
        return make(self.config(**values), **options)
