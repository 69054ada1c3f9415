"""Numbers as a reader wants them: two or three significant digits and a unit that fits."""

import math

TIMES = ((1e-9, " ns"), (1e-6, " us"), (1e-3, " ms"), (1.0, " s"))
BYTES = ((1.0, " B"), (1e3, " KB"), (1e6, " MB"), (1e9, " GB"), (1e12, " TB"))
COUNTS = ((1.0, ""), (1e3, " thousand"), (1e6, " million"), (1e9, " billion"))


def rounded(number: float, digits: int = 3) -> str:
    """`number` with so many significant digits and never an exponent: 1220, 12.3, 0.0123."""
    if number == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(number)))
    number = round(number, decimals)  # 9.996 has a digit more once it is rounded
    return f"{number:.{max(0, digits - 1 - math.floor(math.log10(abs(number))))}f}"


def _in_units(number: float, units: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    """The largest unit of which the rounded number has at least one, or the smallest of all."""
    fitting = [unit for unit in units if float(rounded(number / unit[0])) >= 1]
    return (fitting or units[:1])[-1]


def seconds(value: float, beside: float | None = None) -> str:
    """0.00128 as "1.28 ms"; in the unit of the time `beside` it, if one is given."""
    scale, unit = _in_units(beside or value, TIMES)
    return f"{rounded(value / scale)}{unit}"


def quartiles(median: float, q1: float, q3: float) -> str:
    """Times as "1.28 (1.25 to 1.31) ms", all three in the median's unit."""
    scale, unit = _in_units(median, TIMES)
    return f"{rounded(median / scale)} ({rounded(q1 / scale)} to {rounded(q3 / scale)}){unit}"


def size(number: float) -> str:
    """Bytes as "57 MB"; a thousand bytes are a KB."""
    scale, unit = _in_units(number, BYTES)
    return f"{rounded(number / scale) if scale > 1 else int(number)}{unit}"


def count(number: float) -> str:
    """672000 as "672 thousand", and 4321 in full."""
    if number < 10_000:
        return f"{number:.0f}"
    scale, unit = _in_units(number, COUNTS)
    return f"{rounded(number / scale)}{unit}"


def ratio(value: float) -> str:
    """136.4 as "136x", 9.31 as "9.3x", 0.853 as "0.85x"."""
    return f"{rounded(value, 2 if value < 99.5 else 3)}x"
