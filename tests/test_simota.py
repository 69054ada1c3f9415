import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from impls import DTYPES, check_compiles, check_registration, implementations, strided
from scenes import Scene, grid, random_gts, random_scene
from torch.testing import assert_close

from python_ref.exactness import check_matching
from python_ref.pairwise_iou import similarity
from python_ref.simota_cost import simota_cost as reference_cost
from yolox_ops import dynamic_k_match, simota, simota_cost

each_implementation = pytest.mark.parametrize("run", implementations("simota"))
RULES = [
    {},
    {"center_radius": 2.5, "candidates": "box_or_center", "outside_penalty": 1e5},
    {"topk": 3, "cls_weight": 0.5, "iou_weight": 1.0, "iou_eps": 1e-3},
    {"topk": 500, "outside_penalty": 2.0, "center_radius": 1.0},
    {"outside_penalty": 0.0},
    {
        "outside_penalty": 1.0,
        "cls_weight": 0.0,
        "iou_weight": 10.0,
        "iou_eps": 1.0,
    },  # costs are negative: a penalised pair may win
]


def check_against_reference(result, scene: Scene, **rule) -> int:
    """Every image of the result against python_ref; returns how many anchors used the allowance for rounding."""
    topk = rule.pop("topk", 10)
    used = 0
    for b in range(len(scene.pred_boxes)):
        image = scene.image(b)
        matched_gt = result.matched_gt[b].tolist()
        assert result.num_fg[b] == sum(gt >= 0 for gt in matched_gt)
        if not image[5]:
            assert set(matched_gt) <= {-1}
            continue
        cost, iou = reference_cost(*image, **rule)
        used += check_matching(matched_gt, cost, iou, topk, rule.get("outside_penalty", 1e6))
        expected = [0.0 if gt < 0 else iou[gt][j] for j, gt in enumerate(matched_gt)]
        assert_close(result.matched_iou[b], torch.tensor(expected), rtol=1e-6, atol=1e-6)
    return used


def tensors(scene: Scene, change) -> Scene:
    return Scene(*(None if t is None else change(t) for t in scene))


@each_implementation
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("objectness", [True, False])
def test_equals_reference(run, rule, objectness):
    used = positives = 0
    for seed in range(6):
        scene = random_scene([0, 1, 5, 12, 3], seed=seed, objectness=objectness)
        result = run(*scene, **rule)
        assert result.matched_gt.dtype == torch.int64 and result.matched_iou.dtype == torch.float32
        assert torch.equal(result.fg_mask, result.matched_gt >= 0)
        used += check_against_reference(result, scene, **rule)
        positives += int(result.num_fg.sum())
    assert used <= 1 + positives // 1000


@each_implementation
def test_full_size_image(run):
    scene = random_scene([12], classes=80, size=640, seed=3)
    assert check_against_reference(run(*scene), scene) <= 1


@each_implementation
def test_many_classes(run):
    scene = random_scene([3], classes=1203, size=64, seed=5)
    assert check_against_reference(run(*scene), scene) <= 1


@each_implementation
@pytest.mark.parametrize("classes", [1, 15, 16, 17, 31, 1024, 1025])
def test_class_counts_around_a_vector(run, classes):
    scene = random_scene([4], classes=classes, size=32, seed=classes)
    check_against_reference(run(*scene), scene)


def one_gt(gt, size=64):
    """A scene of one ground truth in which every anchor predicts that box, with equal logits: all costs are equal."""
    points, strides = grid(size, size)
    N = len(points)
    pred = torch.tensor(gt, dtype=torch.float32).expand(1, N, 4)
    boxes = torch.tensor([[gt]], dtype=torch.float32)
    labels = torch.zeros(1, 1, dtype=torch.long)
    return Scene(pred, torch.zeros(1, N, 1), torch.zeros(1, N), points, strides, boxes, labels, None)


@each_implementation
@pytest.mark.parametrize(
    ("centre", "count"),
    # Counted with Megvii's get_geometry_constraint at 640 x 640.
    [
        ((320, 320), 12),
        ((324, 324), 27),
        ((0, 0), 3),
        ((0, 320), 6),
        ((-11, 320), 4),
        ((-31.9, 320), 2),
        ((-32, 320), 0),
    ],
)
def test_centre_test_is_strict(run, centre, count):
    scene = one_gt([*centre, 40.0, 40.0], size=640)
    cost = simota_cost(*scene).cost
    assert cost.isfinite().sum() == count
    result = run(*scene, topk=count + 1)
    # All predictions equal the ground truth, so k is the number of candidates.
    assert result.num_fg.item() == count


@each_implementation
def test_ties_go_to_the_lower_anchor(run):
    scene = one_gt([36.0, 36.0, 40.0, 40.0])
    candidates = simota_cost(*scene).cost[0, 0].isfinite().nonzero().flatten()
    for topk in (1, 4, 10):
        assert run(*scene, topk=topk).fg_mask[0].nonzero().flatten().tolist() == candidates[:topk].tolist()


@each_implementation
def test_ties_go_to_the_lower_gt(run):
    scene = one_gt([36.0, 36.0, 40.0, 40.0])
    twice = scene._replace(gt_boxes=scene.gt_boxes.repeat(1, 3, 1), gt_labels=torch.zeros(1, 3, dtype=torch.long))
    result = run(*twice)
    assert result.num_fg.item() == 10
    assert set(result.matched_gt.unique().tolist()) == {-1, 0}


@each_implementation
def test_k_counts_the_candidates_of_the_whole_image(run):
    # Each object alone has k = 1: none of its own predictions overlaps it well. But the other object's anchors do.
    scene = one_gt([16.0, 16.0, 16.0, 16.0], size=64)
    far = torch.tensor([[[16.0, 16.0, 16.0, 16.0], [48.0, 48.0, 16.0, 16.0]]])
    near_first = (scene.anchor_points - 16).abs().amax(-1) < 1.5 * scene.strides
    pred = scene.pred_boxes.clone()
    pred[0, near_first] = torch.tensor([200.0, 200.0, 4.0, 4.0])
    scene = scene._replace(pred_boxes=pred, gt_boxes=far, gt_labels=torch.zeros(1, 2, dtype=torch.long))
    alone = scene._replace(gt_boxes=far[:, :1], gt_labels=scene.gt_labels[:, :1])
    assert run(*alone).num_fg.item() == 1
    result = run(*scene)
    assert (result.matched_gt == 0).sum().item() > 1
    check_against_reference(result, scene)


@each_implementation
def test_conflict_goes_to_a_gt_that_did_not_take_the_anchor(run):
    # Searched for among random scenes, where it is not rare.
    for seed in range(200):
        scene = random_scene([6], classes=2, size=32, seed=seed)
        cost, iou = (matrix[0, :6].tolist() for matrix in simota_cost(*scene))
        takers: dict[int, set[int]] = {}
        for g, row in enumerate(cost):
            k = max(1, int(sum(sorted(iou[g], reverse=True)[:10])))
            for j in sorted(range(len(row)), key=lambda j: (row[j], j))[:k]:
                takers.setdefault(j, set()).add(g)
        stolen = [
            (j, best)
            for j, gts in takers.items()
            if len(gts) > 1 and (best := min(range(6), key=lambda g: cost[g][j])) not in gts
        ]
        if stolen:
            result = run(*scene)
            assert all(result.matched_gt[0, j] == thief for j, thief in stolen)
            return
    pytest.fail("no scene with a stolen anchor among 200")


@each_implementation
def test_border_gt_takes_penalised_anchors(run):
    # The corner object has 3 candidates of its own and k = 10: the other 7 come from the object in the middle.
    scene = one_gt([0.0, 0.0, 60.0, 60.0], size=64)
    boxes = torch.tensor([[[0.0, 0.0, 60.0, 60.0], [36.0, 36.0, 4.0, 4.0]]])
    logits = torch.zeros(1, len(scene.strides), 2)
    logits[..., 1] = torch.linspace(0, 8, len(scene.strides))
    scene = scene._replace(cls_logits=logits, gt_boxes=boxes, gt_labels=torch.tensor([[0, 1]]))
    result = run(*scene)
    check_against_reference(result, scene)
    own = simota_cost(*scene).cost[0, 0] < 1e6
    assert own.sum() == 3
    assert (result.matched_gt[0] == 0)[~own].sum() > 0


@each_implementation
def test_penalty_leaves_no_rounding(run):
    # Penalised costs that differ by less than float32 can tell apart at 1e6 (0.0625) must still be ordered.
    scene = one_gt([-11.0, 32.0, 60.0, 60.0], size=64)
    boxes = torch.tensor([[[-11.0, 32.0, 60.0, 60.0], [40.0, 32.0, 4.0, 4.0]]])
    # Lower anchors are dearer, by 0.001 each: the reverse of what a tie would choose.
    logits = torch.zeros(1, len(scene.strides), 2)
    logits[..., 0] = torch.linspace(0, 0.1, len(scene.strides))
    scene = scene._replace(cls_logits=logits, gt_boxes=boxes, gt_labels=torch.tensor([[0, 1]]))
    cost = simota_cost(*scene).cost[0, 0]
    own = cost < 1e6
    wanted = [j for j in cost.argsort().tolist() if cost[j].isfinite() and not own[j]][: 10 - int(own.sum())]
    taken = (run(*scene).matched_gt[0] == 0) & ~own
    assert own.sum() == 4 and set(taken.nonzero().flatten().tolist()) <= set(wanted)
    assert taken.sum() >= 3
    check_against_reference(run(*scene), scene)


@each_implementation
@pytest.mark.parametrize("counts", [[0], [0, 0, 0], [0, 4, 0]])
def test_images_without_gts(run, counts):
    scene = random_scene(counts)
    result = run(*scene)
    assert (result.num_fg > 0).tolist() == [count > 0 for count in counts]
    check_against_reference(result, scene)


@each_implementation
@pytest.mark.parametrize("shape", [(0, 84, 3, 2), (2, 0, 3, 2), (2, 84, 0, 2), (2, 84, 0, 0), (0, 0, 0, 0)])
def test_empty_dimensions(run, shape):
    B, N, G, C = shape
    points, strides = (t[:N] for t in grid(64, 64))
    result = run(
        torch.rand(B, N, 4),
        torch.rand(B, N, C),
        None,
        points,
        strides,
        torch.rand(B, G, 4),
        torch.zeros(B, G, dtype=torch.int32),
    )
    assert result.matched_gt.shape == (B, N) and (result.matched_gt == -1).all()
    assert result.num_fg.shape == (B,) and (result.num_fg == 0).all()


@each_implementation
def test_gts_without_candidates(run):
    scene = random_scene([3, 3], seed=1)
    scene.gt_boxes[0, :, :2] = 5000.0
    scene.gt_boxes[1, 1, :2] = -5000.0
    result = run(*scene)
    assert result.num_fg[0] == 0 and result.num_fg[1] > 0
    check_against_reference(result, scene)


@each_implementation
def test_more_gts_than_anchors(run):
    scene = random_scene([100], size=32, seed=2)
    result = run(*scene)
    assert len(scene.strides) == 21
    check_against_reference(result, scene)


@each_implementation
@pytest.mark.parametrize("size", [[0.0, 0.0], [-5.0, 9.0], [-5.0, -9.0], [1e-6, 30.0], [1e6, 1e6]])
@pytest.mark.parametrize("rule", RULES[:2])
def test_degenerate_gts(run, size, rule):
    scene = random_scene([4, 4], seed=7)
    scene.gt_boxes[0, 1, 2:] = torch.tensor(size)
    scene.pred_boxes[0, ::3, 2:] = torch.tensor(size)
    check_against_reference(run(*scene, **rule), scene, **rule)


@each_implementation
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["pred_boxes", "cls_logits", "obj_logits"])
@pytest.mark.parametrize("rule", RULES[:2])
def test_bad_predictions_are_the_worst_choice(run, value, field, rule):
    scene = random_scene([4, 6, 4], seed=11)
    clean = run(*scene, **rule)
    broken = scene._replace(**{field: getattr(scene, field).clone()})
    getattr(broken, field)[1, ::2] = value
    result = run(*broken, **rule)
    assert result.matched_iou.isfinite().all()
    for b in (0, 2):
        assert torch.equal(result.matched_gt[b], clean.matched_gt[b])
    check_against_reference(result, broken, **rule)


@each_implementation
def test_everything_is_nan(run):
    scene = random_scene([4])
    broken = scene._replace(pred_boxes=scene.pred_boxes * math.nan, cls_logits=scene.cls_logits * math.nan)
    result = run(*broken)
    check_against_reference(result, broken)
    assert (result.matched_iou == 0).all()


@each_implementation
@pytest.mark.parametrize("logit", [-math.inf, -1e4, -100.0, -40.0, 40.0, 100.0, 1e4, math.inf])
def test_saturated_logits(run, logit):
    scene = random_scene([5], classes=7, seed=13)
    scene.cls_logits[:, ::3, ::2] = logit
    scene.obj_logits[:, ::2] = abs(logit)
    check_against_reference(run(*scene), scene)


def test_labels_out_of_range():
    for label in (-1, 5):
        scene = random_scene([2, 3], classes=5)
        scene.gt_labels[1, 2] = label
        with pytest.raises(ValueError, match=rf"gt_labels must be in \[0, 5\), got {label} at image 1, row 2"):
            simota(*scene)
        scene.gt_labels[1, 3], scene.gt_labels[1, 2] = label, 0  # row 3 is padding
        simota(*scene)


def test_nan_gts():
    scene = random_scene([2, 3])
    scene.gt_boxes[0, 2] = math.nan  # padding
    simota(*scene)
    scene.gt_boxes[0, 1, 3] = math.nan
    with pytest.raises(ValueError, match="gt_boxes must not be NaN, got NaN at image 0, row 1"):
        simota(*scene)


@pytest.mark.parametrize("count", [-1, 6])
def test_num_gts_out_of_range(count):
    scene = random_scene([2, 3])._replace(num_gts=torch.tensor([2, count]))
    for op in (simota, simota_cost):
        with pytest.raises(ValueError, match=rf"num_gts must be in \[0, 5\], got {count} at image 1"):
            op(*scene)


@each_implementation
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(run, dtype):
    scene = random_scene([3, 7], seed=17)
    cast = scene._replace(
        pred_boxes=scene.pred_boxes.to(dtype),
        cls_logits=scene.cls_logits.to(dtype),
        obj_logits=scene.obj_logits.to(dtype),
        gt_labels=scene.gt_labels.int(),
        num_gts=scene.num_gts.int(),
    )
    check_against_reference(run(*cast), cast)
    everything = tensors(scene, lambda t: t.to(dtype) if t.is_floating_point() else t)
    check_against_reference(run(*everything), everything)


@each_implementation
def test_float64_decides_what_float32_cannot(run):
    scene = one_gt([36.0, 36.0, 40.0, 40.0])
    logits = -1e-9 * torch.arange(len(scene.strides), dtype=torch.float64).reshape(1, -1, 1)
    scene = tensors(scene, lambda t: t.double() if t.is_floating_point() else t)._replace(cls_logits=-logits)
    candidates = simota_cost(*scene).cost[0, 0].isfinite().nonzero().flatten()
    assert run(*scene, topk=4).fg_mask[0].nonzero().flatten().tolist() == candidates[-4:].tolist()


@each_implementation
def test_strides_do_not_matter(run):
    scene = random_scene([3, 7], seed=19)
    plain = run(*scene)
    for change in (strided, lambda t: t.transpose(0, -1).contiguous().transpose(0, -1)):
        assert_close(tuple(run(*tensors(scene, change))), tuple(plain), rtol=0, atol=0)
    same = scene._replace(
        gt_boxes=scene.gt_boxes[:1].expand(2, -1, -1), gt_labels=scene.gt_labels[:1].expand(2, -1), num_gts=None
    )
    assert_close(
        tuple(run(*same)), tuple(run(*tensors(same, lambda t: t.clone(memory_format=torch.contiguous_format))))
    )


@each_implementation
def test_anchors_need_not_be_a_grid(run):
    scene = random_scene([5, 9], seed=23)
    order = torch.randperm(len(scene.strides))
    shuffled = scene._replace(
        pred_boxes=scene.pred_boxes[:, order],
        cls_logits=scene.cls_logits[:, order],
        obj_logits=scene.obj_logits[:, order],
        anchor_points=scene.anchor_points[order],
        strides=scene.strides[order],
    )
    for rule in RULES[:2]:
        result = run(*shuffled, **rule)
        check_against_reference(result, shuffled, **rule)
        assert torch.equal(result.matched_gt, run(*scene, **rule).matched_gt[:, order])


@each_implementation
@pytest.mark.parametrize("axis", [0, 1])
def test_anchors_may_almost_be_a_grid(run, axis):
    scene = random_scene([9], seed=27)
    scene.anchor_points[77, axis] += 40  # away from where its row and column would have it
    scene.gt_boxes[0, 4, :2] = scene.anchor_points[77]
    check_against_reference(run(*scene), scene)
    assert simota_cost(*scene).cost[0, 4, 77] < 1e6


@pytest.mark.heavy
@each_implementation
@pytest.mark.parametrize("rule", RULES[:2])
def test_thousands_of_gts(run, rule):
    scene = random_scene([2000], classes=80, size=1280, seed=29)
    assert len(scene.strides) == 33600
    result = run(*scene, **rule)
    matched = dynamic_k_match(*simota_cost(*scene, **rule), scene.num_gts)
    assert_close(tuple(result), tuple(matched), rtol=0, atol=0)
    for j in result.fg_mask[0].nonzero().flatten()[:200].tolist():
        gt = scene.gt_boxes[0, result.matched_gt[0, j]].tolist()
        overlap = similarity(gt, scene.pred_boxes[0, j].tolist(), "cxcywh")
        assert result.matched_iou[0, j].item() == pytest.approx(overlap, abs=1e-6)


SCENES = st.builds(
    random_scene,
    st.lists(st.integers(0, 12), min_size=1, max_size=4),
    classes=st.integers(1, 20),
    size=st.sampled_from([32, 64, 96]),
    seed=st.integers(0, 10**6),
    objectness=st.booleans(),
)
RULE = st.fixed_dictionaries(
    {
        "center_radius": st.sampled_from([0.5, 1.5, 2.5]),
        "candidates": st.sampled_from(["center", "box_or_center"]),
        "outside_penalty": st.sampled_from([0.0, 1.0, 10.0, 1e5, 1e6, 1e9]),
        "cls_weight": st.sampled_from([0.0, 1.0, 1e6]),
        "iou_weight": st.sampled_from([0.0, 3.0, 1e6]),
        "iou_eps": st.sampled_from([1e-30, 1e-8, 1e-3, 1.0]),
        "topk": st.integers(1, 20),
    }
)


@settings(max_examples=100, deadline=None)
@given(SCENES, RULE)
def test_fused_equals_cost_and_match(scene, rule):
    topk = rule.pop("topk")
    cost, iou = simota_cost(*scene, **rule)
    matched = dynamic_k_match(cost, iou, scene.num_gts, topk=topk)
    assert_close(tuple(simota(*scene, **rule, topk=topk)), tuple(matched), rtol=0, atol=0)


@settings(max_examples=40, deadline=None)
@given(SCENES)
def test_batch_equals_loop_and_padding_is_nothing(scene):
    result = simota(*scene)
    for b, count in enumerate(scene.num_gts.tolist()):
        alone = Scene(
            *(t[b : b + 1] if t is not None else None for t in scene[:3]),
            *scene[3:5],
            scene.gt_boxes[b : b + 1, :count],
            scene.gt_labels[b : b + 1, :count],
            None,
        )
        assert_close(tuple(simota(*alone)), tuple(t[b : b + 1] for t in result), rtol=0, atol=0)


@settings(max_examples=40, deadline=None)
@given(SCENES, st.integers(0, 10**6))
def test_permuted_gts_permute_the_answer(scene, seed):
    scene = scene._replace(num_gts=None)
    order = torch.randperm(scene.gt_boxes.shape[1], generator=torch.Generator().manual_seed(seed))
    permuted = simota(*scene._replace(gt_boxes=scene.gt_boxes[:, order], gt_labels=scene.gt_labels[:, order]))
    result = simota(*scene)
    renamed = torch.where(permuted.fg_mask, order[permuted.matched_gt.clamp(min=0)], -1)
    # Where two ground truths cost the same the lower row wins, so there the order does matter.
    cost = simota_cost(*scene).cost
    tied = (cost == cost.amin(1, keepdim=True)).sum(1) > 1
    assert torch.equal(renamed[~tied], result.matched_gt[~tied])
    assert torch.equal(permuted.num_fg, result.num_fg)


@settings(max_examples=40, deadline=None)
@given(SCENES, st.integers(-64, 64), st.integers(-64, 64))
def test_translation_changes_nothing(scene, dx, dy):
    shift = torch.tensor([dx, dy, 0, 0]) * 8.0
    moved = scene._replace(
        pred_boxes=scene.pred_boxes + shift,
        anchor_points=scene.anchor_points + shift[:2],
        gt_boxes=scene.gt_boxes + shift,
    )
    assert torch.equal(simota(*moved).matched_gt, simota(*scene).matched_gt)


def test_thread_counts_give_the_same_bits():
    scene = random_scene([5, 40, 0, 17, 30], classes=80, size=320, seed=31)
    one_image = Scene(*(t[1:2] for t in scene[:3]), *scene[3:5], *(t[1:2] for t in scene[5:]))
    threads = torch.get_num_threads()
    answers = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        answers.append(torch.cat([t.flatten().double() for s in (scene, one_image) for t in simota(*s)]))
    torch.set_num_threads(threads)
    assert torch.equal(answers[0], answers[1]) and torch.equal(answers[0], answers[2])


@pytest.mark.parametrize("counts", [[3, 0], [5]])
def test_registration(counts):
    scene = random_scene(counts, size=32)
    check_registration("simota", *scene, 1.5, "center", 1e6, 1.0, 3.0, 1e-8, 10)
    moved = tensors(scene, lambda t: t.transpose(0, -1).contiguous().transpose(0, -1))._replace(obj_logits=None)
    check_registration("simota", *moved, 2.5, "box_or_center", 1e5, 1.0, 3.0, 1e-7, 10)


def test_compiles_and_detaches():
    scene = random_scene([3, 0, 4], size=32)
    check_compiles(simota, *scene)
    check_compiles(simota, *scene._replace(num_gts=None, obj_logits=None), topk=4)
    result = simota(*scene._replace(pred_boxes=scene.pred_boxes.requires_grad_()))
    assert not result.matched_iou.requires_grad


GOOD = random_scene([3, 2], size=32)


@pytest.mark.parametrize(
    ("change", "rule", "error", "words"),
    [
        ({"pred_boxes": GOOD.pred_boxes[0]}, {}, ValueError, r"pred_boxes must be \[B, N, 4\], got \[21, 4\]"),
        ({"cls_logits": GOOD.cls_logits[:1]}, {}, ValueError, r"cls_logits must be \[B, N, C\], got \[1, 21, 5\]"),
        ({"obj_logits": GOOD.obj_logits[..., None]}, {}, ValueError, r"obj_logits must be \[B, N\], got \[2, 21, 1\]"),
        ({"anchor_points": GOOD.anchor_points[:5]}, {}, ValueError, r"anchor_points must be \[N, 2\], got \[5, 2\]"),
        ({"strides": GOOD.strides[None]}, {}, ValueError, r"strides must be \[N\], got \[1, 21\]"),
        ({"gt_boxes": torch.rand(2, 7, 5)}, {}, ValueError, r"gt_boxes must be \[B, G, 4\], got \[2, 7, 5\]"),
        ({"gt_labels": GOOD.gt_labels[:, :1]}, {}, ValueError, r"gt_labels must be \[B, G\], got \[2, 1\]"),
        (
            {"gt_labels": GOOD.gt_labels.float()},
            {},
            TypeError,
            "gt_labels must be an integer tensor, got torch.float32",
        ),
        ({"num_gts": torch.tensor([1])}, {}, ValueError, r"num_gts must be \[B\], got \[1\]"),
        ({"num_gts": [1, 2]}, {}, TypeError, "num_gts must be a torch.Tensor, got list"),
        ({"pred_boxes": GOOD.pred_boxes.long()}, {}, TypeError, "pred_boxes must be float32, .* got torch.int64"),
        ({"strides": GOOD.strides.to("meta")}, {}, ValueError, "strides must be on the device of pred_boxes"),
        ({}, {"topk": 0}, ValueError, "topk must be at least 1, got 0"),
        ({}, {"topk": 2.5}, TypeError, "topk must be an integer, got 2.5"),
        ({}, {"topk": True}, TypeError, "topk must be an integer, got True"),
        ({}, {"center_radius": 0}, ValueError, "center_radius must be positive and finite, got 0"),
        ({}, {"center_radius": math.inf}, ValueError, "center_radius must be positive and finite, got inf"),
        ({}, {"candidates": "box"}, ValueError, "candidates must be one of 'center', 'box_or_center', got 'box'"),
        ({}, {"outside_penalty": -1.0}, ValueError, r"outside_penalty must be in \[0, 1e\+09\], got -1.0"),
        ({}, {"outside_penalty": math.inf}, ValueError, r"outside_penalty must be in \[0, 1e\+09\], got inf"),
        ({}, {"iou_eps": 0.0}, ValueError, r"iou_eps must be in \[1e-30, 1\], got 0.0"),
        ({}, {"iou_weight": math.nan}, ValueError, r"iou_weight must be in \[0, 1e\+06\], got nan"),
        ({}, {"cls_weight": 1e7}, ValueError, r"cls_weight must be in \[0, 1e\+06\], got 10000000.0"),
    ],
)
def test_errors(change, rule, error, words):
    with pytest.raises(error, match=words):
        simota(*GOOD._replace(**change), **rule)


def test_the_bare_op_guards_its_memory():
    rule = (1.5, "center", 1e6, 1.0, 3.0, 1e-8, 10)
    for change, words in [
        ({"gt_labels": GOOD.gt_labels[:, :2]}, r"gt_labels must be \[B, G\], got \[2, 2\]"),
        ({"anchor_points": GOOD.anchor_points[:20]}, r"anchor_points must be \[N, 2\], got \[20, 2\]"),
        ({"cls_logits": GOOD.cls_logits[:, :20]}, r"cls_logits must be \[B, N, C\], got \[2, 20, 5\]"),
        ({"obj_logits": GOOD.obj_logits.long()}, "obj_logits must be float32"),
        ({"gt_boxes": GOOD.gt_boxes.long()}, "gt_boxes must be float32"),
        ({"anchor_points": GOOD.anchor_points.bool()}, "anchor_points must be float32"),
        ({"strides": GOOD.strides.int()}, "strides must be float32"),
        ({"gt_labels": GOOD.gt_labels.float()}, "gt_labels must be an integer tensor"),
        ({"num_gts": torch.tensor([1.0, 2.0])}, "num_gts must be an integer tensor"),
        ({"num_gts": torch.tensor([3, 99])}, "num_gts must be in"),
    ]:
        with pytest.raises(ValueError, match=words):
            torch.ops.yolox_ops.simota(*GOOD._replace(**change), *rule)
    for position, value, words in [
        (0, math.nan, "center_radius must be positive"),
        (1, "box", "candidates must be"),
        (2, math.inf, "outside_penalty must be in"),
        (3, -1.0, "cls_weight must be in"),
        (4, math.nan, "iou_weight must be in"),
        (5, 0.0, "iou_eps must be in"),
        (6, 0, "topk must be at least 1"),
    ]:
        with pytest.raises(ValueError, match=words):
            torch.ops.yolox_ops.simota(*GOOD, *rule[:position], value, *rule[position + 1 :])


def test_random_gts_reach_over_the_border():
    """The scenes above are worth little unless they hold objects at and beyond the border."""
    boxes = random_gts((1000,), 96, torch.Generator().manual_seed(0))
    assert (boxes[:, 0] < 0).any() and (boxes[:, 0] > 96).any()
