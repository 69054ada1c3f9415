"""Cases in which one size grows and the others stay: how the cost of an op grows."""

import pytest


def sweep(**axes: tuple[int, ...]) -> pytest.MarkDecorator:
    """Parametrizes a test by `axis` and `value`: each axis with each of its sizes."""
    cases = [(axis, value) for axis, values in axes.items() for value in values]
    return pytest.mark.parametrize(("axis", "value"), cases, ids=[f"{axis}={value}" for axis, value in cases])
