"""A model of a disk: what of a directory would be there if the power went at this moment.

Only what was synced counts: the content and the attributes of a file as they were when the file
was synced, the names in a directory as they were when the directory was synced. A real file system
keeps more, at its own discretion; what it promises is this.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

CALLS = (
    "mkdir",
    "open",
    "link",
    "rename",
    "write",
    "ftruncate",
    "fsync",
    "unlink",
    "rmdir",
    "setxattr",
    "fchmod",
)
"""What a storage does to a directory, and all the moments at which the power may go."""


class Node(NamedTuple):
    """A file or a directory, however it is called; a disk holds it open, so it stays the same."""

    device: int
    number: int


class File(NamedTuple):
    """What of a file is on the disk."""

    content: bytes
    attributes: dict[str, bytes]


class Disk:
    """The disk under one directory, which must be empty."""

    def __init__(self, root: Path) -> None:
        self.points = 0
        """The moments so far at which the power might have gone."""
        self.exposed: list[str] = []
        """The names that were given to files before their content was on the disk."""
        self.leave_out: Callable[[str], bool] = lambda _: False
        """Which paths are not synced although the storage asks for it."""
        self.at_each_point: Callable[[], None] = lambda: None
        self._root = str(root)
        self._top = _node(root.stat())
        self._files: dict[Node, File] = {}
        self._names: dict[Node, dict[str, Node]] = {self._top: {}}
        self._held = ExitStack()
        self._real = {name: getattr(os, name) for name in CALLS}

    @contextmanager
    def recorded(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Watch what the process does to its files."""
        with self._held, monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, self._watched(name))
            yield

    def surviving(self) -> dict[str, File]:
        """Give all files that a power cut would leave now, by path."""
        return dict(self._below(self._top, ""))

    def _below(self, directory: Node, prefix: str) -> Iterator[tuple[str, File]]:
        for name, node in self._names.get(directory, {}).items():
            if node in self._files:
                yield prefix + name, self._files[node]
            yield from self._below(node, f"{prefix}{name}/")

    def _watched(self, name: str) -> Callable[..., Any]:
        real = self._real[name]
        note = getattr(self, f"_note_{name}", None)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            if note is not None:
                note(*args, **kwargs)
            self.points += 1
            self.at_each_point()
            return result

        return call

    def _note_fsync(self, fd: int) -> None:
        path = str(Path(f"/proc/self/fd/{fd}").readlink()).removeprefix(self._root).strip("/")
        if self.leave_out(path):
            return
        node = self._hold(fd)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            self._names[node] = {entry: self._node_at(entry, fd) for entry in os.listdir(fd)}
        else:
            self._files[node] = _file(fd, self._real["open"])

    def _note_link(self, _: str, name: str, *, dst_dir_fd: int, **__: Any) -> None:
        node = self._node_at(name, dst_dir_fd)
        fd = self._real["open"](name, os.O_RDONLY, dir_fd=dst_dir_fd)
        self._held.callback(os.close, fd)
        if self._files.get(node) != _file(fd, self._real["open"]):
            self.exposed.append(name)

    def _node_at(self, name: str, parent: int) -> Node:
        fd = self._real["open"](name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=parent)
        self._held.callback(os.close, fd)
        return _node(os.fstat(fd))

    def _hold(self, fd: int) -> Node:
        self._held.callback(os.close, os.dup(fd))
        return _node(os.fstat(fd))


def _node(status: os.stat_result) -> Node:
    return Node(status.st_dev, status.st_ino)


def _file(fd: int, real_open: Callable[..., int]) -> File:
    path = f"/proc/self/fd/{fd}"
    with os.fdopen(real_open(path, os.O_RDONLY), "rb") as file:
        return File(file.read(), {name: os.getxattr(fd, name) for name in os.listxattr(fd)})
