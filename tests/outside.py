"""Which files the commands write, as the kernel sees it: `python tests/outside.py`, with strace, in some minutes.

Each command runs under strace with its data in one folder, its output in another, and a home and a TMPDIR of its own. A
file made, changed, renamed or removed that is neither in the output nor one of SYSTEM ends the program with status 1.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from coco_files import thing, write_coco

ROOT = Path(__file__).parents[1]
# What Python and libraries keep for themselves wherever they run; {home} and {tmp} are those of the run.
SYSTEM = {
    "Python's bytecode": r".*/__pycache__(/.*)?",
    "matplotlib's list of fonts": r"{home}/\.(cache|config)(/matplotlib(/.*)?)?",
    "torch's compiled kernels": r"{tmp}/torchinductor_[^/]+(/.*)?",
    "temporary files, gone at the end": r"{tmp}/.*",
    "memory shared with workers": r"/dev/shm/.*",
    "devices": r"/dev/(null|tty|pts/.*)|/proc/.*",
}
CHANGES = (
    "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,"
    "truncate,ftruncate,chmod,fchmod,fchmodat,chown,fchown,utimensat,mknod,mknodat"
)
CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)")
PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"|^\d+<([^>]*)>')
TRAIN = ("train", "--model", "yolox_nano", "--size", "64", "--epochs", "1", "--batch", "2", "--no-progress")
DATA = ("--data", "data/train.json", "--val-data", "data/train.json")
COMMANDS = (
    ("info",),
    (*TRAIN, *DATA, "--workers", "1", "--out", "out/run"),
    ("train", "--resume", "out/run", "--no-progress"),
    (
        *TRAIN,
        "--count",
        "4",
        "--val-count",
        "2",
        "--workers",
        "0",
        "--out",
        "out/digits",
        "--weights",
        "out/run/best.pt",
    ),
    ("eval", "out/run/best.pt", *DATA[:2], "--workers", "1"),
    ("predict", "out/run/best.pt", "data", "--out", "out/found", "--score-threshold", "0"),
    ("export", "out/run/best.pt", "--out", "out/model.onnx"),
    ("export", "out/run/best.pt", "--format", "program", "--out", "out/model.pt2"),
    ("demo", "--epochs", "1", "--count", "8", "--val-count", "4", "--out", "out/demo"),
    ("eval", "data/none.pt", "--data", "digits"),
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


def told_apart(paths: set[str], out: Path, home: Path, tmp: Path) -> tuple[Counter[str], set[str]]:
    """How many paths are of each kind, and those of none."""
    kinds = {"the output": f"{re.escape(str(out))}(/.*)?"}
    kinds |= {name: rule.format(home=re.escape(str(home)), tmp=re.escape(str(tmp))) for name, rule in SYSTEM.items()}
    counts: Counter[str] = Counter()
    others = set()
    for path in paths:
        kind = next((name for name, rule in kinds.items() if re.fullmatch(rule, path)), None)
        if kind is None:
            others.add(path)
        else:
            counts[kind] += 1
    return counts, others


def main() -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        place = Path(name).resolve()
        data, out, home, tmp = (place / part for part in ("data", "out", "home", "tmp"))
        for folder in (data, out, home, tmp):
            folder.mkdir()
        write_coco(data, [thing(1), thing(2, image_id=2)])
        environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(home), "TMPDIR": str(tmp)}
        for number, words in enumerate(COMMANDS):
            trace = place / f"{number}.strace"
            strace = ("strace", "-ff", "-y", "-qq", "-s", "4096", "-e", f"trace={CHANGES}", "-o", trace)
            command = (*strace, sys.executable, "-m", "yolox_ops", *words)
            done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
            traces = place.glob(f"{trace.name}.*")  # of each process
            lines = "\n".join(part.read_text(errors="replace") for part in traces)
            counts, others = told_apart(changed(lines, place), out, home, tmp)
            facts = ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
            print(f"yolox-ops {' '.join(words)}\n  status {done.returncode}; {facts or 'nothing written'}", flush=True)
            for path in sorted(others):
                print(f"  OUTSIDE {path}")
            failed = done.returncode != ("none.pt" in words[1:2][0] if words[1:] else 0)
            if failed:
                print(done.stderr)
            wrong += len(others) + failed
        left = [str(path.relative_to(place)) for path in (*data.rglob("*"), *tmp.rglob("*"), *home.rglob("*"))]
        print("left beside the output:", ", ".join(sorted(left)))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
