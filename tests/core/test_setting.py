"""Types of settings, secrets, the checks on values, and the order of their sources."""

from __future__ import annotations

import copy
import datetime as dt
import functools
import json
import os
import pathlib
import pickle
from typing import TYPE_CHECKING

import pytest

from rex.core import Error, Kind, Secret, Setting, Settings, typed
from rex.core.function import find_signature
from rex.core.secret import show
from rex.core.setting import gather, validate

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = "canary/7Gq+secret"

DIRECTORY = Setting("attach_dir", typed.path, help="Where attachments are kept.")
LIMIT = Setting("attach_max_size", typed.size, 1024, help="The largest attachment.")
KEY = Setting("attach_key", typed.text, secret=True, help="The secret key.")
DECLARED = (DIRECTORY, LIMIT, KEY)


def a_rule() -> None:
    """Stand for a function of an application."""


FUNCTION = Setting("shop_rule", typed.function, help="A rule.")


@pytest.mark.parametrize(
    ("given", "printed", "loaded"),
    [
        ("os.path:join", "'os.path:join'", os.path.join),
        (a_rule, f"<function {__name__}:a_rule>", a_rule),
        (Secret, "<function rex.core.secret:Secret>", Secret),
    ],
)
def test_a_function_is_given_by_its_name_or_by_itself(
    given: object, printed: str, loaded: object
) -> None:
    """Its repr is short, and loading gives the function."""
    function = FUNCTION.parse(given)
    assert function is not None
    assert printed == repr(function)
    assert loaded is function.load(FUNCTION.name)
    assert function is FUNCTION.parse(function)
    assert str(function) in printed


def test_the_repr_of_a_partial_function_hides_its_arguments() -> None:
    """They may be secrets."""
    given = functools.partial(str, CANARY)
    assert "<function functools:partial>" == repr(FUNCTION.parse(given))


@pytest.mark.parametrize("name", ["no_such_module:rule", "os:missing", "os:sep"])
def test_a_function_that_cannot_be_imported_names_its_setting(name: str) -> None:
    """Only when it is loaded: its module may be the one that makes the application."""
    function = FUNCTION.parse(name)
    assert function is not None
    with pytest.raises(Error, match=name) as caught:
        function.load(FUNCTION.name)
    assert ("wrong-setting", "shop_rule") == (caught.value.code, caught.value.setting)
    assert Kind.CONFIGURATION is caught.value.kind


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda _: None, "a"),
        (lambda *_: None, "a"),
        (lambda _, x=None: x, "a"),
        (lambda _, __: None, "a, b"),
        (iter, "a"),
    ],
)
def test_the_first_signature_that_fits_is_found(
    function: Callable[..., object], expected: str
) -> None:
    """A builtin that does not tell its parameters has the first."""
    assert expected == find_signature(function, ("a", "a, b"), "shop_rule")


def test_a_function_with_other_parameters_is_a_wrong_setting() -> None:
    """The error tells those that it has, and those that are expected."""
    with pytest.raises(Error, match=r"a_rule has \(\), expected \(a\) or \(a, b\)") as caught:
        find_signature(a_rule, ("a", "a, b"), "shop_rule")
    assert ("wrong-setting", "shop_rule") == (caught.value.code, caught.value.setting)


@pytest.mark.parametrize(
    ("type_", "given", "expected"),
    [
        (typed.text, " as it is ", " as it is "),
        (typed.integer, 7, 7),
        (typed.integer, "-7", -7),
        (typed.boolean, True, True),
        (typed.boolean, "Yes", True),
        (typed.boolean, "0", False),
        (typed.key, "sixteen letters!", "sixteen letters!"),
        (typed.duration, 90, 90),
        (typed.duration, "90", 90),
        (typed.duration, "0.5", 0.5),
        (typed.duration, "15m", 900),
        (typed.duration, "1.5 h", 5400),
        (typed.duration, "7d", 604800),
        (typed.duration, dt.timedelta(minutes=2), 120),
        (typed.size, 1048576, 1048576),
        (typed.size, "1024", 1024),
        (typed.size, "10 MB", 10_000_000),
        (typed.size, "64 MiB", 64 * 2**20),
        (typed.size, "1.5kib", 1536),
        (typed.size, "9007199254740993 B", 9007199254740993),
        (typed.url, "https://files.example.org:8443/base/", "https://files.example.org:8443/base/"),
        (typed.url, "HTTP://[::1]:8333", "HTTP://[::1]:8333"),
        (typed.url_or_path, "https://example.org/a%20b/", "https://example.org/a%20b/"),
        (typed.url_or_path, "http://example.org", "http://example.org"),
        (typed.url_or_path, "/prefix/attach", "/prefix/attach"),
        (typed.url_or_path, "/", "/"),
        (typed.path_prefix, "/files/..a/", "/files/..a"),
        (typed.path_prefix, "/", ""),
        (typed.path, "/srv/../data", "/data"),
        (typed.path, pathlib.Path("/srv"), "/srv"),
        (typed.choice("path", "virtual"), "virtual", "virtual"),
    ],
)
def test_a_type_reads_texts_and_values_of_its_own(
    type_: typed.Type[object], given: object, expected: object
) -> None:
    """Settings come as text from a shell and as values from Python and TOML."""
    setting = Setting("x", type_, help="Something.")
    value = setting.parse(given)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.wording
@pytest.mark.parametrize(
    ("type_", "given"),
    [
        (typed.text, 5),
        (typed.text, b"bytes"),
        (typed.key, "fifteen letters"),
        (typed.integer, "seven"),
        (typed.integer, True),
        (typed.integer, "1_000"),
        (typed.integer, 1.5),
        (typed.boolean, "maybe"),
        (typed.boolean, 1),
        (typed.duration, "1 fortnight"),
        (typed.duration, -1),
        (typed.duration, "-1h"),
        (typed.duration, float("nan")),
        (typed.duration, float("inf")),
        (typed.duration, True),
        (typed.size, "64 MiBs"),
        (typed.size, -1),
        (typed.size, 1.5),
        (typed.url, "ftp://example.org"),
        *[
            (typed.url_or_path, f"{start}{path}")
            for start in ("", "https://example.org")
            for path in (
                *("//host", "/a//b", "/..", "/a/../b", "/a/.", "/%2e%2E/b", "/a%2fb", "/a%00"),
                *("/a?query", "/a?", "/a#fragment", "/a b", "/a\\b", "/a%", "/a%zz", "/ü", "/a\n"),
            )
        ],
        (typed.url_or_path, "attach"),
        (typed.url_or_path, "//host/attach"),
        (typed.url_or_path, "https://user@example.org/attach"),
        (typed.path_prefix, "https://example.org/files"),
        (typed.url, "example.org"),
        (typed.url, "http://"),
        (typed.url, "http://user@example.org"),
        (typed.url, "http://example.org/?query"),
        (typed.url, "http://example.org/#fragment"),
        (typed.url, "http://example.org:65536"),
        (typed.url, "http://example.org:0"),
        (typed.url, "http://exa mple.org"),
        (typed.url, "http://example.org\\@evil.example"),
        (typed.path, "a\0b"),
        (typed.path, 5),
        (typed.choice("path", "virtual"), "Path"),
        (typed.choice("path", "virtual"), 5),
    ],
)
def test_a_wrong_value_is_told_with_the_setting_and_what_was_expected(
    type_: typed.Type[object], given: object
) -> None:
    """An error for people, of the kind for configurations."""
    setting = Setting("attach_x", type_, help="Something.")
    with pytest.raises(Error) as caught:
        setting.parse(given)
    expected = f"Wrong value (setting attach_x):\n    expected {type_.expected}, got {show(given)}"
    assert str(caught.value) == expected
    error = caught.value
    assert (Kind.CONFIGURATION, "wrong-setting") == (error.kind, error.code)
    assert error.setting == "attach_x"


def test_a_path_is_made_absolute_and_knows_the_home_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """A later change of directory must not move the attachments."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")
    assert DIRECTORY.parse("data") == str(tmp_path / "data")
    assert DIRECTORY.parse("~/data") == "/home/ann/data"


@pytest.mark.parametrize("given", [None, ""])
def test_none_and_empty_text_mean_not_given(given: object) -> None:
    """An unset environment variable is passed on as None, an emptied one as ''."""
    settings = validate(DECLARED, {"attach_max_size": given, "attach_key": given})
    assert settings.attach_max_size == 1024
    assert settings.attach_key is None
    assert settings.without_defaults() == {}


def test_a_wrong_address_does_not_show_what_may_be_secret_in_it() -> None:
    """Passwords and signatures are put into addresses by mistake."""
    setting = Setting("attach_url", typed.url, help="An address.")
    for given in (f"http://ann:{CANARY}@example.org", f"http://example.org/?key={CANARY}"):
        with pytest.raises(Error) as caught:
            setting.parse(given)
        assert CANARY not in str(caught.value)
        assert "***" in str(caught.value)


def test_a_long_wrong_value_is_cut() -> None:
    """An error stays one clear paragraph."""
    with pytest.raises(Error) as caught:
        LIMIT.parse("x" * 1_000_000)
    assert len(str(caught.value)) < 250


@pytest.mark.wording
def test_all_wrong_settings_are_reported_at_once() -> None:
    """Whoever sets up an application does not want to learn of mistakes one by one."""
    with pytest.raises(Error) as caught:
        validate(DECLARED, {"attach_dri": "/srv", "attach_max_size": "big", "zzz": CANARY})
    assert str(caught.value).splitlines() == [
        "Wrong settings:",
        "    attach_dri: no package declares this setting; did you mean attach_dir?",
        "    zzz: no package declares this setting",
        f"    attach_max_size: expected {typed.size.expected}, got 'big'",
    ]


def test_an_error_tells_where_a_wrong_value_is_from() -> None:
    """The same setting may stand in several places."""
    sources = {"attach_max_size": "environment ATTACH_MAX_SIZE"}
    with pytest.raises(Error, match=r"got 'big' \(environment ATTACH_MAX_SIZE\)"):
        validate(DECLARED, {"attach_max_size": "big"}, sources)


@pytest.mark.parametrize(
    "name", ["Attach", "1st", "with space", "", "keys", "without_defaults", "_x"]
)
def test_a_setting_cannot_be_declared_under_a_name_that_cannot_be_used(name: str) -> None:
    """It must be a keyword, an attribute and, in upper case, an environment variable."""
    with pytest.raises(Error, match="must be lower case, and not a method of Settings"):
        Setting(name, typed.text, help="Something.")


def test_a_declared_setting_cannot_be_changed() -> None:
    """Declarations are shared by all applications of a process."""
    with pytest.raises(AttributeError, match="is immutable: name"):
        LIMIT.name = "other"  # what is tested
    assert LIMIT.name == "attach_max_size"


def test_settings_give_values_by_name_by_attribute_and_by_declaration() -> None:
    """The declaration gives a typed value."""
    settings = validate(DECLARED, {"attach_dir": "/srv"})
    directory: str | None = settings[DIRECTORY]
    limit: int = settings[LIMIT]
    key: Secret | None = settings[KEY]
    assert (directory, limit, key) == ("/srv", 1024, None)
    assert (settings["attach_dir"], settings.attach_dir) == ("/srv", "/srv")
    assert dict(settings) == {"attach_dir": "/srv", "attach_max_size": 1024, "attach_key": None}
    assert settings.without_defaults() == {"attach_dir": "/srv"}


def test_settings_cannot_be_changed() -> None:
    """They are what was validated."""
    settings = validate(DECLARED, {})
    with pytest.raises(AttributeError):
        settings.attach_dir = "/other"  # type: ignore[attr-defined]  # what is tested
    with pytest.raises(TypeError):
        settings["attach_dir"] = "/other"  # what is tested
    assert settings.attach_dir is None


def test_an_unknown_name_suggests_a_known_one_and_stays_an_ordinary_python_error() -> None:
    """`hasattr`, `get` and `in` work as with any object and mapping."""
    settings = validate(DECLARED, {})
    with pytest.raises(AttributeError, match=r"did you mean attach_dir\?"):
        settings.attach_dri  # noqa: B018 - the access is what is tested
    with pytest.raises(KeyError, match=r"did you mean attach_dir\?"):
        settings["attach_dri"]
    assert not hasattr(settings, "attach_dri")
    assert settings.get("attach_dri", 5) == 5
    assert "attach_dri" not in settings


def test_settings_survive_copying_and_pickling() -> None:
    """Attribute access by name must not confuse the protocols of Python."""
    settings = validate(DECLARED, {"attach_key": CANARY})
    for twin in (copy.deepcopy(settings), pickle.loads(pickle.dumps(settings))):  # noqa: S301 - made here
        assert dict(twin) == dict(settings)
        assert twin.without_defaults() == settings.without_defaults()


def test_a_secret_is_never_shown_and_only_revealed_on_request() -> None:
    """Every way to print a value gives the mask."""
    secret = Secret(CANARY)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>5}", "%s" % secret]  # noqa: UP031 - what is tested
    assert shown == ["***", "***", "***", "  ***", "***"]
    assert format(secret, ">5") == "  ***"
    assert secret.reveal() == CANARY
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_secrets_are_equal_by_content_and_never_equal_a_text() -> None:
    """Comparing with a text would invite comparing in linear time."""
    assert Secret("é\udcff") == Secret("é\udcff")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert pickle.loads(pickle.dumps(Secret("a"))) == Secret("a")  # noqa: S301 - made here


def test_the_value_of_a_secret_setting_is_a_secret() -> None:
    """It is masked from the moment it is read, and may be given masked."""
    assert KEY.parse(CANARY) == Secret(CANARY)
    assert KEY.parse(Secret(CANARY)) == Secret(CANARY)
    settings = validate(DECLARED, {"attach_key": CANARY})
    assert repr(settings) == "Settings(attach_dir=None, attach_max_size=1024, attach_key=***)"


@pytest.mark.wording
def test_a_wrong_secret_is_told_without_showing_it() -> None:
    """What was given stays unknown, even where it has the wrong type."""
    with pytest.raises(Error) as caught:
        KEY.parse(CANARY.encode())
    assert (
        str(caught.value)
        == "Wrong value (setting attach_key):\n    expected text without control characters"
    )


def test_settings_black_out_their_secrets_in_a_text() -> None:
    """Messages of other libraries may repeat what they were given."""
    settings = Settings({"attach_key": Secret(CANARY), "attach_other": None})
    assert settings.mask(f"wrong: {CANARY}!") == "wrong: ***!"


def test_a_short_secret_garbles_no_text() -> None:
    """Blanking a word of a sentence would show that it is the secret."""
    settings = Settings({"attach_key": Secret("wrong"), "attach_other": Secret("12345678")})
    assert settings.mask("wrong: 12345678") == "wrong: ***"


def test_the_first_source_that_gives_a_value_wins() -> None:
    """--set, then the environment, then the file, then the default."""
    gathered = gather(
        [Setting(name, typed.text, help="Something.") for name in ("a", "b", "c", "d")],
        overrides={"a": "set"},
        environ={"A": "env", "B": "env", "D_OTHER": "env", "c": "env"},
        file_values={"a": "file", "b": "file", "c": "file"},
    )
    assert gathered.values == {"a": "set", "b": "env", "c": "file"}
    assert gathered.sources == {
        "a": "--set",
        "b": "environment B",
        "c": "rex.toml",
        "d": "default",
    }


def test_an_empty_value_leaves_the_word_to_the_next_source() -> None:
    """An empty text means not given, wherever it stands."""
    gathered = gather(
        [DIRECTORY],
        overrides={"attach_dir": ""},
        environ={"ATTACH_DIR": ""},
        file_values={"attach_dir": "/srv"},
    )
    assert gathered.values == {"attach_dir": "/srv"}
    assert gathered.sources == {"attach_dir": "rex.toml"}


def test_gathered_values_do_not_show_themselves() -> None:
    """They are not yet known to be secret or not."""
    gathered = gather(
        DECLARED, overrides={"attach_key": CANARY}, environ=os.environ, file_values={}
    )
    assert CANARY not in repr(gathered)
    assert "attach_key" in repr(gathered)


def test_unknown_names_are_passed_on_to_be_complained_about() -> None:
    """Neither the command line nor the file may hold a name that nothing declares."""
    gathered = gather(DECLARED, overrides={"attach_kye": "x"}, environ={}, file_values={"zzz": 1})
    with pytest.raises(Error) as caught:
        validate(DECLARED, gathered.values, gathered.sources)
    assert str(caught.value).splitlines()[1:] == [
        "    zzz: no package declares this setting (rex.toml)",
        "    attach_kye: no package declares this setting; did you mean attach_key? (--set)",
    ]
