"""Installed packages, for the tests that find packages as users do: through entry points."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], str]]:
    """Give a function that installs a package, by its name and its module's source.

    It returns the name of the module, in which the entry point names `package`. Processes
    that the test starts find the package too.
    """
    modules: list[str] = []

    def install(name: str, source: str) -> str:
        module = f"installed_{name.replace('.', '_')}"
        site = tmp_path / f"site-{module}"
        metadata = site / f"{module}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (site / f"{module}.py").write_text(source)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[rex.packages]\n{name} = {module}:package\n")
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
        modules.append(module)
        return module

    yield install
    for module in modules:
        sys.modules.pop(module, None)
