"""A checkpoint as a file: what of it is read, and its checksum."""

import errno
import hashlib
import os
import pickle
import re
import zipfile
from typing import Any, BinaryIO

import torch

from yolox_ops._files import check_archive

SEAL, DIGITS = b"yolox_ops sha256 ", 64


def read_checkpoint(path: str | os.PathLike) -> Any:
    """The content of a file of torch.save, on the CPU. No code in it is run.

    A file that `seal` has ended is held to its checksum. In others, such as Megvii's or an older run's, the CRC-32 that
    torch.save notes of each record are looked at, which torch.load does not; where torch.save was told to leave these
    out (torch.serialization.set_crc32_options), the file is refused. Files of torch 1.5 and older have no checksum.

    Raises:
        ValueError: the file is cut short or changed, or holds more than tensors and plain values. OSError: it cannot be
            read.
    """
    try:
        check_archive(path)
        if not _is_sealed(path) and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as records:
                changed = records.testzip()
            if changed is not None:
                raise zipfile.BadZipFile(f"another content of {changed} than its checksum is of")
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"(?<=GLOBAL )\S+|Unsupported operand \d+", str(error))
        raise ValueError(
            f"{path} must hold tensors and plain values only, for nothing in it may run (weights_only=True), got "
            f'{code[0] if code else _line(error)}; if you trust it, save its "model" alone to a new file'
        ) from error
    except MemoryError as error:
        raise MemoryError(f"{path} must fit into memory") from error
    except Exception as error:  # what the unpickler makes of other files, from EOFError to KeyError
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that is of an offset before the file's begin
            raise
        if "allocate memory" in str(error):  # a RuntimeError of torch's
            raise MemoryError(f"{path} must fit into memory") from error
        fact = f"{type(error).__name__}: {_line(error)}".removesuffix(": ")
        raise ValueError(f"{path} must be a whole file of torch.save, got {fact}") from error


def _line(error: Exception) -> str:
    """What torch says, without its guesses and its advice to load the file with code and all."""
    return re.split(r"\n| In PyTorch 2\.6|\. This is an internal miniz error", str(error).strip(), maxsplit=1)[0]


def seal(file: BinaryIO) -> None:
    """Ends a file of torch.save, open to read and write, with the SHA-256 of all before it. It is the comment of a zip
    file, over which its readers pass, torch.load among them."""
    file.seek(-2, os.SEEK_END)
    file.write((len(SEAL) + DIGITS).to_bytes(2, "little") + SEAL)  # the comment's length was 0
    digest = _digest(file, file.tell())
    file.write(digest)


def _is_sealed(path: str | os.PathLike) -> bool:
    with open(path, "rb") as file:
        size = max(file.seek(0, os.SEEK_END) - DIGITS, 0)
        file.seek(max(size - len(SEAL), 0))
        if file.read(len(SEAL)) != SEAL:
            return False
        if file.read() != _digest(file, size):
            raise ValueError("another content than its checksum is of")
        return True


def _digest(file: BinaryIO, size: int) -> bytes:
    """Of the first bytes of a file, behind which it is left."""
    digest = hashlib.sha256()
    file.seek(0)
    while size:
        part = file.read(min(size, 1 << 20))
        digest.update(part)
        size -= len(part)
    return digest.hexdigest().encode()
