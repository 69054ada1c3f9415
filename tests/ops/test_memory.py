"""What a call takes beside its inputs and outputs, as the operating system counts it."""

import random

import pytest

from benchmarks.memory import peak_bytes


@pytest.mark.heavy
@pytest.mark.parametrize("op", ["simota", "ota"])
@pytest.mark.parametrize("counts", [[random.Random(0).randint(1, 100) for _ in range(16)], [574]], ids=["16", "574"])
def test_assignment_needs_less_than_8_mb(op, counts):
    assert peak_bytes(op, counts) < 8 * 2**20
