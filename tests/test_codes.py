"""docs/reference/errors.md has every code that the source has, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rex.attach.links.reason import REASONS
from rex.core import Kind
from rex.core.problem import STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "rex"
FINDERS = {"warn", "fail", "skip", "verdict"}
"""What makes a finding; its first argument is the code."""
CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def calls(path: Path) -> Iterator[ast.Call]:
    """Yield the calls in a file of the source."""
    yield from (
        node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    )


def constants(path: Path) -> dict[str, object]:
    """Return the constants of a module by their names."""
    return {
        target.id: node.value.value
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def error_codes() -> set[object]:
    """Return the codes of errors and problems: literals, constants, and the kinds of problems."""
    found: set[object] = {kind.value for kind in Kind}
    for path in SOURCE.rglob("*.py"):
        known = constants(path)
        for call in calls(path):
            given = [each.value for each in call.keywords if each.arg == "code"]
            if getattr(call.func, "id", "") in ("problem", "make_problem") and not given:
                given = call.args[2:3]
            for value in given:
                if isinstance(value, ast.Constant):
                    found.add(value.value)
                elif isinstance(value, ast.Name) and value.id in known:
                    found.add(known[value.id])
    return found - {""}


def finding_codes() -> set[object]:
    """Return the codes of the doctor's findings."""
    found: set[object] = {"ok"}
    for path in (SOURCE / "attach").rglob("*.py"):
        if not path.stem.endswith(("diagnostics", "diagnosis")):
            continue
        for call in calls(path):
            is_finder = getattr(call.func, "id", "") in FINDERS or isinstance(call.func, ast.IfExp)
            if is_finder and call.args and isinstance(call.args[0], ast.Constant):
                found.add(call.args[0].value)
    return found


def documented(title: str) -> dict[str, list[str]]:
    """Return the rows of a section's table in docs/reference/errors.md by their codes."""
    text = (ROOT / "docs" / "reference" / "errors.md").read_text().partition(f"\n## {title}\n")[2]
    section = text.partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:3] == "| `"]
    codes = [row[0].strip("`") for row in rows]
    assert codes == sorted(set(codes))
    return {code: row[1:] for code, row in zip(codes, rows, strict=True)}


def test_every_code_of_an_error_is_documented() -> None:
    """Both ways; a code is one word in the kebab style."""
    codes = error_codes()
    assert codes == {*documented("Errors")}
    assert all(CODE.fullmatch(str(code)) for code in codes)


def test_kinds_and_statuses_in_the_documentation_are_real() -> None:
    """A code that is a kind has its status; other codes name their kinds."""
    kinds = {kind.value for kind in Kind}
    for code, (of, status, *_) in documented("Errors").items():
        named = set(re.findall(r"[a-z]+(?:-[a-z]+)*", of))
        assert named <= kinds | {"method-not-allowed", "precondition-failed"} | {code}, code
        if code in kinds:
            assert {code} == named
            assert str(STATUSES[Kind(code)]) == status


def test_every_reason_is_documented_with_its_sentence() -> None:
    """As `rex attach explain` prints it."""
    shown = {code: [re.sub(r"\{\w+\}", "…", text)] for code, text in REASONS.items()}
    assert shown == documented("Reasons")


def test_every_code_of_a_finding_is_documented() -> None:
    """Besides those of errors, which a step may fail with."""
    assert finding_codes() == {*documented("Findings")}
