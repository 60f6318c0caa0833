"""The checker of the house rules for words: what it reads, what it finds, and how it reports."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from texts import Role, Text, read_texts
from words import Hit, check, find_hits, is_participle, main

ROOT = Path(__file__).parents[1]

TABLE = (
    (1, Role.FUNCTION, "Give the key of a handle.", "Return the key of a handle."),
    (1, Role.FUNCTION, "The key of a handle.", "Handle the key."),
    (1, Role.FUNCTION, "X raises an error.", "Raise X."),
    (1, Role.FUNCTION, "Cancelled, an add stores nothing.", "Embed a font."),
    (1, Role.DOCSTRING, "Lets bytes pass at a rate.", "Whether the upload is complete."),
    (2, Role.MESSAGE, "the link works for anybody", "the link works for any client"),
    (2, Role.PAGE, "This is what one would expect; one can seek.", "At most one may be set."),
    (3, Role.DOCSTRING, "What is known of an attachment.", "The metadata of an attachment."),
    (3, Role.PAGE, "Drafts are removed.", "This follows an IETF draft."),
    (3, Role.MESSAGE, "the verb of this kind of storage", "the hook of the application"),
    (4, Role.FUNCTION, "Send it to the server.", "Send the body, unless it is empty."),
    (4, Role.FUNCTION, "Return another one.", "Return a link. Each call makes another one."),
    (4, Role.MESSAGE, "It exists already", "Attachment exists, so it is unchanged"),
    (5, Role.MESSAGE, "a is no handle", "there is no handle, and b is no longer than a"),
    (6, Role.COMMENT, "The server is asked first.", "The two can be told apart."),
    (6, Role.COMMENT, "The larger part is taken.", "The size is taken from the header."),
    (7, Role.COMMENT, "The name stands in the header.", "The storage is standalone."),
    (7, Role.MESSAGE, "The keys do not permit to list", "The link permits one upload"),
    (7, Role.PAGE, "How fast it is, beside what others do.", "A small file beside it."),
)
"""A rule, the role of a text, a text that breaks the rule, and a text that keeps all rules."""

MODULE = '''
"""Nobody is here."""

LIMIT = 5
"""Whoever asks is
told."""
PATTERN = r"nobody or nothing"
NAME = "nobody"


class Case:
    """A case::

        nobody reads an example
    """

    @property
    def size(self) -> int:
        """The size of `nobody`."""
        return 5


# Somebody calls
# this anew.
def opened(value: int) -> str:
    """Return nothing."""
    return f"{value} of nobody " "is asked"  # noqa: X1 - for nobody
'''


def check_text(role: Role, words: str) -> set[int]:
    """Return the numbers of the rules that a text breaks."""
    return {hit.rule for hit in find_hits(Text("a.py", role, words, (1,) * len(words.split())))}


def check_file(tmp_path: Path, name: str, content: str) -> list[tuple[int, int, str]]:
    """Return the line, rule and words of each hit in a file."""
    path = tmp_path / name
    path.write_text(textwrap.dedent(content))
    each = (hit for text in read_texts(path, name) for hit in find_hits(text))
    return sorted((hit.line, hit.rule, hit.text) for hit in each)


@pytest.mark.parametrize(("rule", "role", "wrong", "right"), TABLE)
def test_each_rule_finds_what_breaks_it(rule: int, role: Role, wrong: str, right: str) -> None:
    """Expect no rule at all to find a right text."""
    assert rule in check_text(role, wrong)
    assert set() == check_text(role, right)


def test_docstrings_messages_and_comments_are_read(tmp_path: Path) -> None:
    """Expect the lines of the words, and no patterns, values, inline code or literal blocks."""
    assert [
        (2, 2, "Nobody"),
        (5, 2, "Whoever"),
        (5, 6, "is told"),
        (23, 2, "Somebody"),
        (24, 7, "anew"),
        (27, 2, "nobody"),
        (27, 2, "nobody"),
        (27, 6, "is asked"),
    ] == check_file(tmp_path, "a.py", MODULE)


def test_pages_and_the_help_of_a_makefile_are_read(tmp_path: Path) -> None:
    """Expect no code, whether in a block, in a line or indented, and no addresses."""
    page = """
    # Nobody

    Text of [somebody](nobody.md)
    by `nobody` https://nobody.example.

    ```console
    nobody
    ```

        nobody

    | `nobody` | anybody |
    |---|---|
    """
    expected = [(2, 2, "Nobody"), (4, 2, "somebody"), (13, 2, "anybody")]
    assert expected == check_file(tmp_path, "a.md", page)
    makefile = "run: nobody  ## Run nobody.\n\techo nobody  # nobody\n"
    assert [(1, 2, "nobody")] == check_file(tmp_path, "Makefile", makefile)


def test_a_comment_exempts_a_text(tmp_path: Path) -> None:
    """Expect the next text to count again."""
    module = """
    A = "nobody is here"  # words: ok
    B = "somebody is here"
    """
    assert [(3, 2, "somebody")] == check_file(tmp_path, "a.py", module)
    page = "Nobody is here. <!-- words: ok -->\n\nSomebody is here.\n"
    assert [(3, 2, "Somebody")] == check_file(tmp_path, "a.md", page)


def test_participles_differ_from_other_words() -> None:
    """Expect imperatives and nouns with the same end to be right."""
    wrong = ["_opened", "opening_a_file", "left_out", "undone", "wanted_type"]
    right = ["feed", "embed_font", "setting_of", "string", "_ping", "open", "is_opened", "__init__"]
    assert wrong == [name for name in wrong + right if is_participle(name)]


def test_only_too_many_participles_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Expect the limit to be a share of the functions in src."""
    (tmp_path / "src").mkdir()
    module = tmp_path / "src" / "a.py"
    module.write_text("def opened(): ...\n" + "def open(): ...\n" * 40)
    assert 0 == main(["--root", str(tmp_path)])
    module.write_text("def opened(): ...\n" + "def open(): ...\n" * 20)
    assert 1 == main(["--root", str(tmp_path)])
    assert "src/a.py:1: rule 9" in capsys.readouterr().out


def test_the_report_names_place_rule_and_advice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Expect lines, counts or JSON."""
    (tmp_path / "README.md").write_text("Nobody is here.\n\nFine.\n")
    hit = Hit("README.md", 1, 2, "Nobody", "name the client, server, caller or upload")
    arguments = ["--root", str(tmp_path)]
    assert 1 == main(arguments)
    assert f"{hit}\n2 texts, 1 with a hit" in capsys.readouterr().out
    assert 1 == main([*arguments, "--count"])
    assert "rule 2: 1\nrule 3: 0\n" in capsys.readouterr().out
    assert 1 == main([*arguments, "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert {"1": 0, "2": 1, "3": 0, "4": 0, "5": 0, "6": 0, "7": 0} == printed["rules"]
    assert [2, 1] == printed["texts"]["page"]


def test_a_path_without_files_is_an_error(tmp_path: Path) -> None:
    """Expect the checker to fail when it reads nothing."""
    with pytest.raises(SystemExit):
        main(["--root", str(tmp_path), "misspelt"])


def test_the_tools_keep_the_rules() -> None:
    """Expect no hit in the tools themselves."""
    assert [] == check(ROOT, ["tools"]).failures
