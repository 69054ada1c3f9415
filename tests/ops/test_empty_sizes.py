"""Every function for every combination of sizes, of which each may be 0."""

import itertools

import pytest
import torch
from impls import COMPILING, implementations
from torch.testing import assert_close

import yolox_ops
from yolox_ops import Assignment, Scene, yolox_loss
from yolox_ops.yolox import Predictions, detect
from yolox_ops.yolox.assigners import ASSIGNERS

SIZES = (0, 2) if COMPILING else (0, 1, 2)
KINDS = ["ciou"] if COMPILING else ["iou", "ciou"]
SHAPES = list(itertools.product(SIZES, repeat=4))
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "B{}N{}C{}G{}".format(*shape))


def make_scene(B, N, C, G):
    """Anchors at 4 and 12 pixels, the objects over the first of them."""
    points = torch.tensor([[4.0, 4.0], [12.0, 4.0]])[:N]
    return Scene(
        torch.cat([points.expand(B, N, 2), torch.full((B, N, 2), 10.0)], -1),
        torch.rand(B, N, C),
        torch.rand(B, N),
        points,
        torch.full((N,), 8.0),
        torch.tensor([4.0, 4.0, 9.0, 9.0]).expand(B, G, 4).clone(),
        torch.zeros(B, G, dtype=torch.int64),
        None,
    )


def padding_only(scene):
    return scene._replace(num_gts=torch.zeros(len(scene.pred_boxes), dtype=torch.int64))


def background(scene):
    B, N, _ = scene.pred_boxes.shape
    return Assignment(torch.full((B, N), -1), torch.zeros(B, N), torch.zeros(B, dtype=torch.int64))


def is_refused(shape):
    """There is a label, and no class for it to be."""
    B, _N, C, G = shape
    return C == 0 and B > 0 and G > 0


@each_shape
@pytest.mark.parametrize("name", ASSIGNERS)
def test_assigners(name, shape):
    scene, (B, N, C, G) = make_scene(*shape), shape
    assert_close(ASSIGNERS[name](*padding_only(scene)), background(scene), rtol=0, atol=0)
    if is_refused(shape) and name in ("simota", "ota"):
        with pytest.raises(ValueError, match=r"^gt_labels must be in \[0, 0\), got 0 at image 0, row 0$"):
            ASSIGNERS[name](*scene)
        return
    found = ASSIGNERS[name](*scene)
    assert (found.num_fg > 0).all() == (min(N, C, G) > 0 or B == 0) and found.num_fg.shape == (B,)
    assert torch.equal(found.fg_mask.sum(1), found.num_fg) and found.matched_gt.shape == (B, N)


@pytest.mark.plain
@each_shape
@pytest.mark.parametrize("name", ASSIGNERS)
@pytest.mark.parametrize("objectness", ["binary", "iou"])
def test_yolox_loss(objectness, name, shape):
    scene, (_B, N, C, G) = make_scene(*shape), shape
    options = {"objectness": objectness, "assigner": ASSIGNERS[name]}
    for given in (scene, padding_only(scene)):
        if given is scene and is_refused(shape) and name in ("simota", "ota"):
            with pytest.raises(ValueError, match=r"^gt_labels must be in \[0, 0\), got 0 at image 0, row 0$"):
                yolox_loss(*scene, **options)
            continue
        head = [t.clone().requires_grad_() for t in (*given[:3], given.pred_boxes)]
        loss = yolox_loss(*head[:3], *given[3:], raw_boxes=head[3], **options)
        loss.total.backward()
        assert all(term.isfinite() for term in loss[:5]) and all(t.grad.isfinite().all() for t in head)
        if not loss.num_fg.sum():
            assert loss.box == loss.cls == loss.l1 == 0 and not any(head[i].grad.any() for i in (0, 1, 3))
        assert (loss.obj > 0) == (head[2].numel() > 0)
        assert (loss.num_fg > 0).all() == (given is scene and min(N, C, G) > 0) or not len(loss.num_fg)


@pytest.mark.plain
@each_shape
def test_explain(shape):
    scene, (B, N, C, G) = make_scene(*shape), shape
    given = background(scene) if is_refused(shape) else yolox_ops.simota(*scene)
    found = yolox_ops.explain(given, *scene)
    assert len(found.images) == B and len(found.gts) == B * G and str(found)
    assert all(bool(gt.k) == (min(N, C) > 0) and bool(gt.positives) != bool(gt.reason) for gt in found.gts)
    if B:
        found.draw(torch.zeros(B, 3, 32, 32))


@pytest.mark.plain
@each_shape
def test_detect(shape):
    scene, (B, N, C, _G) = make_scene(*shape), shape
    for threshold in (0.01, 0.0, -1.0):
        found = detect(Predictions(*scene[:3], scene.pred_boxes, *scene[3:5]), score_threshold=threshold)
        assert found.boxes.shape == (B, N, 4) and found.scores.shape == found.labels.shape == (B, N)
        assert (found.counts > 0).tolist() == [min(N, C) > 0] * B and not found.boxes[..., :0].any()
        assert found.labels.dtype == torch.int64 and ((found.labels >= 0) & (found.labels < max(C, 1))).all()


@each_shape
@pytest.mark.parametrize("run", implementations("simota_cost"))
def test_simota_cost(run, shape):
    scene, (B, N, _C, G) = padding_only(make_scene(*shape)), shape
    cost, iou = run(*scene)
    assert cost.shape == iou.shape == (B, G, N) and cost.isinf().all() and not iou.any()


each_small_shape = pytest.mark.parametrize("shape", list(itertools.product(SIZES, repeat=3)))


@each_small_shape
@pytest.mark.parametrize("run", implementations("dynamic_k_match"))
def test_dynamic_k_match(run, shape):
    B, _G, N = shape
    found = run(torch.rand(shape), torch.rand(shape))
    assert found.matched_gt.shape == (B, N) and found.num_fg.tolist() == found.fg_mask.sum(1).tolist()
    assert found.fg_mask.any() == (min(shape) > 0)


@each_small_shape
@pytest.mark.parametrize("run", implementations("sinkhorn"))
def test_sinkhorn(run, shape):
    B, M, N = shape
    plan = run(torch.rand(shape), torch.ones(B, M), torch.ones(B, N))
    assert plan.shape == shape
    assert_close(plan.sum(2), torch.full((B, M), 1.0 if N else 0.0))


@each_small_shape
@pytest.mark.parametrize("run", implementations("batched_soft_nms"))
@pytest.mark.parametrize("most", [None, 0, 1])
def test_batched_soft_nms(run, shape, most):
    B, N, _ = shape
    K = N if most is None else min(most, N)
    found = run(torch.rand(B, N, 4), torch.rand(B, N) + 0.1, max_detections=most)
    assert found.indices.shape == found.scores.shape == (B, K) and found.counts.shape == (B,)
    assert (found.counts > 0).tolist() == [K > 0] * B


@each_small_shape
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("run", implementations("pairwise_iou"))
def test_pairwise_iou(run, shape, kind):
    B, M, N = shape
    boxes = [torch.rand(B, size, 4, requires_grad=True) for size in (M, N)]
    found = run(*boxes, kind=kind)
    found.sum().backward()
    assert found.shape == shape and all(b.grad.shape == b.shape for b in boxes)


@each_small_shape
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("run", implementations("aligned_iou"))
def test_aligned_iou(run, shape, kind):
    boxes = [torch.rand(*shape, 4, requires_grad=True) for _ in range(2)]
    found = run(*boxes, kind=kind)
    found.sum().backward()
    assert found.shape == shape and all(b.grad.shape == b.shape for b in boxes)
