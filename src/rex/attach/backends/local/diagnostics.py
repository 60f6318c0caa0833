"""The diagnosis of a directory: permissions, mount, file system and secret."""

from __future__ import annotations

import os
import re
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from rex.attach.backend.diagnostics import Doctor, Step, fail, ok, skip, warn
from rex.attach.backends.local import secret_file
from rex.attach.backends.local.attributes import attach_attributes
from rex.attach.backends.local.directory import NewFile
from rex.attach.backends.local.tree import MARKER
from rex.attach.storage import Storage
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rex.attach.backend.diagnostics import Check
    from rex.attach.backends.local.files import Files

__all__ = ["LocalDoctor"]

SCARCE = 0.05
"""The free fraction of the space, or of the inodes, below which the check warns."""
MIB = 1024 * 1024
NETWORK = ("nfs", "cifs", "smb", "9p", "ceph", "lustre", "glusterfs", "fuse.sshfs", "afs")


class LocalDoctor(Doctor[Storage]):
    """Diagnoses a directory."""

    required = ("directory", "permissions")

    def __init__(
        self, storage: Storage, files: Files, *, require_marker: bool, has_secret: bool
    ) -> None:
        super().__init__(storage)
        self._files = files
        self._tree = files.tree
        self._url = storage.url
        self._path = files.tree.path
        self._require_marker = require_marker
        self._is_secret_given = has_secret
        self._quoted = shlex.quote(self._path)

    def first(self) -> list[Step]:
        exists, usable = ("directory",), self.required
        return [
            Step("directory", self._directory),
            Step("permissions", self._permissions, exists),
            Step("marker", self._marker, usable),
            Step("file system", self._file_system, exists),
            Step("space", self._space, exists),
            Step("unnamed files", self._check_unnamed, usable),
            Step("hard links", self._hard_links, usable),
            Step("attributes", self._attributes, usable),
            Step("fsync", self._fsync, usable),
            Step("secret", self._secret, exists),
        ]

    def _directory(self) -> Check:
        if not os.path.lexists(self._path):
            return fail(
                "no-directory",
                f"{self._path} does not exist",
                "mount its disk, or create the directory (an application does so when it starts):",
                *self._init,
            )
        if os.path.isdir(self._path):
            return ok(self._path)
        what = "not a directory" if os.path.exists(self._path) else "a broken symbolic link"
        return fail(
            "not-a-directory",
            f"{self._path} is {what}",
            "set attach_dir to the path of a directory, or move the file or link away",
        )

    @property
    def _init(self) -> Sequence[str]:
        parent = shlex.quote(os.path.dirname(self._path))
        command = f"$ rex attach init --storage file://{shlex.quote(quote(self._path))}"
        if os.path.isdir(os.path.dirname(self._path)):
            return (command,)
        return f"$ install -d -m 0750 -o {os.geteuid()} -g {os.getegid()} {parent}", command

    def _marker(self) -> Check:
        marker = self._tree.marker()
        if marker is not None:
            return ok(f"{MARKER}: {marker}")
        advice = "mount its disk; or, to keep attachments here, create the marker:"
        if self._files.are_untouched():
            found = f"{self._path} is empty and has no marker: its disk may not be mounted"
            return fail("not-mounted", found, advice, *self._init)
        if self._require_marker:
            found = "the directory has no marker (required by attach_dir_require_marker)"
            return fail("no-marker", found, advice, *self._init)
        found = "the directory has no marker yet"
        return warn("no-marker", found, "an application creates the marker when it starts")

    def _permissions(self) -> Check:
        status = os.stat(self._path)
        owner = f"{status.st_uid}:{status.st_gid}"
        user = f"{os.geteuid()}:{os.getegid()}"
        modes = {"read": os.R_OK, "write": os.W_OK, "search": os.X_OK}
        is_effective = os.access in os.supports_effective_ids
        denied = [
            name
            for name, flag in modes.items()
            if not os.access(self._path, flag, effective_ids=is_effective)
        ]
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        found = f"owner {owner}, mode {mode}; the process runs as {user}"
        if not denied:
            return self._open_to_others() or ok(found)
        found = f"no permission to {' or '.join(denied)}: {found}"
        if os.statvfs(self._path).f_flag & os.ST_RDONLY:
            return fail(
                "read-only",
                f"{found}; the file system is mounted read-only",
                f"$ mount -o remount,rw {shlex.quote(self._mount()[0])}",
            )
        if os.geteuid() == 0 or (status.st_uid == os.geteuid() and status.st_mode & 0o700 == 0o700):  # noqa: PLR2004 - full permissions of the owner
            return fail("immutable", f"{found}; it may be immutable", f"$ chattr -i {self._quoted}")
        if status.st_uid == os.geteuid():
            return fail("no-permission", found, f"$ chmod u+rwx {self._quoted}")
        return fail("no-permission", found, f"$ chown -R {user} {self._quoted}")

    def _open_to_others(self) -> Check | None:
        """Warn of a directory on the path that is world-writable and not sticky."""
        path = Path(os.path.realpath(self._path))
        for each in (path, *path.parents):
            mode = each.stat().st_mode
            if mode & stat.S_IWOTH and (each == path or not mode & stat.S_ISVTX):
                return warn(
                    "open-to-others",
                    f"{each} has mode {stat.S_IMODE(mode):04o}: every user of this machine can "
                    "replace its files",
                    f"$ chmod o-w {shlex.quote(str(each))}",
                )
        return None

    def _mount(self) -> tuple[str, str]:
        """Return the mount point and the type of the file system; see proc_pid_mountinfo(5)."""
        found = "/", ""
        try:
            mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
        except OSError:
            return found
        path = Path(os.path.realpath(self._path))
        for line in mounts:
            before, _, after = line.partition(" - ")
            point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), before.split()[4])
            if path.is_relative_to(point) and len(point) >= len(found[0]):
                found = point, after.split()[0]
        return found

    def _file_system(self) -> Check:
        _, kind = self._mount()
        if not kind:
            return skip("unknown", "the system does not report the file system")
        return ok(f"{kind} ({'network' if kind.startswith(NETWORK) else 'local'})")

    def _space(self) -> Check:
        status = os.statvfs(self._path)
        available = status.f_bavail * status.f_frsize
        parts = {"space": (status.f_bavail, status.f_blocks)}
        if status.f_files:
            parts["inodes"] = (status.f_favail, status.f_files)
        found = f"{available // MIB:,} MiB free"
        shares = {what: free / total for what, (free, total) in parts.items() if total}
        found += "".join(f", {share:.0%} of the {what}" for what, share in shares.items())
        scarce = [what for what, share in shares.items() if share < SCARCE]
        if scarce:
            return warn("storage-nearly-full", found, "free some space, or enlarge the file system")
        return ok(found)

    # The file system.

    def _check_unnamed(self) -> Check:
        with self._tree.hold_open() as root, NewFile(root) as file:
            if file.is_unnamed:
                return ok("a killed process leaves no files behind (O_TMPFILE)")
        return warn(
            "no-unnamed-files",
            "the file system has no unnamed files (O_TMPFILE)",
            "a killed process may leave a file .partial-* behind, which rex attach sweep finds",
        )

    def _hard_links(self) -> Check:
        with self._tree.hold_open() as root, NewFile(root) as file:
            name = f".partial-doctor-{os.getpid()}"
            try:
                file.link(name, root)
            except OSError as failure:
                return fail(
                    "no-hard-links",
                    f"the file system has no hard links: {failure.strerror}",
                    "keep the attachments on ext4, XFS, Btrfs, ZFS or NFS, which have hard links",
                )
            os.unlink(name, dir_fd=root)
        return ok("a file appears complete, and never replaces another file")

    def _attributes(self) -> Check:
        with self._tree.hold_open() as root, NewFile(root) as file:
            if attach_attributes(file.fd, {"content_type": "text/plain"}):
                return ok("content type and SHA-256 are stored with the file")
        return warn(
            "no-attributes",
            "the file system has no extended attributes",
            "content type and SHA-256 are in a small file next to each attachment: back it up too",
        )

    def _fsync(self) -> Check:
        with self._tree.hold_open() as root, NewFile(root) as file:
            file.write(b"doctor")
            os.fsync(file.fd)
            os.fsync(root)
        return ok("files and directories can be synced to the disk")

    # Links.

    def _secret(self) -> Check:
        if self._is_secret_given:
            return ok("set by attach_secret")
        if not self._has_secret():
            return ok("none yet; the first link generates it")
        path = f"{self._path}/{secret_file.SECRET_NAME}"
        quoted = shlex.quote(path)
        try:
            with self._tree.hold_open() as root:
                secret_file.own_secret(root)
        except Error as error:
            advice = ["correct or remove the file; removing it ends all existing links:"]
            if stat.S_IMODE(os.lstat(path).st_mode) & 0o077:
                advice.append(f"$ chmod 0600 {quoted}  # if no other user has read the secret")
            return fail("unusable-secret", str(error.payload), *advice, f"$ rm {quoted}")
        except OSError as failure:
            return fail(
                "unusable-secret", f"{path}: {failure.strerror}", f"$ chown {os.geteuid()} {quoted}"
            )
        return ok(f"{path}, readable by its owner only")

    def _has_secret(self) -> bool:
        return os.path.lexists(f"{self._path}/{secret_file.SECRET_NAME}")

    def lacks_links(self) -> Check | None:
        if self._url is None:
            return skip("no-links", "the directory has no service for links (setting attach_url)")
        if self._is_secret_given or self._has_secret():
            return None
        return skip(
            "no-secret", "the directory has no secret yet (.secret); the first link generates it"
        )

    # Advice.

    def advice(self, step: str, error: Error) -> Sequence[str]:
        if error.kind is Kind.DENIED:
            user = f"{os.geteuid()}:{os.getegid()}"
            return (
                "the process must own the directory and everything in it:",
                f"$ chown -R {user} {self._quoted}",
            )
        return super().advice(step, error)
