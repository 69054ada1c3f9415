"""Makes dist/*.tar.gz and dist/*.whl of the files that git knows, and holds them to what they must be: `make dist`.

The wheel is built from the sdist and named after the glibc that it needs. torch's libraries are torch's matter, so none
goes in. Both are installed into a new environment, where README's example runs. Needs requirements/dist.txt.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOT_SHIPPED = {".ci/run", ".clang-format", ".gitignore", ".pre-commit-config.yaml"}
MADE = re.compile(r"PKG-INFO|setup\.cfg|yolox_ops\.egg-info/.*")  # by setuptools, in every sdist
LIBRARY = re.compile(r"yolox_ops/(_C|_C_cuda|_numpy\.[\w-]+)\.so")
SMOKE = """
import importlib.metadata, sys
import numpy, yolox_ops, yolox_ops.numpy
assert yolox_ops.numpy.soft_nms(numpy.eye(4, dtype="f")[:2], numpy.ones(2, "f"))[0].tolist() == [0, 1]
assert "torch" not in sys.modules and sys.prefix in yolox_ops.__file__
page = importlib.metadata.metadata("yolox_ops").get_payload()
exec(page.split("```python\\n")[1].split("```")[0])
assert assignment.num_fg[0] > 0
import yolox_ops.trainer.train, yolox_ops.trainer.export, yolox_ops.trainer.demo
print(yolox_ops.build_info())
"""


def shipped(root: Path = ROOT) -> set[str]:
    """The files of the tree that an sdist has: those that git knows, less a few; of an unpacked sdist what it held."""
    if (root / ".git").exists():
        listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout
        return set(listed.splitlines()) - NOT_SHIPPED
    listed = (root / "yolox_ops.egg-info/SOURCES.txt").read_text()
    return {name for name in listed.splitlines() if not MADE.fullmatch(name)}


def copy(names: Iterable[str], target: Path) -> None:
    """What nobody committed stays behind, and nothing is built in the checkout."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)


def check_same(subject: str, found: set[str], wanted: set[str]) -> None:
    if found != wanted:
        raise ValueError(
            f"{subject} must hold the files that git knows, got {sorted(found - wanted)} beside them and lacks "
            f"{sorted(wanted - found)}"
        )


def check_sdist(path: Path, names: set[str]) -> None:
    with tarfile.open(path) as archive:
        found = {member.name.partition("/")[2] for member in archive if member.isfile()}
    check_same(path.name, {name for name in found if not MADE.fullmatch(name)}, names)


def check_wheel(path: Path, names: set[str]) -> None:
    with zipfile.ZipFile(path) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")}
    libraries = {name for name in found if LIBRARY.fullmatch(name)}
    check_same(path.name, found - libraries, {name for name in names if name.startswith("yolox_ops/")})
    if not {"_C", "_numpy"} <= {Path(name).name.partition(".")[0] for name in libraries}:
        raise ValueError(f"{path.name} must hold _C.so and _numpy.*.so, got {sorted(libraries)}")
    if "-manylinux" not in path.name:
        raise ValueError(f"a wheel must be named after a glibc (manylinux), got {path.name}")


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """With the tools of this environment, of which auditwheel calls one by its name."""
    print("$", *(word if "\n" not in str(word) else "..." for word in command), flush=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(command, cwd=cwd, check=True, env={**os.environ, "PATH": path})


def check_install(package: str, folder: Path) -> None:
    """As README says, in an environment that has nothing yet."""
    venv.create(folder / "venv", clear=True, symlinks=True, with_pip=True)
    python = folder / "venv/bin/python"
    torch = re.search(r"^torch==.*", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE)
    assert torch, "requirements/dev.txt names torch"
    run(python, "-m", "pip", "install", "-q", torch[0], cwd=folder)
    run(python, "-m", "pip", "install", "-q", package, cwd=folder)
    run(python, "-m", "pip", "install", "-q", "yolox_ops[train,export]", cwd=folder)  # extras of what is installed
    run(python, "-m", "pip", "check", cwd=folder)
    run(python, "-W", "error", "-c", SMOKE, cwd=folder)
    run(folder / "venv/bin/yolox-ops", "export", "--help", cwd=folder)


def main() -> None:
    names, dist = shipped(), ROOT / "dist"
    for old in dist.glob("yolox_ops-*"):
        old.unlink()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy(names, folder / "tree")
        run(sys.executable, "-m", "build", "--no-isolation", "-o", folder / "built", folder / "tree")
        (sdist,), (wheel,) = (folder / "built").glob("*.tar.gz"), (folder / "built").glob("*.whl")
        check_sdist(sdist, names)
        dist.mkdir(exist_ok=True)
        shutil.copy2(sdist, dist)
        run(sys.executable, "-m", "auditwheel", "repair", "--exclude=libtorch*.so", "-w", dist, wheel)
        (wheel,) = dist.glob("*.whl")
        check_wheel(wheel, names)
        run(sys.executable, "-m", "twine", "check", "--strict", dist / sdist.name, wheel)
        for package in (wheel, dist / sdist.name):
            check_install(str(package), folder)
    print(f"dist: {sdist.name} and {wheel.name} hold what they must, install and run")


if __name__ == "__main__":
    main()
