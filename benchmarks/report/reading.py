"""Results from the JSONs of the benchmarks, which are pytest-benchmark's with one key more in machine_info."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.report.results import OURS, SERVERS, Floor, Measured, Result, Row


def _measured(who: str, times: dict[str, Any], counted: dict[str, Any], scale: float = 1.0) -> Measured:
    peak = counted.get("peak_bytes")
    return Measured(
        who,
        times["median"] * scale,
        times.get("q1", times["median"]) * scale,
        times.get("q3", times["median"]) * scale,
        counted.get("operators"),
        counted.get("waits"),
        counted.get("launches"),
        None if isinstance(peak, dict) else peak,  # the table of memory has a dictionary there
        counted.get("gb_per_s"),
    )


def _row(entry: dict[str, Any]) -> Row | None:
    """None for an entry that belongs to no table."""
    extra, stats = entry["extra_info"], entry["stats"]
    if "table" not in extra:
        return None
    # On a GPU a round is many replays of a graph; us_per_call is one of them.
    scale = extra["us_per_call"] * 1e-6 / stats["median"] if "us_per_call" in extra else 1.0
    who = extra.get("who") or (SERVERS[extra["server"]] if "server" in extra else OURS)
    return Row(
        extra["table"],
        extra["op"],
        extra["case"],
        _measured(who, stats, extra, scale),
        tuple(_measured(name, peer, peer) for name, peer in extra.get("peers", {}).items()),
        extra.get("verified", ""),
        Floor(**extra["floor"]) if extra.get("floor") else None,
        extra.get("axis", ""),
        float(extra.get("value", 0)),
        extra,
    )


def is_result(content: Any) -> bool:
    return isinstance(content, dict) and "benchmarks" in content and OURS in content.get("machine_info", {})


def read(path: Path) -> Result:
    """The result in a JSON. ValueError: it holds none."""
    content = json.loads(path.read_text())
    if not is_result(content):
        raise ValueError(f"{path} must be a result of make bench, with benchmarks and machine_info.{OURS}")
    about = content["machine_info"][OURS]
    return Result(
        path.stem,
        content["datetime"],
        content["commit_info"],
        about["cpu"],
        about["threads"],
        about["gpu"],
        about["versions"],
        about["not_installed"],
        about["ceilings"],
        tuple(row for entry in content["benchmarks"] if (row := _row(entry))),
    )


def read_all(paths: Iterable[Path]) -> list[Result]:
    """A CPU's results before a GPU's, and the newest first of each."""
    newest_first = sorted((read(path) for path in paths), key=lambda result: result.datetime, reverse=True)
    return sorted(newest_first, key=lambda result: result.gpu is not None)


def default_paths(folder: Path) -> list[Path]:
    """The JSONs of the folder that are results."""
    return [path for path in sorted(folder.glob("*.json")) if is_result(json.loads(path.read_text()))]
