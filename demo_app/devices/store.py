"""Configurations in a git repository, by dulwich: a commit only where something has changed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

from dulwich.object_store import tree_lookup_path
from dulwich.repo import Repo

if TYPE_CHECKING:
    from pathlib import Path

    from dulwich.objects import Blob, Commit

AUTHOR = b"webdis-kit <webdis-kit@localhost>"


class Store:
    """Keeps the last configuration of each device as a file, and the former ones in git.

    Many threads may use one.

    Args:
        folder: Of the repository, which is made on first use.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        if not (folder / ".git").exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            Repo.init(str(folder)).close()

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

    def keep(self, device: str, configuration: str) -> None:
        """Write a device's configuration, and commit it."""
        file = self._file(device)
        partial = file.with_suffix(".partial")
        partial.write_text(configuration, encoding="utf-8")
        with self._lock, Repo(str(self._folder)) as repo:
            partial.replace(file)
            tree = repo.get_worktree()
            tree.stage([file.name])
            message = f"{device} has changed\n".encode()
            tree.commit(message=message, author=AUTHOR, committer=AUTHOR)

    def _file(self, device: str) -> Path:
        return self._folder / f"{device}.conf"
