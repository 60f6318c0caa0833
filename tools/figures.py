"""The figures of a checkout that the house rules are about: sizes, circles, names, words.

Usage: ``python tools/figures.py [--root DIR] [--json]``.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import statistics
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import words
from graph import Imports, find_circles
from texts import read_functions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Circles", "Figures", "count_private", "find_hooks", "main", "measure"]

LONG_FILE = 400
"""A file with more lines is listed."""
HOOKS = (("hooks.py", "Hooks"), ("backend/base.py", "Backend"))
"""Where the class of the backend methods may be, below rex.attach."""


@dataclass(frozen=True, slots=True)
class Circles:
    """Names that import each other, directly or not."""

    between: list[list[str]]
    """The circles between folders."""
    within: list[list[str]]
    """The circles of modules within a folder."""

    @classmethod
    def find(cls, root: Path, *, typing: bool) -> Circles:
        """Find the circles of a checkout, with `typing` also those by imports for types."""
        imports = Imports.read(root, typing=typing)
        parts = imports.group(_get_part)
        folders = imports.packages & {*parts} - {"rex.attach"}
        between = [each for each in find_circles(parts) if not folders.isdisjoint(each)]
        within = {
            module: {other for other in imported if _share_folder(module, other, folders)}
            for module, imported in imports.arrows.items()
        }
        return cls(between, [*find_circles(within)])


def _get_part(module: str) -> str:
    """Return the package or module directly below rex.attach, or else the package below rex."""
    levels = module.split(".")
    return ".".join(levels[: 3 if levels[1] == "attach" else 2])


def _share_folder(module: str, other: str, folders: frozenset[str]) -> bool:
    one, two = _get_part(module), _get_part(other)
    return one == two or folders.isdisjoint((one, two))


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a checkout; lengths are in lines, and a name comes before its length."""

    source: tuple[int, int]
    """The number of files in src, and of their lines."""
    tests: tuple[int, int]
    longest_file: tuple[str, int]
    longest_function: tuple[str, int]
    long_files: list[tuple[str, int]]
    median_function: float
    circles: Circles
    circles_with_types: Circles
    private_lines: int
    """The lines of src in which `noqa` silences SLF001."""
    private_patterns: list[str]
    """The patterns of files in src for which the settings silence SLF001."""
    functions: int
    participles: int
    texts: int
    wrong_texts: int
    hits: dict[int, int]
    """The number of hits by the number of the rule."""
    s3_mentions: dict[str, int]
    """The mentions of `attach_s3_` by file, outside S3's own files and explain."""
    required_hooks: list[str]
    optional_hooks: list[str]

    def format_lines(self) -> Iterator[str]:
        """Yield the figures as lines for people."""
        yield "src: {} files, {} lines".format(*self.source)
        yield "tests: {} files, {} lines".format(*self.tests)
        yield "longest file: {}, {} lines".format(*self.longest_file)
        yield "longest function: {}, {} lines".format(*self.longest_function)
        yield f"files over {LONG_FILE} lines: {_format_list(map(str, dict(self.long_files)))}"
        yield f"median length of a function: {self.median_function:g} lines"
        for label, circles in (("", self.circles), (" with types", self.circles_with_types)):
            for kind, found in (("between", circles.between), ("within", circles.within)):
                noun = "folders" if kind == "between" else "a folder"
                yield f"circles {kind} {noun}{label}: {_format_list(map(' '.join, found))}"
        yield (
            f"private accesses silenced: {self.private_lines} lines, "
            f"patterns of files: {_format_list(self.private_patterns)}"
        )
        share = 100 * self.participles / max(self.functions, 1)
        yield f"functions named by a participle: {self.participles} ({share:.1f} %)"
        counts = ", ".join(f"rule {number}: {count}" for number, count in self.hits.items())
        yield f"texts with a hit: {self.wrong_texts} of {self.texts} ({counts})"
        mentions = sum(self.s3_mentions.values())
        yield f"mentions of attach_s3_ elsewhere: {mentions} in {len(self.s3_mentions)} files"
        yield f"optional hooks: {_format_list(self.optional_hooks)}"
        yield f"required hooks: {_format_list(self.required_hooks)}"


def _format_list(found: Sequence[str] | Iterator[str]) -> str:
    items = [*found]
    return "".join((str(len(items)), *(f"\n    {item}" for item in items)))


def measure(root: Path) -> Figures:
    """Return the figures of a checkout."""
    sizes = _measure_files(root, "src")
    source = root / "src"
    lengths = {
        f"{each.path}:{each.line} {each.name}": each.length
        for name in sizes
        for each in read_functions(root / name, name)
    }
    survey = words.check(root)
    required, optional = find_hooks(source / "rex" / "attach")
    private_lines, private_patterns = count_private(root)
    return Figures(
        source=(len(sizes), sum(sizes.values())),
        tests=(len(tests := _measure_files(root, "tests")), sum(tests.values())),
        longest_file=_find_longest(sizes),
        longest_function=_find_longest(lengths),
        long_files=sorted((name, size) for name, size in sizes.items() if size > LONG_FILE),
        median_function=statistics.median(lengths.values()),
        circles=Circles.find(root, typing=False),
        circles_with_types=Circles.find(root, typing=True),
        private_lines=private_lines,
        private_patterns=private_patterns,
        functions=survey.functions,
        participles=len(survey.participles),
        texts=survey.read.total(),
        wrong_texts=survey.wrong.total(),
        hits=survey.rules,
        s3_mentions=_count_mentions(source / "rex" / "attach"),
        required_hooks=required,
        optional_hooks=optional,
    )


def _measure_files(root: Path, folder: str) -> dict[str, int]:
    """Return the number of lines of each file of Python in a folder."""
    files = (
        path for path in sorted((root / folder).rglob("*.py")) if "node_modules" not in path.parts
    )
    return {path.relative_to(root).as_posix(): _read(path).count("\n") for path in files}


def _find_longest(lengths: dict[str, int]) -> tuple[str, int]:
    return max(lengths.items(), key=lambda item: item[1])


def count_private(root: Path) -> tuple[int, list[str]]:
    """Return how many lines of src silence SLF001, and the patterns that do so for whole files."""
    silenced = re.compile(r"#\s*noqa:.*\bSLF001\b")
    lines = (line for path in root.glob("src/**/*.py") for line in _read(path).splitlines())
    settings = tomllib.loads(_read(root / "pyproject.toml"))["tool"]["ruff"]["lint"]
    ignores = settings.get("per-file-ignores", {}).items()
    patterns = [each for each, codes in ignores if each.startswith("src") and "SLF001" in codes]
    return sum(bool(silenced.search(line)) for line in lines), patterns


def _count_mentions(folder: Path) -> dict[str, int]:
    names = {path: path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.py"))}
    counts = {
        name: _read(path).count("attach_s3_")
        for path, name in names.items()
        if "s3" not in name and "explain" not in name
    }
    return {name: count for name, count in counts.items() if count}


def find_hooks(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the required and of the optional methods of a backend."""
    for name, wanted in HOOKS:
        path = folder / name
        for node in ast.parse(_read(path)).body if path.exists() else ():
            if isinstance(node, ast.ClassDef) and node.name == wanted:
                methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
                own = [each for each in methods if not each.name.startswith("__")]
                required = [each.name for each in own if _is_abstract(each)]
                return required, [each.name for each in own if each.name not in required]
    return [], []


def _is_abstract(method: ast.FunctionDef) -> bool:
    return any("abstract" in ast.unparse(each) for each in method.decorator_list)


def _read(path: Path) -> str:
    return path.read_text("utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures of a checkout."""
    parser = argparse.ArgumentParser(description="Print the figures of a checkout.")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="checkout")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    figures = measure(options.root.resolve())
    if options.json:
        print(json.dumps(asdict(figures), indent=2))
    else:
        print(*figures.format_lines(), sep="\n")


if __name__ == "__main__":
    main()
