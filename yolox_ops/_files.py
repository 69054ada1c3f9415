"""Files that are there whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path to write to. When the block ends without an error that file becomes `path`, in place of what was there (a
    link is replaced, not followed); nobody sees it half-written, and an error leaves no trace. Folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        temporary = Path(folder, path.name)
        yield temporary
        os.replace(temporary, path)
