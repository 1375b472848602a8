"""Advisory locks between processes: who writes the library, and who owns the index of a space."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from mmretrieval.errors import LibraryBusy, LibraryError


class NotWritable(LibraryError):
    """The folder may only be read."""


class FolderLock:
    """An exclusive lock on a file, held until `release` or the end of the process, however it ends.

    It holds between threads as well. Raises LibraryBusy while another one has it, unless told to `wait`, and
    NotWritable where no file can be made.
    """

    def __init__(self, path: Path, what: str, *, wait: bool = False) -> None:
        self.path = path
        self.handle = _opened(path, what)
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            while not self._is_there():  # its last holder removed the file before letting go: it guards nothing
                os.close(self.handle)
                self.handle = _opened(path, what)
                fcntl.flock(self.handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self.handle, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(self.handle)
            raise LibraryBusy(f"{what} is in use by {holder}: wait until it has ended, or end it ({path})") from None
        self._sign()

    def _is_there(self) -> bool:
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        held = os.fstat(self.handle)
        return (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)

    def _sign(self) -> None:
        """Writes the holder's name for others to read; a lock without one, on a full disk, is a lock all the same."""
        try:
            os.ftruncate(self.handle, 0)
            os.pwrite(self.handle, f"process {os.getpid()}".encode(), 0)
        except OSError:
            return

    def release(self) -> None:
        """Lets the next one in."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def remove(self) -> None:
        """Removes the file, and lets the next one in: for what is gone, or is seldom in use."""
        if self.handle >= 0:
            self.path.unlink(missing_ok=True)
            self.release()

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _opened(path: Path, what: str) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise NotWritable(
            f"{path} cannot be opened ({error.strerror}): {what} needs a folder that this user may write to"
        ) from error
