"""Commands, settings and targets of make that the pages name exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
import yaml
from click.exceptions import NoArgsIsHelpError

from rex.core import package as packages
from rex.core.command import root

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/README.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"  # it has names that were removed
)
DEPLOYED = [
    path for path in (ROOT / "deploy").rglob("*") if path.is_file() and path.suffix != ".pyc"
]
SHELL = r"^ *```(?:console|bash|sh|ini)\b.*\n((?:.*\n)*?) *```"
OTHER_LANGUAGES = r"^```(?:apache|caddy|nginx|ruby)\n(?:.*\n)*?```"
"""They have variables and locations of their own names."""
REFERENCE = ROOT / "docs/reference/cli.md"
MISSPELT = ("troubleshooting.md", "attach_dirr")
"""The page about troubleshooting shows what a misspelt variable does."""
EXAMPLE = "shop"
"""The command of a package that exists only on the pages."""
COMMAND = re.compile(r"(?<![\w.-])(?<!-aG )rex (?=[a-z-])")
"""The beginning of a command; `usermod -aG rex` names a group."""


def blocks(page: str) -> str:
    """Return the blocks of a page for a shell or systemd, each command on a line of its own."""
    return "".join(re.findall(SHELL, page, re.MULTILINE)).replace("\\\n", "")


def inline(page: str) -> list[str]:
    """Return the code in the sentences of a page."""
    sentences = re.sub(r"^ *```.*\n(?:.*\n)*? *```", "", page, flags=re.MULTILINE)
    found = re.findall(r"(?<!`)`((?:[^`\n]|\n(?!\n))+)`", sentences)
    return [each.replace("\n", " ").replace(r"\|", "|") for each in found]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command `rex` in lines for a shell."""
    for line in text.splitlines():
        for begin in COMMAND.finditer(line):
            words = shlex.shlex(line[begin.start() :], posix=True, punctuation_chars="();<>|&`")
            words.whitespace_split = True
            yield [*_until_operator(words)][1:]


def _until_operator(words: shlex.shlex) -> Iterator[str]:
    for word in words:
        if set(word) <= {*"();<>|&`"}:
            return
        yield word


def error_of(arguments: list[str], *, is_name: bool = False) -> str:
    """Parse a command without executing it; return the error, or nothing.

    A sentence may name a command or an option without its arguments. The value of a variable is
    unknown.
    """
    try:
        root.main(arguments, prog_name="rex", standalone_mode=False)
    except (click.MissingParameter, click.BadOptionUsage, NoArgsIsHelpError) as error:
        return "" if is_name else error.format_message()
    except click.BadParameter as error:
        is_known = not re.search(r"[$…]", " ".join(arguments))
        return error.format_message() if is_known else ""
    except click.UsageError as error:
        return error.format_message()
    return ""


@pytest.fixture(autouse=True)
def _parse_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse the commands of `rex`, and execute none; no file needs to exist."""
    monkeypatch.setattr(click.Command, "invoke", lambda *_: None)
    for kind in (click.File, click.Path):
        monkeypatch.setattr(kind, "convert", lambda _self, value, *_: value)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_on_a_page_are_accepted(page: Path) -> None:
    """The parser of `rex` knows the commands and their options, and accepts their values."""
    text = page.read_text("utf-8")
    lines = blocks(text)
    if page == REFERENCE:  # the examples are in the help
        lines += "\n".join(re.findall(r"^    .*\brex .*", text, re.MULTILINE))
    wrong = {shlex.join(each): error_of(each) for each in commands(lines)}
    for each in commands("\n".join(inline(text))):
        named = each[:-1] if each[-1] == "…" else each
        if named[:1] != [EXAMPLE]:
            wrong[shlex.join(each)] = error_of(named, is_name=True)
    assert {} == {command: error for command, error in wrong.items() if error}


def test_commands_of_deployments_are_accepted() -> None:
    """Those of units of systemd and of containers."""
    found = []
    for path in DEPLOYED:
        text = path.read_text("utf-8")
        found += [*commands("\n".join(re.findall(r"^ExecStart=(.*)", text, re.MULTILINE)))]
        lists = re.findall(r"^\s*(?:CMD|command:) (\[.*\])$", text, re.MULTILINE)
        found += [words[1:] for words in map(yaml.safe_load, lists) if words[0] == "rex"]
    assert len(found) >= 4
    assert [] == [(each, error_of(each)) for each in found if error_of(each)]


def test_a_wrong_command_is_found() -> None:
    """A command, an option and a value that do not exist; an argument too many or too few."""
    for line in (
        "rex attach swoop",
        "rex attach sweep --referenced",
        "handle=$(rex attach link --expires never /2026/a)",
        "A=b rex attach doctor now | cat",
        "docker compose exec app rex attach stat",
    ):
        (words,) = commands(line)
        assert error_of(words), line
    (words,) = commands('sh -c "$(rex attach link --method "$handle")"')
    assert ["attach", "link", "--method", "$handle"] == words


def known_names() -> set[str]:
    """Return the settings, the fixtures of our plugin and the commands of Django."""
    settings = {
        each.name for name in packages.find_installed() for each in packages.load(name).settings
    }
    source = ROOT / "src/rex/attach"
    fixtures = re.findall(
        r"def (attach_\w+)", "".join(path.read_text() for path in (source / "testing").glob("*.py"))
    )
    return {*settings, *fixtures, *(path.stem for path in source.glob("django/**/attach_*.py"))}


def test_settings_exist() -> None:
    """A name that ends with an underscore begins the name of a setting."""
    known = known_names()
    wrong = set()
    for page in [*PAGES, *DEPLOYED]:
        text = re.sub(OTHER_LANGUAGES, "", page.read_text("utf-8"), flags=re.MULTILINE)
        for name in map(str.lower, re.findall(r"(?<![\w./-])(?:attach|ATTACH)_\w+", text)):
            begins = name.endswith("_") and any(each.startswith(name) for each in known)
            if not begins and name not in known:
                wrong.add((page.name, name))
    assert {MISSPELT} == wrong


def test_targets_of_make_exist() -> None:
    """Those that pages, and comments in files for deployments, tell a developer to make."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = {*re.findall(r"^([a-z0-9-]+)(?: [a-z0-9-]+)*:", makefile, re.MULTILINE)}
    wrong = set()
    for page in [*PAGES, *DEPLOYED]:
        text = page.read_text("utf-8")
        comments = re.findall(r"^# +(.*)$", text, re.MULTILINE) if page in DEPLOYED else []
        code = "\n".join([blocks(text), *inline(text), *comments])
        found = re.findall(r"(?:^|[\s;&(])make (?:[A-Z]+=\S+ )*([a-z0-9-]+)", code, re.MULTILINE)
        wrong |= {(page.name, target) for target in found if target not in targets}
    assert set() == wrong
