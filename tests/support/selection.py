"""Boxes to select from, and when a selection counts as right."""

import torch
from boxes import random_boxes

from python_ref.soft_nms import Process
from python_ref.soft_nms import soft_nms as reference

NEAR = 1e-5


def sample(*sizes, kinds=5, extent=64.0):
    return random_boxes(*sizes, extent=extent), torch.rand(sizes), torch.randint(kinds, sizes)


def check_selection(found, boxes, scores, labels=None, max_detections=None, **rule):
    """Raises AssertionError unless the result is the reference's. Where two decayed scores lie within 1e-5 either may
    come first, and the reference follows; returns how often."""
    indices, decayed = found
    values = boxes.double().tolist(), scores.double().tolist(), labels if labels is None else labels.tolist()
    assert indices.dtype == torch.int64
    assert decayed.dtype == (torch.float64 if torch.float64 in (boxes.dtype, scores.dtype) else torch.float32)
    expected = reference(*values, max_detections=max_detections, **rule)
    swaps = 0
    if indices.tolist() != [i for i, _ in expected]:
        process, expected = Process(*values, **rule), []
        for i in indices.tolist():
            assert i in process.remaining, f"box {i} was dropped or selected before"
            best = process.find_best()
            if i != best:
                mine, other = process.remaining[i], process.remaining[best]
                assert 0 <= other - mine <= NEAR, f"box {i} of score {mine} came before box {best} of score {other}"
                assert mine != values[1][i] or other != values[1][best], (
                    f"boxes {i} and {best}: undecayed scores are exact"
                )
                swaps += 1
            expected.append((i, process.take(i)))
        assert len(indices) == max_detections or not process.remaining
    wanted = torch.tensor([score for _, score in expected], dtype=torch.float64)
    torch.testing.assert_close(decayed.double(), wanted, rtol=NEAR, atol=NEAR)
    return swaps


def check_run(run, *arguments, **rule):
    return check_selection(run(*arguments, **rule), *arguments, **rule)
