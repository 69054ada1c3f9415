"""Options of the assigners that float32 rounds to 0 or to infinity act as they do in float64."""

import matching
import pytest
import torch
import transport
from impls import COMPILING, implementations
from scenes import random_scene

FEW = [2, 3]


def scene_at_origin(dtype):
    """An anchor lies on the centre of a ground truth, both at 0, where no distance is rounded away."""
    scene = random_scene(FEW, size=64, seed=3)
    points = scene.anchor_points - scene.anchor_points[20]
    gt_boxes = scene.gt_boxes.clone()
    gt_boxes[:, 0] = torch.tensor([0.0, 0, 24, 24])
    return type(scene)(*(t.to(dtype) if t.is_floating_point() else t for t in scene))._replace(
        anchor_points=points.to(dtype), gt_boxes=gt_boxes.to(dtype)
    )


@pytest.mark.parametrize("run", implementations("simota"))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("candidates", ["center"] if COMPILING else ["center", "box_or_center", "all"])
@pytest.mark.parametrize("radius", [1e-46, 1e-300, 1e39])
def test_center_radius(run, dtype, candidates, radius):
    scene = scene_at_origin(dtype)
    rule = {"center_radius": radius, "candidates": candidates}
    result = run(*scene, **rule)
    assert (result.num_fg > 0).all()
    if candidates == "center" and radius < 1:
        assert result.matched_gt.argmax(1).tolist() == [20, 20] and result.num_fg.tolist() == [1, 1]
    matching.check_against_reference(result, scene, **rule)


@pytest.mark.parametrize("run", implementations("ota"))
@pytest.mark.parametrize("radius", [1e-46, 1e39])
def test_center_radius_of_ota(run, radius):
    scene = scene_at_origin(torch.float32)._replace(obj_logits=None)
    given = {name: value for name, value in scene._asdict().items() if name != "obj_logits"}
    result = run(**given, center_radius=radius)
    assert radius > 1 or (result.matched_gt[:, 20] == 0).all()
    transport.check_against_reference(result, scene, center_radius=radius)


@pytest.mark.parametrize("run", implementations("simota_cost"))
def test_weights(run):
    scene = scene_at_origin(torch.float32)
    usual, _ = run(*scene, candidates="all", outside_penalty=0, iou_weight=0)
    cost, _ = run(*scene, candidates="all", outside_penalty=0, cls_weight=1e-46, iou_weight=0)
    real = torch.arange(cost.shape[1]) < torch.tensor(FEW)[:, None]
    assert (usual[real] > 1).any() and (cost[real][usual[real] > 1] > 0).all() and cost[real].max() < 1e-42
    cost, overlap = run(*scene, candidates="all", outside_penalty=0, cls_weight=0, iou_weight=1e-46)
    assert (cost[real][overlap[real] == 0] > 0).all() and cost[real].max() < 1e-42
