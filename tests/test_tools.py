"""The map and the figures of a checkout: folders, imports, circles, sizes, names."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from graph import find_circles
from programs import run

TOOLS = Path(__file__).parents[1] / "tools"

CHECKOUT = {
    "pyproject.toml": """
        [tool.ruff.lint.per-file-ignores]
        "src/rex/attach/s3.py" = ["SLF001"]
        "tests/**" = ["SLF001"]
    """,
    "README.md": "Nobody is here.\n",
    "tests/test_a.py": "A = 1\nB = 2\n",
    "src/rex/core/__init__.py": '"""The core: a container. It is small."""\n',
    "src/rex/attach/__init__.py": '"""Attachments."""\nfrom rex.core import A\n',
    "src/rex/attach/hooks.py": """
        class Hooks:
            def __init__(self): ...
            @abc.abstractmethod
            def _put(self): ...
            def _check(self): ...
    """,
    "src/rex/attach/s3.py": "NAME = 'attach_s3_bucket'\n",
    "src/rex/attach/web/__init__.py": "import rex.attach.links.sign\n",
    "src/rex/attach/web/app.py": """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from rex.attach.web import tus
        def opened(key):
            return key._key  # noqa: SLF001 - our own
    """,
    "src/rex/attach/web/tus.py": "import rex.attach.web.app\nN = 'attach_s3_a', 'attach_s3_b'\n",
    "src/rex/attach/links/__init__.py": "",
    "src/rex/attach/links/sign.py": """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import rex.attach.web.app
    """,
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small checkout."""
    root = tmp_path_factory.mktemp("checkout")
    for name, content in CHECKOUT.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(_dedent(content))
    return root


def _dedent(content: str) -> str:
    return content.replace("\n" + " " * 8, "\n").lstrip("\n")


def read_output(tool: str, root: Path, *options: str) -> str:
    """Return what a tool prints of a checkout."""
    done = run(sys.executable, TOOLS / tool, "--root", root, *options)
    assert 0 == done.returncode, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def figures(checkout: Path) -> dict[str, Any]:
    """Return the figures of the small checkout."""
    found: dict[str, Any] = json.loads(read_output("figures.py", checkout, "--json"))
    return found


def test_sizes_are_those_of_the_files(figures: dict[str, Any]) -> None:
    """Expect the files of tests to count separately."""
    assert [9, 20] == figures["source"]
    assert [1, 2] == figures["tests"]
    assert ["src/rex/attach/web/app.py:4 opened", 2] == figures["longest_function"]
    assert 1.0 == figures["median_function"]


def test_circles_are_found_with_and_without_imports_for_types(figures: dict[str, Any]) -> None:
    """Expect circles between folders and within one."""
    assert {"between": [], "within": []} == figures["circles"]
    between = [["rex.attach.links", "rex.attach.web"]]
    within = [["rex.attach.web.app", "rex.attach.web.tus"]]
    assert {"between": between, "within": within} == figures["circles_with_types"]


def test_names_and_words_are_counted(figures: dict[str, Any]) -> None:
    """Expect hooks, mentions of S3 and silenced accesses by their names."""
    assert (["_put"], ["_check"]) == (figures["required_hooks"], figures["optional_hooks"])
    assert {"web/tus.py": 2} == figures["s3_mentions"]
    assert (1, ["src/rex/attach/s3.py"]) == (figures["private_lines"], figures["private_patterns"])
    assert (1, 4) == (figures["participles"], figures["functions"])
    assert (1, 1) == (figures["wrong_texts"], figures["hits"]["2"])


def test_the_figures_can_be_read(checkout: Path) -> None:
    """Expect a line for each figure, and more lines for names."""
    lines = read_output("figures.py", checkout).splitlines()
    assert "src: 9 files, 20 lines" == lines[0]
    place = lines.index("circles between folders with types: 1")
    assert "    rex.attach.links rex.attach.web" == lines[place + 1]


def test_the_map_shows_folders_and_arrows(checkout: Path) -> None:
    """Expect the first sentence of each docstring."""
    assert [
        "rex/attach        Attachments.",
        "rex/attach/links",
        "rex/attach/web",
        "rex/core          The core: a container.",
        "",
        "rex.attach       -> rex.core",
        "rex.attach.links -> rex.attach.web",
        "rex.attach.web   -> rex.attach.links",
    ] == read_output("map.py", checkout).splitlines()


def test_the_map_is_a_flowchart_too(checkout: Path) -> None:
    """Expect Mermaid, with names that Mermaid accepts."""
    lines = read_output("map.py", checkout, "--mermaid").splitlines()
    assert "flowchart TD" == lines[0]
    assert '    rex_attach_web["rex.attach.web"]' in lines
    assert "    rex_attach_web --> rex_attach_links" in lines


def test_a_circle_has_all_its_names_once() -> None:
    """Expect no name that only leads to a circle."""
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"f"}, "f": {"e", "g"}}
    assert [["a", "b", "c"], ["e", "f"]] == [*find_circles(arrows)]
