"""What to say where something is missing: a compiled library, or what an extra brings."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HOW = "build it with `pip install .` (or `pip install --no-build-isolation -e .`) in the yolox_ops checkout"
if (Path(__file__).parents[1] / "setup.py").is_file():
    HOW = "Python found the sources here, not an install: run it from another folder, or `pip install -e .` here"


@contextmanager
def needs_extra(
    subject: str, extra: str, modules: Sequence[str], raised: type[BaseException] = SystemExit
) -> Iterator[None]:
    """Around a lazy import: where one of the extra's modules is missing, the command ends with how to install it; a
    function asks for an error with these words instead."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in modules:
            raise
        raise raised(f"{subject} needs {missing}: pip install 'yolox_ops[{extra}]'") from error
