"""The command `rex`: where settings come from, how commands are found, and how they fail."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner, Result

import programs
from programs import PATIENCE, REX, started
from rex.core import Kind, cli, typed
from rex.core.command import root
from rex.core.exit_codes import EXIT_CODES

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Install = Callable[[str, str], str]

CANARY = "canary/7Gq+secret"

SHOP = """
import click
from rex.core import Error, Kind, Package, Setting, get_rex, typed
from rex.core.command import pass_rex

class Door:
    def close(self):
        click.echo("door closed")

@click.group()
def group():
    "Keep a shop."

@group.command()
@click.argument("names", nargs=-1)
@pass_rex
def show(rex, names):
    "Show the application."
    assert get_rex() is rex
    rex.service("door", Door)
    click.echo(f"{rex.settings.shop_limit} {rex.settings.shop_key!r} {' '.join(names)}".rstrip())
    click.echo(" ".join(package.name for package in rex.packages))

@group.command()
@click.argument("kind")
@pass_rex
def fail(rex, kind):
    "Fail."
    raise Error("It failed", rex.settings.shop_key.reveal(), kind=Kind(kind))

@group.command()
def crash():
    raise ValueError("boom")

@group.command()
def interrupt():
    raise KeyboardInterrupt

@group.command()
def chatter():
    for _ in range(100_000):
        click.echo("and another thing")

@group.command()
def whisper():
    print("a thing")

package = Package(
    "my.shop",
    settings=(
        Setting("shop_limit", typed.size, 1024, help="The largest good."),
        Setting("shop_key", typed.text, secret=True, help="The key of the door."),
        Setting("shop_dir", typed.path, help="Where goods are kept."),
    ),
    commands="installed_my_shop:group",
    help="Keep a shop.",
)
"""


@pytest.fixture(autouse=True)
def shop(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package with commands, and work in a directory without a `rex.toml`."""
    install("my.shop", SHOP)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    """Run `rex` in this process."""
    return CliRunner().invoke(root, list(arguments), prog_name="rex")


def start(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run `rex` as its own process, after this code."""
    script = f"{code}\nfrom rex.core.cli import main\nmain()"
    return programs.run(sys.executable, "-c", script, *arguments)


def test_the_version_is_told_quickly_and_without_click() -> None:
    """Neither click nor the parts that only commands need are imported."""
    block = "import sys; sys.modules['click'] = None"
    done = start("--version", code=block)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"rex {version('rex-attach')}\n", "")
    assert run("--version").output == done.stdout


def test_without_click_one_line_says_what_to_install() -> None:
    """The base install has no command line."""
    done = start("settings", code="import sys; sys.modules['click'] = None")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "rex: the commands need click: pip install 'rex-attach[cli]'\n"


def test_help_lists_the_commands_of_packages_without_importing_those(install: Install) -> None:
    """A package may bring no commands; one that is broken does not break the others."""
    install("my.quiet", "from rex.core import Package\npackage = Package('my.quiet')")
    install("my.broken", "import no_such_module")
    install(
        "my.late",
        "from rex.core import Package\n"
        "package = Package('my.late', commands='no_such_module:c', help='Comes late.')",
    )
    result = run("--help")
    lines = [line.split(maxsplit=1) for line in result.output.splitlines() if line.strip()]
    assert result.exit_code == 0
    assert ["shop", "Keep a shop."] in lines
    assert ["late", "Comes late."] in lines
    assert ["broken", "Not available: cannot import my.broken."] in lines
    assert "quiet" not in result.output


def test_help_is_laid_out() -> None:
    """Of every command; where a line stands as it is, click was told with a control character."""

    def look_at(words: list[str], command: click.Command | None) -> None:
        shown = run(*words, "--help").output
        assert shown == run(*words, "-h").output
        assert shown.startswith("Usage: ")
        assert "\\b" not in shown
        if isinstance(command, click.Group):
            with click.Context(command) as ctx:
                for name in command.list_commands(ctx):
                    look_at([*words, name], command.get_command(ctx, name))

    look_at([], root)


def test_help_has_examples_and_the_exit_codes() -> None:
    """Whoever writes scripts looks there first."""
    words = " ".join(run("--help").output.split())
    assert "rex --config /etc/rex.toml settings --json" in words
    assert "0 success, 1 internal, 2 wrong usage, 3 not-found" in words


@pytest.mark.wording
def test_a_package_that_cannot_be_imported_fails_as_its_own_command(install: Install) -> None:
    """Whatever arguments it is given."""
    install("my.broken", "import no_such_module")
    for arguments in (["broken"], ["broken", "ls", "-l", "--help"]):
        result = run(*arguments)
        assert result.exit_code == EXIT_CODES[Kind.CONFIGURATION]
        assert result.stderr.startswith("rex: Cannot import the package:\n    my.broken")
    assert run("shop", "show").exit_code == 0


@pytest.mark.wording
@pytest.mark.parametrize(
    ("commands", "message"),
    [
        ("no_such_module:c", "Cannot import the commands"),
        ("json:no_such_attribute", "Cannot import the commands"),
        ("json:dumps", "Commands must be a click command"),
    ],
)
def test_commands_that_cannot_be_used_say_why(
    install: Install, commands: str, message: str
) -> None:
    """The error tells where they were looked for."""
    source = f"from rex.core import Package\npackage = Package('my.late', commands={commands!r})"
    install("my.late", source)
    result = run("late")
    assert result.exit_code == EXIT_CODES[Kind.CONFIGURATION]
    assert result.stderr.startswith(f"rex: {message}:\n    {commands}")


def test_two_packages_with_one_last_name_are_both_reachable(install: Install) -> None:
    """The second one goes by its full name, and none hides a command of `rex` itself."""
    source = SHOP.replace("my.shop", "{0}").replace("installed_my_shop", "installed_{1}")
    install("your.shop", source.replace("{0}", "your.shop").replace("{1}", "your_shop"))
    settings = source.replace("{0}", "my.settings").replace("{1}", "my_settings")
    install("my.settings", settings)
    assert run("shop", "show").output.splitlines()[1] == "my.shop"
    assert run("your.shop", "show").output.splitlines()[1] == "your.shop"
    assert run("my.settings", "show").output.splitlines()[1] == "my.settings"


def test_an_unknown_command_is_wrong_usage() -> None:
    """As click has it."""
    assert run("no-such-command").exit_code == 2


def test_help_of_a_command_needs_no_configuration() -> None:
    """Not even a readable one."""
    result = run("--config", "/no/such/file", "shop", "show", "--help")
    assert result.exit_code == 0
    assert "Show the application." in result.output


def test_a_command_runs_in_its_application_which_is_closed_afterwards() -> None:
    """Settings have their defaults, arguments arrive."""
    result = run("shop", "show", "a", "b")
    assert result.output.splitlines() == ["1024 None a b", "my.shop", "door closed"]


def test_settings_come_from_set_then_environment_then_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source in turn is taken away."""
    (tmp_path / "rex.toml").write_text("[settings]\nshop_limit = 3\n")
    monkeypatch.setenv("SHOP_LIMIT", "2")
    first = [
        run("--set", "shop_limit=1", "shop", "show").output.split()[0],
        run("shop", "show").output.split()[0],
    ]
    monkeypatch.setenv("SHOP_LIMIT", "")
    assert [*first, run("shop", "show").output.split()[0]] == ["1", "2", "3"]


def test_the_file_adds_packages_to_the_command_s_own(install: Install, tmp_path: Path) -> None:
    """The command's package comes first."""
    install("my.till", "from rex.core import Package\npackage = Package('my.till')")
    file = tmp_path / "other.toml"
    file.write_text("packages = ['my.till', 'my.shop']")
    result = run("--config", str(file), "shop", "show")
    assert result.output.splitlines()[1] == "my.shop my.till"


@pytest.mark.wording
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("packages = ", "rex: Cannot read the configuration file:\n    Invalid value"),
        ("pacakges = []", "rex: Unknown key:\n    pacakges; did you mean packages?"),
        (
            "attach_dir = '/x'",
            "rex: Unknown key:\n    attach_dir; settings belong under [settings]",
        ),
        ("packages = 'my.shop'", "rex: Wrong key:\n    packages: expected a list"),
        ("settings = 5", "rex: Wrong key:\n    settings: expected a table"),
        (
            "settings.shop_lmiit = 5",
            "rex: Unknown setting (setting shop_lmiit):\n    no package declares this setting; did",
        ),
    ],
)
def test_a_file_that_is_wrong_says_what_and_where(tmp_path: Path, text: str, message: str) -> None:
    """The file is named, its values are not shown."""
    (tmp_path / "rex.toml").write_text(text)
    result = run("shop", "show")
    assert result.exit_code == EXIT_CODES[Kind.CONFIGURATION]
    assert result.stderr.startswith(message)
    assert "rex.toml" in result.stderr


def test_a_file_that_is_named_must_exist() -> None:
    """Only the default one may be missing."""
    result = run("--config", "/no/such/file", "shop", "show")
    assert result.exit_code == EXIT_CODES[Kind.CONFIGURATION]
    assert "While reading:\n    /no/such/file" in result.stderr


@pytest.mark.wording
def test_set_without_a_value_does_not_show_what_was_given() -> None:
    """It may be a secret whose name was forgotten."""
    result = run("--set", CANARY, "shop", "show")
    assert result.exit_code == EXIT_CODES[Kind.CONFIGURATION]
    assert result.stderr == "rex: --set must be NAME=VALUE\n"


@pytest.mark.wording
def test_a_wrong_setting_tells_its_source() -> None:
    """The same setting may stand in several places."""
    result = run("--set", "shop_limit=big", "shop", "show")
    assert result.exit_code == EXIT_CODES[Kind.CONFIGURATION]
    assert result.stderr.splitlines()[0] == "rex: Wrong value (setting shop_limit):"
    assert result.stderr.endswith("got 'big' (--set)\n")


@pytest.mark.wording
@pytest.mark.parametrize("kind", Kind)
def test_each_kind_of_error_has_its_own_exit_code(kind: Kind) -> None:
    """One paragraph on stderr, with secrets blacked out, and nothing of Python's."""
    result = run("--set", f"shop_key={CANARY}", "shop", "fail", kind.value)
    assert result.exit_code == EXIT_CODES[kind]
    assert result.stderr == "rex: It failed:\n    ***\n"
    assert len(set(EXIT_CODES.values()) - {0, 2}) == len(Kind)


def test_an_unexpected_exception_is_told_in_one_line() -> None:
    """It has the exit code of an internal error; `--traceback` shows where it comes from."""
    result = run("shop", "crash")
    expected = "rex: Unexpected ValueError: boom (traceback: rex --traceback …)\n"
    assert (result.exit_code, result.stderr) == (1, expected)
    result = run("--traceback", "shop", "crash")
    assert result.exit_code == 1
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.endswith("ValueError: boom\n")


def test_ctrl_c_ends_with_130_and_without_a_word() -> None:
    """The user knows what was pressed."""
    done = start("shop", "interrupt")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_ends_with_130_before_any_command_runs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing takes long enough to be interrupted."""
    monkeypatch.setattr(cli, "_run", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 130


def test_a_closed_pipe_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `rex … | head -1`, for much output and for what fits a buffer."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    for command, code in (("chatter", 141), ("whisper", 0)):
        script = "from rex.core.cli import main; main()"
        code_ = f"input()\n{script}"
        with started(sys.executable, "-c", code_, "shop", command) as process:
            process.stdout.close()
            process.stdin.write("go\n")
            process.stdin.close()
            assert process.stderr.read() == ""
            process.wait(PATIENCE)
        assert process.returncode == code


@pytest.mark.wording
def test_an_error_of_a_real_process_has_its_exit_code() -> None:
    """The console script, from end to end."""
    done = start("--set", f"shop_key={CANARY}", "shop", "fail", "not-found")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "rex: It failed:\n    ***\n"


def test_settings_are_listed_with_value_source_and_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the packages that the file names; secrets are masked."""
    (tmp_path / "rex.toml").write_text("packages = ['my.shop']")
    monkeypatch.setenv("SHOP_KEY", CANARY)
    result = run("--set", "shop_limit=2 kB", "settings")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "[my.shop]",
        "",
        "shop_limit = 2000",
        "    The largest good.",
        "    (from --set; default: 1024)",
        "",
        "shop_key = ***",
        "    The key of the door.",
        "    (from environment SHOP_KEY)",
        "",
        "shop_dir = -",
        "    Where goods are kept.",
    ]
    assert run("settings", "KEY").stdout.splitlines()[2:] == [
        "shop_key = ***",
        "    The key of the door.",
        "    (from environment SHOP_KEY)",
    ]


def test_settings_fit_a_terminal_of_80_columns() -> None:
    """All of them: the help is wrapped, and durations are written as people give them."""
    lines = programs.run(REX, "settings").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "attach_link_expires = 1h" in lines


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str, tmp_path: Path) -> None:
    """The shell accepts the script (those that are installed), and `rex` answers it."""
    script = programs.run(REX, "completion", shell)
    assert (script.returncode, script.stderr) == (0, "")
    assert f"_REX_COMPLETE={shell}_complete" in script.stdout
    (tmp_path / "script").write_text(script.stdout)
    if shell == "bash" or shutil.which(shell):
        checked = programs.run(shell, "-n", tmp_path / "script")
        assert (checked.returncode, checked.stderr) == (0, "")
    line = {"comp_words": "rex attach verify --sam", "_rex_complete": f"{shell}_complete"}
    last = {"comp_cword": "--sam" if shell == "fish" else "3"}
    answer = programs.run(REX, settings={**line, **last})
    assert "--sample" in answer.stdout


def test_settings_are_listed_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of objects, for programs."""
    (tmp_path / "rex.toml").write_text("packages = ['my.shop']")
    monkeypatch.setenv("SHOP_KEY", CANARY)
    rows = json.loads(run("settings", "--json").stdout)
    assert [row["value"] for row in rows] == [1024, "***", None]
    assert rows[0] == {
        "package": "my.shop",
        "name": "shop_limit",
        "value": 1024,
        "default": 1024,
        "source": "default",
        "type": typed.size.expected,
        "help": "The largest good.",
        "error": None,
    }


def test_settings_are_listed_even_where_some_are_wrong(tmp_path: Path) -> None:
    """What is wrong stands beside; the exit code says that something is."""
    (tmp_path / "rex.toml").write_text("packages = ['my.shop']\n[settings]\nno_such = 1")
    result = run("--set", "shop_limit=big", "settings")
    assert result.exit_code == EXIT_CODES[Kind.CONFIGURATION]
    shown = result.stdout.splitlines()
    assert shown[2] == "shop_limit = -"
    assert shown[3].startswith("    WRONG: expected a size")
    assert "    (from --set; default: 1024)" in shown
    assert "no_such: no package declares this setting (rex.toml)" in result.stderr
    assert sum(" = " in line for line in shown) == 3


@pytest.mark.wording
def test_settings_of_all_installed_packages_are_listed_without_a_file(install: Install) -> None:
    """A broken package is told after those that work."""
    install("my.broken", "import no_such_module")
    result = run("settings")
    assert result.exit_code == EXIT_CODES[Kind.CONFIGURATION]
    assert "shop_limit" in result.stdout
    assert "rex: Cannot import the package:\n    my.broken" in result.stderr


def test_click_s_own_errors_pass_through(install: Install) -> None:
    """A command may fail in click's ways."""
    source = SHOP.replace('raise ValueError("boom")', 'raise click.UsageError("not so")')
    source = source.replace("my.shop", "my.stall").replace(
        "installed_my_shop", "installed_my_stall"
    )
    install("my.stall", source)
    result = run("stall", "crash")
    assert result.exit_code == click.UsageError.exit_code
    assert "Error: not so" in result.stderr


def test_importing_the_core_is_light() -> None:
    """What takes long to import is only imported where it is needed."""
    heavy = ("click", "dataclasses", "importlib.metadata", "inspect", "pathlib", "tomllib", "json")
    code = f"import sys, rex.core; print([name for name in {heavy!r} if name in sys.modules])"
    done = programs.run(sys.executable, "-I", "-c", code)
    assert done.stdout == "[]\n"
