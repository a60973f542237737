"""Configurations in a git repository, by dulwich: a commit only where something has changed."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from dulwich.file import FileLocked
from dulwich.object_store import tree_lookup_path
from dulwich.repo import Repo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dulwich.objects import Blob, Commit

AUTHOR = b"webdis-kit <webdis-kit@localhost>"
# How long the git of a person may hold a lock; it does for moments.
LOCK_SECONDS = 2.0


class Backups:
    """Keeps the last configuration of each device as a file, and the former ones in git.

    Many threads and processes may use one folder: one of them writes at a time.

    Args:
        folder: Of the repository, which is made on first use.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._one_at_a_time():
            if not (folder / ".git").exists():
                self._make()

    def last(self, device: str) -> str | None:
        """Return the configuration that was kept last; nothing if none was."""
        # Of the commit: a file that was written, and not committed, is kept another time.
        with Repo(str(self._folder)) as repo:
            try:
                commit = cast("Commit", repo[repo.head()])
                name = self._file(device).name.encode()
                _, blob = tree_lookup_path(repo.get_object, commit.tree, name)
            except KeyError:
                return None
            return cast("Blob", repo[blob]).data.decode()

    def keep(self, device: str, configuration: str) -> str | None:
        """Commit a device's configuration, if it is another one than the last; return the last."""
        with self._one_at_a_time():
            if (before := self.last(device)) != configuration:
                file = self._file(device)
                partial = file.with_suffix(".partial")
                partial.write_text(configuration, encoding="utf-8")
                partial.replace(file)
                while not self._committed(file.name, f"{device} has changed\n"):
                    pass
        return before

    def _file(self, device: str) -> Path:
        return self._folder / f"{device}.conf"

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Wait until nobody else writes; of a process that is killed, the system ends the lock."""
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _make(self) -> None:
        """Make the repository, whole or not at all."""
        new = self._folder / ".new"
        shutil.rmtree(new, ignore_errors=True)
        Repo.init(str(new), mkdir=True).close()
        (new / ".git").rename(self._folder / ".git")
        new.rmdir()

    def _committed(self, name: str, message: str) -> bool:
        """Commit a file, unless git's own lock is in the way: it is gone afterwards."""
        try:
            with Repo(str(self._folder)) as repo:
                tree = repo.get_worktree()
                tree.stage([name])
                tree.commit(message=message.encode(), author=AUTHOR, committer=AUTHOR)
        except FileLocked as locked:
            # A file that nobody removes whose process was killed while it wrote.
            lock, deadline = Path(os.fsdecode(locked.lockfilename)), time.monotonic() + LOCK_SECONDS
            while lock.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            lock.unlink(missing_ok=True)
            return False
        return True
