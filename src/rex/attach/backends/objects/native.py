"""obstore, which is loaded once more in a process that is forked after its first use.

The threads of obstore start with its first request. A forked process has the library but not these
threads, and the library cannot start them again: each request would wait for ever. So such a
process loads a second copy of the library, with a state of its own. The loader of the system takes
a library with another name and inode for another library (dlopen(3)); an anonymous file has both.
Other users of obstore in the process keep the first copy.

``native.obstore`` is the copy that works in this process; look it up for each use. It is an
attribute of this module from its first use on, until a fork.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import shutil
import sys
import tempfile
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rex.core import Error, Kind
from rex.core.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    import obstore
    import obstore.exceptions
    import obstore.store

__all__ = ["enter", "obstore", "watch"]

if importlib.util.find_spec("obstore") is None:
    # At once, so that opening a storage says what to install (`BackendSpec.open`).
    raise ModuleNotFoundError("No module named 'obstore'", name="obstore")

log = get_logger("rex.attach")

_LIBRARY = "obstore._obstore"


class Generation:
    """Which copy of the library is in use: 0 is the one that Python imported."""

    number = 0
    library: ModuleType | None = None
    is_started = False
    """Whether this copy may have threads."""
    is_lost = False
    """Whether the threads of this copy stayed behind in the parent of this process."""
    lock = threading.Lock()


def __getattr__(name: str) -> ModuleType:
    if name != "obstore":
        raise AttributeError(name)
    enter()
    assert Generation.library is not None  # noqa: S101 - since `enter`
    library: ModuleType = globals().setdefault(name, Generation.library)
    return library


def enter() -> int:
    """Prepare to call the library; return the number of the copy that works in this process."""
    if Generation.library is None or Generation.is_lost:
        with Generation.lock:
            _prepare()
    Generation.is_started = True
    return Generation.number


def watch(items: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the chunks of a response.

    Errors: `UNAVAILABLE` if the process was forked meanwhile; a reader then sends a new request.
    """
    began = enter()
    for item in items:
        yield item
        if enter() != began:
            raise Error("The process was forked during a response", kind=Kind.UNAVAILABLE)


def _note_fork() -> None:
    Generation.is_lost = Generation.is_lost or Generation.is_started
    globals().pop("obstore", None)
    Generation.lock = threading.Lock()


os.register_at_fork(after_in_child=_note_fork)


def _prepare() -> None:
    if Generation.is_lost:
        Generation.number += 1
        Generation.library = _load_again()
        Generation.is_lost = False
        log.info("obstore is loaded again, since this process was forked after its first use")
    elif Generation.library is None:
        Generation.library = _load()


def _load() -> ModuleType:
    for name in ("obstore.store", "obstore.exceptions"):
        importlib.import_module(name)
    return sys.modules["obstore"]


def _load_again() -> ModuleType:
    """Import obstore with a copy of its library, next to the copy that is imported already."""
    kept = {name: sys.modules.pop(name) for name in _names()}
    with _copied(str(kept[_LIBRARY].__file__)) as path:
        finder = _Finder(path)
        sys.meta_path.insert(0, finder)
        try:
            return _load()
        finally:
            sys.meta_path.remove(finder)
            for name in _names():
                del sys.modules[name]
            sys.modules.update(kept)


def _names() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "obstore"]


@contextmanager
def _copied(path: str) -> Iterator[str]:
    """Copy a library to an anonymous file, or to a temporary file if the system has none."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryDirectory(prefix="rex-obstore-") as directory:
            yield shutil.copy(path, directory)
        return
    with open(path, "rb") as source, open(os.memfd_create("obstore"), "wb") as target:
        shutil.copyfileobj(source, target, 1024 * 1024)
        target.flush()
        # A name that no copy of an ancestor of this process has.
        yield f"/proc/self/{'./' * Generation.number}fd/{target.fileno()}"


class _Finder:
    """Finds the library in another place."""

    def __init__(self, path: str) -> None:
        self._path = path

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module is; None for all others."""
        del path, target
        if name != _LIBRARY:
            return None
        loader = importlib.machinery.ExtensionFileLoader(name, self._path)
        return importlib.util.spec_from_file_location(name, self._path, loader=loader)
