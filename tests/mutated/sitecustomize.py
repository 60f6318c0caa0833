"""Every message of every `Error` gets a word more, where this directory is on PYTHONPATH.

Python imports this module as it starts. What passes without it and not with it decides by a message
(tests/test_wording.py).
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

WORD = "indeed"
MODULE = "rex.core.error"


class _Finder:
    """Finds the module of `Error`, once, with a loader that changes the class."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            _mutate(module.Error)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _mutate(error: Any) -> None:
    init = error.__init__

    def mutated(self: object, message: str, *args: object, **options: object) -> None:
        # Copies and what was pickled have the word already.
        init(self, message if message.endswith(WORD) else f"{message} {WORD}", *args, **options)

    error.__init__ = mutated


sys.meta_path.insert(0, _Finder())
