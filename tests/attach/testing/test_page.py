"""The tests on the page about testing pass."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from attach.testing.test_with_django import CONFTEST, MODELS
from programs import run

pytest_plugins = ("pytester",)

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "testing.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMAND = (
    *(sys.executable, "-m", "pytest", "-p", "rex.attach.testing", "-p", "anyio"),
    *("-p", "no:cacheprovider", "-W", "error", "--attach-require-s3"),
)
BARE: dict[str, object] = {"pytest_disable_plugin_autoload": 1}
ON_ASYNCIO = """
@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


@pytest.mark.long
def test_the_tests_on_the_page_pass(pytester: pytest.Pytester) -> None:
    """As one module, in a Django project that has the model."""
    tests = "\n".join(BLOCKS)
    pytester.makeconftest(dedent(CONFTEST) + ON_ASYNCIO)
    pytester.mkpydir("shop")
    pytester.makepyfile(**{"shop/models": MODELS, "test_page": tests})
    done = run(*COMMAND, directory=pytester.path, settings=BARE)
    count = len(re.findall(r"^ *(?:async )?def test_", tests, re.MULTILINE))
    assert f"{count} passed" in done.stdout, done.stdout
