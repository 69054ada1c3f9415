"""Files of others, read whole or refused; our own, written whole or not at all."""

import fcntl
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

UNFINISHED = ".writing-"  # how the name of a folder begins in which a file is being written

_locks: set[int] = set()  # the descriptors of locks that are held


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
    everything counts as living. What is no folder has that name from elsewhere, and stays."""
    for left in folder.glob(f"{UNFINISHED}*"):
        if left.is_dir() and not left.is_symlink():
            with suppress(BlockingIOError), _lock(left) as dead:
                if dead:
                    shutil.rmtree(left)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds a folder until the block or the process ends, and makes it if need be; if then nothing is put in, it goes
    again. Where a file system has no locks, or this process may not list the folder, nothing is held.

    Raises:
        BlockingIOError: another process holds it, or another block of this one; the error names it. OSError: it cannot
            be made.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _lock(folder):
            yield
    finally:
        if made:
            with suppress(OSError):  # something is in it
                folder.rmdir()


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
    """Locks a folder until the block or the process ends; whether that was possible. Raises what `held` does."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # its writer was done, or it is not ours
        yield False
        return
    _locks.add(descriptor)
    try:
        yield _flock(descriptor, folder)
    finally:
        if descriptor in _locks:  # it is in no forked child
            _locks.remove(descriptor)
            os.close(descriptor)


def _let_go() -> None:
    """In a forked child, such as a loader's worker, which would else hold a lock when its parent is dead."""
    while _locks:
        os.close(_locks.pop())


os.register_at_fork(after_in_child=_let_go)


def _flock(descriptor: int, folder: str | Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BlockingIOError(error.errno, "another process holds this folder", str(folder)) from error
    except OSError:  # no locks here
        return False
    return True


def _keep(path: Path, link: Path, previous: Path) -> None:
    """Gives a file another name, by a link, for then `path` is there at every moment; some file systems have none. Of a
    path that is itself a link, the file that it leads to."""
    try:
        os.link(path.resolve(), link)
    except OSError:
        link = path
    os.replace(link, previous)


class BadFile(ValueError):
    """A file, or a record in one, that its owner can put right; from a DataLoader's worker too."""

    def __init__(self, message: str) -> None:
        # The loader builds the error anew from a text that ends in this class's name and the message.
        super().__init__(message.rpartition(f"{BadFile.__module__}.BadFile: ")[2].rstrip("\n"))


@contextmanager
def open_regular(path: str | os.PathLike[str], most: int | None = None) -> Iterator[BinaryIO]:
    """The file, open to be read.

    Raises:
        ValueError: it is a pipe or a device, of which reading might never end, or has more than `most` bytes.
        OSError: it cannot be opened.
    """
    # Opening a pipe waits for who writes to it, but for this flag; a regular file knows no difference.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("the file must be a regular one, got a pipe or a device")
        if most is not None and status.st_size > most:
            raise ValueError(f"the file must have at most {most} bytes, got {status.st_size}")
        yield file


def read_regular(path: str | os.PathLike[str], most: int | None = None) -> bytes:
    """All bytes of a file. Raises what open_regular does, and ValueError if memory does not hold them."""
    with open_regular(path, most) as file:
        try:
            with naming(Path(path)):
                return file.read()
        except MemoryError as error:
            size = os.fstat(file.fileno()).st_size
            raise ValueError(f"the file must fit into memory, got {size} bytes") from error


def check_archive(path: str | os.PathLike[str]) -> None:
    """Raises what open_regular does, and ValueError if the file is a zip that unpacks to more than 4 times its own
    size, for a few bytes could fill the memory. torch.save packs nothing."""
    with open_regular(path) as file:
        if not zipfile.is_zipfile(file):
            return
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        size = os.fstat(file.fileno()).st_size
        if unpacked > 4 * size:
            raise ValueError(f"a zip of {size} bytes must hold 4 times that at most, got {unpacked}")
