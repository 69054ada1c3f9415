"""Results of two mmdet assigners, and the instances that they are given."""

import torch

from benchmarks.peers.mmdet import TASK_UTILS, InstanceData, old_spellings

NAME = "YOLOXOpsSimOTAAssigner"
MODULE = "yolox_ops.integrations.mmdet"


def assert_same(ours, theirs, exactly=False):
    """Two AssignResults that agree in everything but the last digits of max_overlaps."""
    assert ours.num_gts == theirs.num_gts
    close = 0 if exactly else 1e-5
    for name in ("gt_inds", "labels", "max_overlaps"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=close, atol=close)


def both(pred, gts, **config):
    with old_spellings():
        return tuple(
            TASK_UTILS.build({"type": name, **config}).assign(pred, gts, None) for name in (NAME, "SimOTAAssigner")
        )


def rows(instances, keep):
    """Those of `keep`, a slice; mmengine's own indexing refuses to leave none."""
    return InstanceData(**{key: value[keep] for key, value in instances.items()})


def cast(instances, **dtypes):
    return InstanceData(**{key: value.to(dtypes.get(key, value.dtype)) for key, value in instances.items()})
