"""Waiting until the disk has a file and its names: each for itself, or several threads together."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

from rex.attach.backends.local.directory import sync_directory
from rex.attach.backends.local.linux import can_sync_all, check_written, sync_all

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Syncing", "grouped"]


class Syncing:
    """Syncs a file before it gets its name, and then its names, each with fsync(2)."""

    def sync_tree(self, root: int) -> None:
        """Wait until the disk has all that is below the root, also of other processes."""
        del root
        os.sync()

    def sync_file(self, fd: int) -> None:
        """Wait until the disk has an open file."""
        os.fsync(fd)

    def sync_names(self, parent: int, day: int) -> None:
        """Wait until the disk has the names in both open directories."""
        sync_directory(parent)
        sync_directory(day)


def grouped(root: int) -> Syncing:
    """Return what syncs the files of all threads together, if the file system allows it."""
    return _GroupSyncing(os.fstat(root).st_dev) if can_sync_all(root) else Syncing()


class _GroupSyncing(Syncing):
    """One syncfs(2) for all threads that wait, while those that come later form the next group.

    It replaces several fsync for each file. A failure is that of the whole group: none of its files
    gets a name, or none of its names counts as durable. syncfs also waits for what other programs
    write to the file system.
    """

    def __init__(self, device: int) -> None:
        self._device = device
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._next: _Group | None = None

    def sync_tree(self, root: int) -> None:
        self._sync(root, lambda: sync_directory(root))

    def sync_file(self, fd: int) -> None:
        if not self._covers(fd):
            super().sync_file(fd)
            return
        self._sync(fd, lambda: os.fsync(fd))
        check_written(fd)

    def sync_names(self, parent: int, day: int) -> None:
        if not self._covers(day):
            super().sync_names(parent, day)
            return
        self._sync(day, lambda: sync_directory(day))

    def _covers(self, fd: int) -> bool:
        """Check that a file is on the file system, and that no thread is missing, as in a fork."""
        return os.getpid() == self._process and os.fstat(fd).st_dev == self._device

    def _sync(self, fd: int, check: Callable[[], None]) -> None:
        """Join the next group; the first of it syncs for all.

        `check` finds out whether the file system has become read-only after an error of the disk,
        when syncfs does nothing.
        """
        with self._lock:
            group, is_first = self._next, self._next is None
            if group is None:
                group = self._next = _Group()
        if is_first:
            try:
                with self._turn:
                    self._close(group)
                    group.sync(fd, check)
            finally:
                self._close(group)
                group.has_ended.set()
        group.wait()

    def _close(self, group: _Group) -> None:
        """Close the group: what others write from now on may be too late for its sync."""
        with self._lock:
            if self._next is group:
                self._next = None


class _Group:
    """Threads that wait for one sync."""

    def __init__(self) -> None:
        self.has_ended = threading.Event()
        self._failure: OSError | None = OSError(errno.EINTR, os.strerror(errno.EINTR))

    def sync(self, fd: int, check: Callable[[], None]) -> None:
        """Sync the file system of an open file."""
        try:
            sync_all(fd)
            check()
            self._failure = None
        except OSError as failure:
            self._failure = failure

    def wait(self) -> None:
        """Wait for the sync; raise its failure."""
        self.has_ended.wait()
        if self._failure is not None:
            raise OSError(*self._failure.args)
