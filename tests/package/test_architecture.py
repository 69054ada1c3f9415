"""Which room may use which, read from every include and every import, those inside functions too."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import yolox_ops

pytestmark = pytest.mark.plain
ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "yolox_ops"
SOURCES = sorted(path for path in (ROOT / "csrc").rglob("*") if path.is_file())
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_UNDERSCORE_MODULES = 8

INCLUDES: dict[str, set[str]] = {
    "core": set(),
    "boxes": {"core"},
    "assign": {"core", "boxes"},
    "transport": {"core", "boxes", "assign"},
    "nms": {"core", "boxes"},
    "numpy": {"core", "boxes", "nms"},
}
# Modules beside these rooms import none of them, and every room may import those modules but the command line's.
IMPORTS: dict[str, set[str]] = {
    "ops": set(),
    "triton": {"ops"},
    "explanation": {"ops"},
    "losses": {"ops"},
    "yolox": {"ops"},
    "integrations": {"ops", "yolox", "explanation"},
    "trainer": {"ops", "yolox", "explanation"},
    "cli": {"trainer"},
    "__main__": {"cli"},
    "__init__": {"ops", "losses", "yolox", "explanation"},  # hands out the public names
    "_library": {"triton"},  # registers the launchers, by a name that it puts together
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def included(path: Path) -> list[str]:
    """Ours: what stands in quotes, or in brackets though it lies here."""
    found = re.findall(r"""^\s*#\s*include\s*(["<])(.*)[">]""", path.read_text(), re.MULTILINE)
    return [name for mark, name in found if mark == '"' or (ROOT / "csrc" / name).is_file()]


def room_of(path: Path) -> str:
    """The folder in yolox_ops, or the name of a module that lies in none."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_from(path: Path) -> Iterator[tuple[str, str]]:
    """Each name that a module imports, as the module that it asks and the name, which is "" for the module itself."""
    package = ("yolox_ops", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            yield from ((module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            texts = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
            yield "".join(texts[:1]), ""  # of a name that is put together its first part


def rooms_imported(path: Path) -> set[str]:
    """A public name's room is its home's."""
    rooms = set()
    for module, name in imported_from(path):
        if module == "yolox_ops":
            module = yolox_ops._HOMES.get(name, f"yolox_ops.{name}")
        if module.startswith("yolox_ops."):
            rooms.add(module.split(".")[1])
    return rooms


def test_families_are_the_folders_of_csrc():
    assert {path.relative_to(ROOT / "csrc").parts[0] for path in SOURCES} == set(INCLUDES)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_includes_run_one_way(path):
    family = path.relative_to(ROOT / "csrc").parts[0]
    assert {name.split("/")[0] for name in included(path)} <= INCLUDES[family] | {family}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_includes_are_written_from_csrc(path):
    names = included(path)
    assert [name for name in names if ".." in name or not (ROOT / "csrc" / name).is_file()] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_one_way(path):
    room = room_of(path)
    closed = set(IMPORTS) - {"__init__", "_library"}
    assert rooms_imported(path) & closed <= IMPORTS.get(room, set()) | {room}


def test_triton_is_found_by_the_registration_alone():
    """So that the test above does see a name that is put together."""
    users = {room_of(path) for path in MODULES if "triton" in rooms_imported(path)}
    assert users == {"triton", "_library"}


def test_underscore_modules_are_few():
    modules = {path.stem for path in PACKAGE.glob("_*.py*") if not path.stem.startswith("__")}
    assert len(modules) <= MOST_UNDERSCORE_MODULES, modules


def test_check_hands_out_its_own_functions_alone():
    """What another module defines is imported from there."""
    tree = ast.parse((PACKAGE / "_check.py").read_text())
    bound = {getattr(node, "name", "") for node in tree.body}
    bound |= {ast.unparse(target) for node in tree.body if isinstance(node, ast.Assign) for target in node.targets}
    asked = {name for path in MODULES for module, name in imported_from(path) if module == "yolox_ops._check"}
    handed_on = [node.name for node in ast.walk(tree) if isinstance(node, ast.alias) and node.asname]
    assert asked - bound == set() and handed_on == []
