"""The texts of a checkout: docstrings, messages, comments and pages, each with its lines."""

from __future__ import annotations

import ast
import enum
import functools
import io
import itertools
import re
import tokenize
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["NEUTRAL", "Function", "Role", "Text", "read_functions", "read_texts"]

NEUTRAL = "X"
"""The word in place of inline code, of an address, and of a value in an f-string."""


class Role(enum.StrEnum):
    """The part that a text plays; each rule holds for some roles."""

    FUNCTION = "function docstring"
    DOCSTRING = "other docstring"
    MESSAGE = "message"
    COMMENT = "comment"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class Text:
    """A text without its code and its line breaks."""

    path: str
    role: Role
    words: str
    """The words, with one space between each two."""
    lines: tuple[int, ...]
    """The line of each word."""

    def get_line(self, position: int) -> int:
        """Return the line of the word at a position in `words`."""
        return self.lines[self.words.count(" ", 0, position)]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a module, by its name and its extent in lines."""

    path: str
    name: str
    line: int
    length: int
    is_statement: bool
    """Whether its docstring says what is: a property's value, a promise."""


_ESCAPE = "words: ok"
_MASKED = (
    (re.compile(r"(``+)[^`].*?\1|`[^`]+`", re.DOTALL), NEUTRAL),
    (re.compile(r"\]\([^)]*\)|\]\[[^]]*\]"), "]"),
    (re.compile(r"<!--.*?-->", re.DOTALL), ""),
    (re.compile(r"\b[a-z]+://[^\s|)]+"), NEUTRAL),
)
_PHRASE = re.compile(r"[A-Za-z]{2,}[,;:.]? [a-z]{2,}|[a-z][,;:.]? [A-Za-z]{2,}")
"""A literal with two words in a row is read by people; any other is a name or a value."""
_DIRECTIVE = re.compile(r"#+:?|\bnoqa\b(: [A-Z0-9, ]+)?( - )?|\btype: ignore\S*|\bpragma: .*")
_HELP = re.compile(r"^[a-z][^#]*## (.*)")
_TABLE_RULE = re.compile(r"[\s|:-]+")


def read_texts(path: Path, name: str) -> Iterator[Text]:
    """Yield the texts of a file, which the results call `name`."""
    content = path.read_text("utf-8")
    escaped = {n for n, line in enumerate(content.splitlines(), 1) if _ESCAPE in line}
    readers = {".py": _read_python, ".md": _read_page}
    for role, raw, first, last in readers.get(path.suffix, _read_makefile)(content):
        text = _make_text(name, role, raw, first)
        if text and escaped.isdisjoint(range(first, last + 1)):
            yield text


def read_functions(path: Path, name: str) -> Iterator[Function]:
    """Yield the functions of a file of Python, which the results call `name`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            yield Function(name, node.name, node.lineno, length, _is_statement(node))


def _make_text(path: str, role: Role, raw: str, first: int) -> Text | None:
    for pattern, word in _MASKED:
        raw = pattern.sub(functools.partial(_mask, word), raw)
    lines = [(word, first + n) for n, line in enumerate(raw.split("\n")) for word in line.split()]
    if not lines:
        return None
    return Text(path, role, " ".join(word for word, _ in lines), tuple(n for _, n in lines))


def _mask(word: str, found: re.Match[str]) -> str:
    return word + "\n" * found[0].count("\n")


_Raw = tuple[Role, str, int, int]
"""A role, a text as it is written, and its first and last line."""


def _read_python(content: str) -> Iterator[_Raw]:
    tree = ast.parse(content)
    lines = content.splitlines()
    docstrings: set[int] = set()
    for node in ast.walk(tree):
        for before, statement in itertools.pairwise(_list_statements(node)):
            if (value := _get_docstring(statement)) and (before is None or _is_attribute(before)):
                docstrings.add(id(value))
                role = _get_role(node) if before is None else Role.DOCSTRING
                yield role, _keep_prose(value), value.lineno, value.end_lineno or value.lineno
    yield from _find_messages(tree, lines, docstrings)
    yield from _find_comments(content)


def _list_statements(node: ast.AST) -> Sequence[ast.stmt | None]:
    """Return None and the statements of what can have a docstring, or else nothing."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return [None, *node.body] if isinstance(node, kinds) else []


def _get_docstring(statement: ast.stmt | None) -> ast.Constant | None:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def _is_attribute(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign | ast.AnnAssign)


def _get_role(node: ast.AST) -> Role:
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return Role.FUNCTION if is_function and not _is_statement(node) else Role.DOCSTRING


def _is_statement(node: ast.AST) -> bool:
    """Return whether a function is a property or a promise, whose docstring is a statement."""
    decorators = getattr(node, "decorator_list", [])
    names = [ast.unparse(each.func if isinstance(each, ast.Call) else each) for each in decorators]
    return any(name.endswith(("property", ".setter")) or "promise" in name for name in names)


def _keep_prose(docstring: ast.Constant) -> str:
    """Return a docstring with empty lines in place of literal blocks and doctests."""
    kept, is_literal = [], False
    for line in str(docstring.value).split("\n"):
        depth = len(line) - len(line.lstrip())
        is_literal = is_literal and (not line.strip() or depth > docstring.col_offset)
        kept.append("" if is_literal or line.lstrip().startswith((">>>", "... ")) else line)
        is_literal = is_literal or line.rstrip().endswith("::")
    return "\n".join(kept)


def _find_messages(tree: ast.Module, lines: list[str], known: set[int]) -> Iterator[_Raw]:
    """Yield the literals that are phrases; a raw string is a pattern, not a message."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            known.update(id(value) for value in node.values if isinstance(value, ast.Constant))
            words = "".join(_get_words(value) for value in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value
        else:
            continue
        is_raw = lines[node.lineno - 1].encode()[node.col_offset :][:2].lower().startswith(b"r")
        if id(node) not in known and not is_raw and _PHRASE.search(words):
            last = node.end_lineno or node.lineno
            # A message is one paragraph, and its line is where it begins.
            yield Role.MESSAGE, " ".join(words.split()), node.lineno, last


def _get_words(value: ast.expr) -> str:
    return str(value.value) if isinstance(value, ast.Constant) else NEUTRAL


def _find_comments(content: str) -> Iterator[_Raw]:
    """Yield the comments; those in consecutive lines of their own are one."""
    block: list[str] = []
    first = 0
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, column = token.start
        is_alone = not token.line[:column].strip()
        if block and not (is_alone and line == first + len(block)):
            yield Role.COMMENT, "\n".join(block), first, first + len(block) - 1
            block = []
        first = first if block else line
        block.append(_DIRECTIVE.sub("", token.string))
    if block:
        yield Role.COMMENT, "\n".join(block), first, first + len(block) - 1


def _read_page(content: str) -> Iterator[_Raw]:
    """Yield the paragraphs, headings and table rows of a page, without its code."""
    block: list[str] = []
    fence = ""
    for number, line in enumerate([*content.splitlines(), ""], 1):
        mark = re.match(r"\s*(```+|~~~+)", line)
        is_row = line.lstrip().startswith(("|", "#"))
        if block and (mark or fence or is_row or not line.strip()):
            yield Role.PAGE, "\n".join(block), number - len(block), number - 1
            block = []
        if mark:
            fence = "" if fence == mark[1] else fence or mark[1]
        elif is_row and not fence:
            if not _TABLE_RULE.fullmatch(line):
                yield Role.PAGE, line, number, number
        elif line.strip() and not fence and (block or not line.startswith("    ")):
            block.append(line)


def _read_makefile(content: str) -> Iterator[_Raw]:
    for number, line in enumerate(content.splitlines(), 1):
        if found := _HELP.match(line):
            yield Role.PAGE, found[1], number, number
