"""How the time of an op grows along one axis."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.report.results import Measured, Result, Row

LINEAR = 2.1  # growth per doubling that counts as linear: 5 % more is within what runs differ by


Point = tuple[float, float]  # a size, and what it takes


def per_doubling(first: Point, small: Point, large: Point) -> float:
    """2^p where what is taken beyond the first point grows as the size beyond it to the power p: 2 for any a + b x."""
    (x0, t0), (x, t), (y, u) = first, small, large
    return (max(u - t0, 0.0) / (t - t0)) ** (math.log(2) / math.log((y - x0) / (x - x0))) if t > t0 else math.inf


def steps(points: Sequence[Point]) -> list[tuple[Point, Point, Point]]:
    """The steps between neighbouring points from where the first one's time is doubled, each with the point that growth
    is counted from: the first, which holds the constant part. Where only the last point takes twice as much it is the
    step to that as it is, counted from nothing: below 2 for a + b x."""
    first, *rest = points
    found = [(first, *step) for step in itertools.pairwise(rest) if step[0][1] >= 2 * first[1]]
    if not found and len(points) > 1 and points[-1][1] >= 2 * first[1]:
        found.append(((0.0, 0.0), points[-2], points[-1]))
    return found


@dataclass(frozen=True)
class Step:
    """The steepest step of a curve: its growth per doubling, with bounds from the quartiles, and where it is."""

    factor: float
    low: float
    high: float
    start: float
    stop: float


@dataclass(frozen=True)
class Curve:
    """One op along one axis, by value; ours, the floor where there is one, and the peers that ran at the same sizes."""

    op: str
    axis: str
    values: tuple[float, ...]
    ours: tuple[Measured, ...]
    floors: tuple[float | None, ...]
    peers: tuple[tuple[Measured, ...], ...]

    @property
    def steepest(self) -> Step | None:
        """Of `steps` that of the largest growth, with the bounds of the quartiles; None where no size takes twice
        the time of the smallest."""
        times = dict(zip(self.values, self.ours, strict=True))
        found = []
        for start, (x, _), (y, _) in steps([(x, time.median) for x, time in times.items()]):
            low = per_doubling(start, (x, times[x].q3), (y, times[y].q1))
            high = per_doubling(start, (x, times[x].q1), (y, times[y].q3))
            factor = per_doubling(start, (x, times[x].median), (y, times[y].median))
            found.append(Step(factor, low, high, x, y))
        return max(found, key=lambda step: step.factor, default=None)

    @property
    def slope(self) -> float:
        """Of log time over log size, over the upper three sizes."""
        start = max(0, len(self.values) - 3)
        rise = math.log(self.ours[-1].median / self.ours[start].median)
        return rise / math.log(self.values[-1] / self.values[start])

    @property
    def is_linear(self) -> bool:
        """No step grows by more than a doubling, as far as the quartiles tell."""
        return self.steepest is None or self.steepest.low <= LINEAR

    @property
    def least_ratio(self) -> tuple[float, str, float] | None:
        """Peer over ours where that is smallest: the ratio, the peer, the size."""
        ratios = [
            (peer.median / ours.median, peer.who, value)
            for value, ours, peers in zip(self.values, self.ours, self.peers, strict=True)
            for peer in peers
            if peer.is_alternative
        ]
        return min(ratios, default=None)


def curves(result: Result) -> list[Curve]:
    """Every op and axis of the growth table that has two sizes or more. ValueError: a size stands there twice."""
    rows: dict[tuple[str, str, str], list[Row]] = {}
    for row in result.of("growth"):
        rows.setdefault((row.op, row.axis, row.measured.who), []).append(row)
    found = []
    for (op, axis, _), points in rows.items():
        points.sort(key=lambda row: row.value)
        values = tuple(row.value for row in points)
        if len(set(values)) < len(values):
            where = f"got {values} in {result.name}.json"
            raise ValueError(f"growth of {op} along {axis} must have each size once, {where}")
        if len(values) > 1:
            ours = tuple(row.measured for row in points)
            floors = tuple(row.floor.seconds if row.floor else None for row in points)
            found.append(Curve(op, axis, values, ours, floors, tuple(row.peers for row in points)))
    return found
