"""A file system whose power can be cut, and whose writes can be made to fail for a moment.

It is in a file in memory, behind a loop device, in a mount namespace: the kernel unmounts all of
it when the process ends. The power goes by the ioctl with which the file systems' own tests cut it:
nothing more is written, not even the journal. Writes fail while the memory that the file may take
is full: what has a block already can be written, and what needs a new one cannot.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import struct
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from programs import run

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["IN_NAMESPACE", "Disk", "obstacle"]

IN_NAMESPACE = (
    *("unshare", "--mount", "--propagation=private"),
    # All its processes end with the first one, which ends with its parent.
    *("--pid", "--fork", "--kill-child", "--mount-proc"),
)

_FS_IOC_SHUTDOWN = 0x8004587D
_WITHOUT_JOURNAL = 2  # FS_GOING_FLAGS_NOLOGFLUSH

_MIB = 1024 * 1024
_SIZE = 400 * _MIB
_MEMORY = 700 * _MIB
_BLOCK = 4096
_MAKE = {
    "ext4": (
        *("mkfs.ext4", "-q", "-F", "-b", str(_BLOCK), "-J", "size=4", "-N", "16384"),
        *("-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"),
    ),
    "xfs": ("mkfs.xfs", "-q", "-K"),
}


@functools.cache
def obstacle(filesystem: str = "ext4") -> str | None:
    """Return why this machine cannot mount such a file system, or None."""
    if os.geteuid() != 0:
        return "needs root"
    programs = ("unshare", "mount", "umount", f"mkfs.{filesystem}")
    if missing := [name for name in programs if shutil.which(name) is None]:
        return f"needs {', '.join(missing)}"
    command = [*IN_NAMESPACE, sys.executable, "-m", "trust.disk", filesystem]
    path = os.pathsep.join(filter(None, sys.path))
    done = run(*command, settings={"pythonpath": path})
    return None if done.returncode == 0 else done.stderr.strip().rpartition("\n")[2]


class Disk:
    """A file system at `root`, in a directory of its own."""

    def __init__(self, directory: Path, filesystem: str) -> None:
        self.root = directory / "mounted"
        self.root.mkdir(parents=True)
        self._memory = directory / "memory"
        self._memory.mkdir()
        self._image = self._memory / "image"
        self._options = "loop,errors=continue" if filesystem == "ext4" else "loop"
        _run("mount", "-t", "tmpfs", "-o", f"size={_MEMORY}", "tmpfs", self._memory)
        with self._image.open("wb") as image:
            image.truncate(_SIZE)
        _run(*_MAKE[filesystem], self._image)
        self._mount()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for path in (self.root, self._memory):  # what an interruption has left of them
            run("umount", "--lazy", path)

    def remount(self) -> None:
        """Forget all that is in memory alone, as a restart does."""
        _run("umount", self.root)
        self._mount()

    def cut_power(self) -> None:
        """Write nothing from now on; `remount` brings the power back."""
        fd = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _FS_IOC_SHUTDOWN, struct.pack("I", _WITHOUT_JOURNAL))
        finally:
            os.close(fd)

    def write_back(self) -> None:
        """Write what is in memory, whether that succeeds or not."""
        run("sync", "-f", self.root)

    @contextlib.contextmanager
    def failing(self) -> Iterator[None]:
        """Fail to write new blocks until the end of the block."""
        self.write_back()
        filler = self._memory / "filler"
        with filler.open("wb") as file:
            while (free := os.statvfs(self._memory).f_bavail) > 2:
                with contextlib.suppress(OSError):  # less is free by now
                    os.posix_fallocate(file.fileno(), file.seek(0, 2), (free - 2) * _BLOCK)
        try:
            yield
        finally:
            filler.unlink()

    def _mount(self) -> None:
        _run("mount", "-o", self._options, self._image, self.root)
        # The loop device takes a request of which a part was written for a success, so that each
        # must be for a page of the memory, which is written or not: not for parts of two pages, as
        # with smaller blocks.
        assert os.statvfs(self.root).f_frsize == _BLOCK
        device = self.root.stat().st_dev
        queue = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/queue")
        (queue / "max_sectors_kb").write_text(str(_BLOCK // 1024))


def _run(*command: object) -> None:
    done = run(*command)
    if done.returncode:
        raise ChildProcessError(done.returncode, *command, done.stderr)


def _try(filesystem: str) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="rex-disk-") as directory,
        Disk(Path(directory), filesystem) as disk,
    ):
        disk.cut_power()
        disk.remount()


if __name__ == "__main__":
    _try(sys.argv[1])
