"""Files that are there whole or not at all."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".writing-"  # how the name of a folder begins in which a file is being written


@contextmanager
def written_whole(path: Path, *, previous: Path | None = None) -> Iterator[Path]:
    """A path to write to. When the block ends without an error that file becomes `path`, in place of what was there (a
    link is replaced, not followed); nobody sees it half-written, and an error leaves no trace. Folders are made. What a
    kill leaves is for `remove_unfinished`.

    Args:
        path: of the file.
        previous: what was there becomes this file, in the same folder. A kill in between leaves one of them at least.

    Raises:
        OSError: the file cannot be written; the error names `path`.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=UNFINISHED) as folder, _lock(folder):
            temporary = Path(folder, path.name)
            yield temporary
            if previous is not None and path.exists():
                _keep(path, Path(folder, f"kept-{path.name}"), previous)
            os.replace(temporary, path)


def remove_unfinished(folder: Path) -> None:
    """Removes what killed writers left in a folder. A living one holds a lock, and where a file system has no locks
    everything counts as living."""
    for left in folder.glob(f"{UNFINISHED}*"):
        with _lock(left) as dead:
            if dead:
                shutil.rmtree(left)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError of the block that names no file, as that of a full disk, or only a temporary one, names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno is None or not (error.filename is None or UNFINISHED in str(error.filename)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def _lock(folder: str | Path) -> Iterator[bool]:
    """Locks a folder until the block or the process ends; whether that was possible."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # its writer was done
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locked = True
    except OSError:  # somebody else's, or no locks here
        locked = False
    try:
        yield locked
    finally:
        os.close(descriptor)


def _keep(path: Path, link: Path, previous: Path) -> None:
    """Gives a file another name, by a link, for then `path` is there at every moment; some file systems have none. Of a
    path that is itself a link, the file that it leads to."""
    try:
        os.link(path.resolve(), link)
    except OSError:
        link = path
    os.replace(link, previous)
