"""Which files the commands write, as the kernel sees it: `make outside`, with strace, in some minutes.

Each command runs under strace with its data in one folder, its output in another, and a home and a TMPDIR of its own.
The program ends with status 1 where a file was made, changed, renamed or removed that is neither in the output nor one
of SYSTEM, where one that is TEMPORARY is there after the command, and where a command ended with another status than it
should.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from coco_files import thing, write_coco

ROOT = Path(__file__).parents[2]
# What Python and libraries keep for themselves wherever they run; {home} and {tmp} are those of the run.
SYSTEM = {
    "Python's bytecode": r".*/__pycache__(/.*)?",
    "matplotlib's list of fonts": r"{home}/\.(cache|config)(/matplotlib(/.*)?)?",
    "torch's compiled kernels": r"{tmp}/torchinductor_[^/]+(/.*)?",
    "temporary files": r"{tmp}/.*",
    "memory shared with workers": r"/dev/shm/.*",
    "devices": r"/dev/(null|tty|pts/.*)|/proc/.*",
}
TEMPORARY = {"temporary files", "memory shared with workers"}
CHANGES = (
    "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,"
    "truncate,ftruncate,chmod,fchmod,fchmodat,chown,fchown,utimensat,mknod,mknodat"
)
CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)")
PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"|^\d+<([^>]*)>')
TRAIN = "train --model yolox_nano --size 64 --epochs 1 --batch 2 --no-progress"
DATA = "--data data/train.json"
COMMANDS = (  # and the status that each ends with
    ("info", 0),
    (f"{TRAIN} {DATA} --val-data data/train.json --workers 1 --out out/run", 0),
    ("train --resume out/run --no-progress", 0),
    (f"{TRAIN} --count 4 --val-count 2 --workers 0 --out out/digits --weights out/run/best.pt", 0),
    (f"eval out/run/best.pt {DATA} --workers 1", 0),
    ("predict out/run/best.pt data --out out/found --score-threshold 0", 0),
    ("export out/run/best.pt --out out/model.onnx", 0),
    ("export out/run/best.pt --format program --out out/model.pt2", 0),
    ("demo --epochs 1 --count 8 --val-count 4 --out out/demo", 0),
    ("eval data/none.pt --data digits", 1),
)


def changed(trace: str, folder: Path) -> set[str]:
    """The paths in strace's lines (-ff -y) of what calls made, changed or removed; relative ones are of the folder."""
    found = set()
    for line in trace.splitlines():
        call = CALL.match(line)
        if (
            call is None
            or int(call[3]) < 0
            or (call[1].startswith("open") and not re.search("O_(WR|RDWR|CREAT)", line))
        ):
            continue
        for base, path, descriptor in PATH.findall(call[2]):
            found.add(os.path.normpath(os.path.join(folder, base, path or descriptor)))
    return found


def told_apart(paths: set[str], out: Path, home: Path, tmp: Path) -> dict[str | None, list[str]]:
    """The paths of each kind; None are those of none."""
    kinds: dict[str | None, str] = {"the output": f"{re.escape(str(out))}(/.*)?"}
    kinds |= {name: rule.format(home=re.escape(str(home)), tmp=re.escape(str(tmp))) for name, rule in SYSTEM.items()}
    kinds[None] = ".*"
    found: dict[str | None, list[str]] = {kind: [] for kind in kinds}
    for path in sorted(paths):
        found[next(kind for kind, rule in kinds.items() if re.fullmatch(rule, path, re.DOTALL))].append(path)
    return found


def counts(found: dict[str | None, list[str]]) -> str:
    return ", ".join(f"{kind or 'OUTSIDE'} {len(paths)}" for kind, paths in found.items() if paths)


def still_there(found: dict[str | None, list[str]]) -> list[str]:
    return [f"LEFT {path}" for kind in TEMPORARY for path in found[kind] if os.path.lexists(path)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main() -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        place = Path(name).resolve()
        data, out, home, tmp, traces = (place / part for part in ("data", "out", "home", "tmp", "traces"))
        for folder in (data, out, home, tmp, traces):
            folder.mkdir()
        write_coco(data, [thing(1), thing(2, image_id=2)])
        given = contents(data)
        environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(home), "TMPDIR": str(tmp)}
        for number, (words, status) in enumerate(COMMANDS):
            strace = ("strace", "-ff", "-y", "-qq", "-s", "4096", "-e", f"trace={CHANGES}", "-o", traces / f"{number}")
            command = (*strace, sys.executable, "-m", "yolox_ops", *words.split())
            done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
            of_each_process = traces.glob(f"{number}.*")
            lines = "\n".join(part.read_text(errors="replace") for part in of_each_process)
            found = told_apart(changed(lines, place), out, home, tmp)
            print(f"yolox-ops {words}\n  status {done.returncode}; {counts(found) or 'nothing written'}", flush=True)
            problems = [f"OUTSIDE {path}" for path in found[None]] + still_there(found)
            if done.returncode != status:
                problems.append(f"STATUS must be {status}, got {done.returncode}: {done.stderr}")
            print(*(f"  {problem}\n" for problem in problems), sep="", end="", flush=True)
            wrong += len(problems)
        left = told_apart(set(map(str, (*home.rglob("*"), *tmp.rglob("*")))), out, home, tmp)
        problems = [f"OUTSIDE {path}" for path in left[None]] + still_there(left)
        problems += ["CHANGED data"] * (contents(data) != given)
        print("left beside the output:", counts(left) or "nothing", *problems, sep="\n  ")
        wrong += len(problems)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
