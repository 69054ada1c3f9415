"""What a user gets: files of an sdist and a wheel, metadata, lowest versions. `make dist` builds and installs them."""

import re
import subprocess
import sys
import zipfile
from email.parser import Parser

import pytest

import yolox_ops
from tools.dist import ROOT, check_sdist, check_wheel, copy, shipped

pytestmark = pytest.mark.plain


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what is shipped, after setuptools made an sdist and a wheel's Python files of it."""
    tree = tmp_path_factory.mktemp("tree")
    copy(shipped(), tree)
    setup = [sys.executable, "setup.py", "-q", "sdist", "build_py", "--build-lib", "wheel"]
    subprocess.run(setup, cwd=tree, check=True)
    return tree


@pytest.fixture(scope="module")
def metadata(tree):
    return Parser().parsestr((tree / "yolox_ops.egg-info/PKG-INFO").read_text())


def test_an_sdist_holds_the_files_that_git_knows(tree):
    (sdist,) = (tree / "dist").iterdir()
    check_sdist(sdist, shipped())
    assert shipped(tree) == shipped()  # so an unpacked one can make the next
    with pytest.raises(ValueError, match=r"got \['LICENSE'\] beside them and lacks \['new.h'\]"):
        check_sdist(sdist, shipped() - {"LICENSE"} | {"new.h"})


def test_a_wheel_holds_the_package_alone(tree, tmp_path):
    def check(tag, *more):
        wheel = tmp_path / f"yolox_ops-1-cp311-cp311-{tag}.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for name in [*python, *more]:
                archive.writestr(name, "")
        check_wheel(wheel, shipped())

    python = [str(path.relative_to(tree / "wheel")) for path in (tree / "wheel").rglob("*.*")]
    libraries = ["yolox_ops/_C.so", "yolox_ops/_numpy.cpython-311-x86_64-linux-gnu.so"]
    check("manylinux_2_34_x86_64", *libraries)
    assert {"yolox_ops/py.typed", "yolox_ops/_numpy.pyi"} <= set(python)
    with pytest.raises(ValueError, match=r"must hold _C.so and _numpy.*, got \['yolox_ops/_C.so'\]"):
        check("manylinux_2_34_x86_64", libraries[0])
    with pytest.raises(ValueError, match=r"a glibc \(manylinux\), got yolox_ops-1-.*-linux_x86_64\.whl"):
        check("linux_x86_64", *libraries)
    with pytest.raises(ValueError, match=r"got \['yolox_ops.libs/libtorch_cpu.so'\] beside them and lacks \[\]"):
        check("manylinux_2_34_x86_64", *libraries, "yolox_ops.libs/libtorch_cpu.so")


def test_the_metadata_is_right(metadata):
    assert metadata["Version"] == yolox_ops.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE", "licenses/pybind11.txt", "licenses/pytorch.txt"]
    assert metadata["Requires-Python"] == ">=3.10"
    assert [line for line in metadata.get_all("Requires-Dist") if "extra" not in line] == ["torch>=2.11"]


def test_an_index_page_has_no_link_into_the_repository(metadata):
    page, readme = metadata.get_payload(), (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)]*)\)", page)
    assert "#train-a-detector" in links and all(link.startswith(("#", "http")) for link in links)
    assert "<img" not in page and "docs/explain.md" in page
    assert page.split("```")[1::2] == readme.split("```")[1::2]  # the code as it was


def test_the_lowest_versions_are_those_that_the_project_asks_for(metadata):
    """But for torch 2.11, which has no CPU build for Linux on PyPI."""
    build = re.search(r"^requires = \[(.*)\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    asked = re.findall(r'"(.*?)>=(.*?)"', build[1])
    for line in metadata.get_all("Requires-Dist"):
        if "extra ==" in line:
            asked.append(re.fullmatch(r"([\w-]+)>=([\d.]+); .*", line).groups())
    lowest = dict(re.findall(r"^([\w-]+)==(.*)", (ROOT / "requirements/lowest.txt").read_text(), re.MULTILINE))
    assert len(asked) > 10 and {name: lowest[name] for name, _ in asked} == dict(asked)
