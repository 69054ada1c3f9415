"""Writes the report, or checks that it is what the results give; see the package."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report.budget import read_budget
from benchmarks.report.document import report
from benchmarks.report.reading import default_paths, read_all
from benchmarks.report.readme import replace_block, speed_block
from benchmarks.report.results import Result
from benchmarks.report.work import read_work

ROOT = Path(__file__).parent.parent.parent


def texts(results: Sequence[Result], root: Path) -> dict[Path, str]:
    """The two pages as the results give them."""
    readme, counted = root / "README.md", root / "benchmarks/results"
    growth, budget = counted / "instructions_growth.json", counted / "ptx_budget.json"
    works = read_work(growth) if growth.is_file() else []
    return {
        root / "benchmarks/REPORT.md": report(results, works, read_budget(budget) if budget.is_file() else None),
        readme: replace_block(readme.read_text(), speed_block(results)),
    }


def differences(pages: dict[Path, str]) -> list[str]:
    """Lines of a diff from the pages as they are to the pages as the results give them."""
    return [
        line
        for path, text in pages.items()
        for line in difflib.unified_diff(
            path.read_text().splitlines() if path.exists() else [],
            text.splitlines(),
            path.name,
            f"{path.name} from the results",
            lineterm="",
            n=0,
        )
    ]


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("results", nargs="*", type=Path, help="default: every result in benchmarks/results/")
    parser.add_argument("--check", action="store_true", help="fail where a page is not what the results give")
    args = parser.parse_args(argv)
    results = read_all(args.results or default_paths(root / "benchmarks/results"))
    if not results:
        parser.error("benchmarks/results must have a result, got none: make bench writes one")
    pages = texts(results, root)
    if args.check:
        different = differences(pages)
        print("\n".join(different) or "both pages are what the results give")
        return 1 if different else 0

    from benchmarks.report.charts import draw_all  # matplotlib, which a check does without

    for path in draw_all(results, root / "benchmarks/results/charts"):
        print(path)
    for path, text in pages.items():
        path.write_text(text)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
