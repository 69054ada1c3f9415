"""Files that others made, read whole or refused: what must hold of a file before anything looks into it."""

import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from yolox_ops._files import naming


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
