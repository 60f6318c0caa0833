"""Declared, typed and documented settings, and the sources and validation of their values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, NoReturn, TypeVar, overload

from rex.core.error import Error, Kind
from rex.core.secret import Given, Secret, reveal, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rex.core.typed import Type

__all__ = [
    "Gathered",
    "Setting",
    "Settings",
    "did_you_mean",
    "gather",
    "validate",
]

T = TypeVar("T")

MIN_MASKED = 8
"""Minimum length of a secret that is masked in other text."""
T_co = TypeVar("T_co", covariant=True)


class Setting(Generic[T_co]):
    """An immutable declaration of a package's setting.

    `name` is lower case with underscores, prefixed with the package's short name, since the
    settings of an application share a namespace. `type` is one of `rex.core.typed`. `default` is a
    parsed value. `help` is one line. The value of a `secret` setting is a `Secret`.
    """

    __slots__ = ("default", "help", "name", "secret", "type")
    name: str
    type: Type[object]
    default: T_co
    help: str
    secret: bool

    @overload
    def __init__(
        self: Setting[Secret | None],
        name: str,
        type: Type[str],
        default: None = None,
        *,
        help: str,
        secret: Literal[True],
    ) -> None: ...

    @overload
    def __init__(
        self: Setting[T | None],
        name: str,
        type: Type[T],
        default: None = None,
        *,
        help: str,
        secret: Literal[False] = False,
    ) -> None: ...

    @overload
    def __init__(
        self: Setting[T],
        name: str,
        type: Type[T],
        default: T,
        *,
        help: str,
        secret: Literal[False] = False,
    ) -> None: ...

    def __init__(
        self,
        name: str,
        type: Type[object],  # noqa: A002 - the same
        default: object = None,
        *,
        help: str,  # noqa: A002 - the same
        secret: bool = False,
    ) -> None:
        if not re.fullmatch("[a-z][a-z0-9_]*", name) or hasattr(Settings, name):
            raise Error(
                "The name of a setting must be lower case, and not a method of Settings",
                name,
                kind=Kind.CONFIGURATION,
            )
        declared = {"name": name, "type": type, "default": default, "help": help, "secret": secret}
        for attribute, value in declared.items():
            object.__setattr__(self, attribute, value)

    def __setattr__(self, attribute: str, value: object) -> NoReturn:
        raise AttributeError(f"a setting is immutable: {attribute}")

    def __repr__(self) -> str:
        return f"<setting {self.name}: {self.type.expected}>"

    def parse(self, given: object) -> T_co:
        """Parse a value; None and ``""`` return the default.

        Errors: `CONFIGURATION` for a wrong value, which the payload shows unless the setting is
        secret.
        """
        if self.secret:
            given = reveal(given)
        if given is None or (isinstance(given, str) and not given):
            return self.default
        value = self._read(given)
        if value is None:
            got = "" if self.secret else f", got {show(given)}"
            del given  # a traceback may show local variables
            raise Error(
                "Wrong value",
                f"expected {self.type.expected}{got}",
                kind=Kind.CONFIGURATION,
                code="wrong-setting",
                setting=self.name,
            )
        return value

    def _read(self, given: object) -> T_co | None:
        try:
            value: Any = self.type.read(given)
        except (TypeError, ValueError):
            return None
        result: Any = Secret(value) if self.secret else value
        return result  # type: ignore[no-any-return]  # the overloads above tie it to the type


class Settings(Mapping[str, Any]):
    """The values of an application's settings by name, read-only.

    ``settings.attach_dir`` and ``settings["attach_dir"]`` have the type `Any`;
    ``settings[ATTACH_DIR]``, with the `Setting` itself, is typed. An unknown name is an
    `AttributeError` or a `KeyError`.
    """

    __slots__ = ("_given", "_values")

    def __init__(self, values: Mapping[str, object], given: Iterable[str] = ()) -> None:
        self._values = dict(values)
        self._given = frozenset(given)

    @overload
    def __getitem__(self, key: str) -> Any: ...

    @overload
    def __getitem__(self, key: Setting[T]) -> T: ...

    def __getitem__(self, key: str | Setting[Any]) -> Any:
        name = key.name if isinstance(key, Setting) else key
        if name not in self._values:
            raise KeyError(f"{name}: no such setting{did_you_mean(name, self._values)}")
        return self._values[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._values:
            near = "" if name.startswith("_") else did_you_mean(name, self._values)
            raise AttributeError(f"{name}: no such setting{near}", name=name, obj=self)
        return self._values[name]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.items())})"

    def without_defaults(self) -> dict[str, Any]:
        """Return the values that were set explicitly."""
        return {name: value for name, value in self.items() if name in self._given}

    def mask(self, text: str) -> str:
        """Return the text with the secrets of these settings masked.

        A secret shorter than `MIN_MASKED` characters is not masked: that would mask other words,
        and thereby reveal the secret.
        """
        for value in self._values.values():
            if isinstance(value, Secret) and len(value.reveal()) >= MIN_MASKED:
                text = text.replace(value.reveal(), repr(value))
        return text


class Gathered(NamedTuple):
    """The values from all sources, and the source of each setting's value."""

    values: Given
    sources: dict[str, str]


def gather(
    declared: Iterable[Setting[object]],
    *,
    overrides: Mapping[str, object],
    environ: Mapping[str, str],
    file_values: Mapping[str, object],
    origin: str = "--set",
) -> Gathered:
    """Collect the values of settings from the sources of a command.

    The first source with a value wins: `overrides` (whose source is called `origin`), the
    environment variable with the setting's name in upper case, `file_values` ("rex.toml").
    Undeclared names are kept for `validate` to report.
    """
    names = [setting.name for setting in declared]
    layers: list[tuple[dict[str, str], Given]] = [
        (dict.fromkeys(file_values, "rex.toml"), Given(file_values)),
        (
            {name: f"environment {name.upper()}" for name in names},
            Given({name: environ.get(name.upper()) for name in names}),
        ),
        (dict.fromkeys(overrides, origin), Given(overrides)),
    ]
    gathered = Gathered(Given(), dict.fromkeys(names, "default"))
    for sources, values in layers:
        for name in values:
            if values[name] is not None and values[name] != "":
                gathered.values[name] = values[name]
                gathered.sources[name] = sources[name]
    return gathered


def validate(
    declared: Iterable[Setting[object]],
    given: Mapping[str, object],
    sources: Mapping[str, str] | None = None,
) -> Settings:
    """Parse all values and report all errors at once.

    Errors: `CONFIGURATION` naming each wrong setting, its source if `sources` has it, the given
    value (not for a secret or an undeclared name) and the expected one.
    """
    given = Given(given)
    settings = {setting.name: setting for setting in declared}
    problems = [_unknown(name, settings) for name in given if name not in settings]
    values: dict[str, object] = {}
    for name, setting in settings.items():
        try:
            values[name] = setting.parse(given.get(name))
        except Error as error:
            problems.append(error)
    for problem in problems:
        problem.payload = _source_text(str(problem.payload), str(problem.setting), sources)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = "\n".join(f"{problem.setting}: {problem.payload}" for problem in problems)
        raise Error("Wrong settings", lines, kind=Kind.CONFIGURATION, code="wrong-setting")
    return Settings(values, [name for name in given if given[name] not in (None, "")])


def _unknown(name: str, settings: Iterable[str]) -> Error:
    return Error(
        "Unknown setting",
        f"no package declares this setting{did_you_mean(name, settings)}",
        kind=Kind.CONFIGURATION,
        code="unknown-setting",
        setting=name,
    )


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a suffix for an error message that suggests a similar name, or an empty text."""
    from difflib import get_close_matches  # only needed for an error

    near = get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _source_text(problem: str, name: str, sources: Mapping[str, str] | None) -> str:
    return f"{problem} ({sources[name]})" if sources and name in sources else problem
