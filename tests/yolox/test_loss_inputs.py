"""yolox_loss as one graph that looks at no value, its assigner, two ranks with a batch between them, and errors."""

import functools

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from loss_inputs import CLASSES, decode, loss_of, value_and_gradient, with_head

from yolox_ops import Assignment, YOLOXLoss, simota, yolox_loss


@pytest.mark.parametrize("options", [{}, {"box_loss": "giou", "objectness": "iou", "l1": True}])
def test_no_value_is_read_on_the_host(options):
    """On a GPU the host would wait for it; meta tensors have none to give."""
    head, *rest = (t.detach().to("meta") for t in with_head([4, 0, 7], 15))
    loss, gradient = value_and_gradient(head.requires_grad_(), *rest, **options)
    assert loss.total.shape == () and loss.num_fg.shape == (3,) and gradient.shape == head.shape


@pytest.mark.parametrize("options", [{}, {"box_loss": "giou", "objectness": "iou", "l1": True}])
def test_compiles_as_one_graph(options):
    head, *rest = with_head([4, 0, 7], 15)
    compiled = torch.compile(functools.partial(loss_of, **options), fullgraph=True, backend="aot_eager")
    loss = compiled(head, *rest)
    (gradient,) = torch.autograd.grad(loss.total, head)
    torch.testing.assert_close((loss, gradient), value_and_gradient(head, *rest, **options), rtol=1e-6, atol=1e-7)


def test_the_assigner_is_called_once_without_gradients():
    calls = []

    def assigner(*scene):
        calls.append(scene)
        return simota(*scene, topk=3)

    head, *rest = with_head([4, 0, 7], 16)
    loss = loss_of(head, *rest, assigner=assigner)
    assert len(calls) == 1 and len(calls[0]) == 8
    assert not any(t.requires_grad for t in calls[0])
    want = (*decode(head, *rest[:2]), *rest)
    for got, tensor in zip(calls[0], want, strict=True):
        torch.testing.assert_close(got, tensor.detach(), rtol=0, atol=0)
    assert loss.num_fg.sum() < loss_of(head, *rest).num_fg.sum()
    assert isinstance(loss, YOLOXLoss)


COUNTS = [3, 1, 0, 20, 0, 0]  # rank 0 has few positives, rank 1 most of them


def rank_of(rank, folder, compiled):
    """One of two processes with half of the batch each; leaves its loss and gradient in `folder`."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    head, points, strides, *gts = with_head(COUNTS, 17, 64)
    half = slice(3 * rank, 3 * rank + 3)
    run = functools.partial(loss_of, l1=True)
    if compiled:
        run = torch.compile(run, fullgraph=True, backend="aot_eager")
    shift = torch.zeros(head.shape[-1], requires_grad=True)  # a parameter that both have
    loss = run(head[half].detach() + shift, points, strides, *(t[half] for t in gts))
    loss.total.backward()
    torch.save((tuple(x.detach() for x in loss), shift.grad), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("compiled", [False, True])
def test_two_ranks_are_one_batch(tmp_path, compiled):
    mp.spawn(rank_of, (tmp_path, compiled), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    head, *rest = with_head(COUNTS, 17, 64)
    whole, gradient = value_and_gradient(head, *rest, l1=True)
    assert ranks[0][0][5].sum() != ranks[1][0][5].sum()  # else each rank's own count would do
    assert torch.cat([loss[5] for loss, _ in ranks]).tolist() == whole.num_fg.tolist()
    for one, two, want in zip(*(loss[:5] for loss, _ in ranks), whole[:5], strict=True):
        torch.testing.assert_close((one + two) / 2, want, rtol=1e-5, atol=0)
    torch.testing.assert_close((ranks[0][1] + ranks[1][1]) / 2, gradient.sum((0, 1)), rtol=1e-5, atol=1e-6)


def valid():
    head, points, strides, gt_boxes, gt_labels, num_gts = with_head([2, 1], 18, 32)
    pred_boxes, cls_logits, obj_logits = decode(head.detach(), points, strides)
    return {
        "pred_boxes": pred_boxes,
        "cls_logits": cls_logits,
        "obj_logits": obj_logits,
        "anchor_points": points,
        "strides": strides,
        "gt_boxes": gt_boxes,
        "gt_labels": gt_labels,
        "num_gts": num_gts,
        "raw_boxes": pred_boxes,
    }


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"box_loss": "ciou"}, ValueError, "box_loss must be one of 'iou', 'giou', got 'ciou'"),
        ({"objectness": "soft"}, ValueError, "objectness must be one of 'binary', 'iou', got 'soft'"),
        ({"reg_weight": -1.0}, ValueError, "reg_weight must be at least 0, got -1.0"),
        ({"reg_weight": "5"}, TypeError, "reg_weight must be a number, got '5'"),
        ({"raw_boxes": torch.zeros(2, 21, 5)}, ValueError, r"raw_boxes must be \[B, N, 4\], got \[2, 21, 5\]"),
        ({"raw_boxes": torch.zeros(2, 21, 4).long()}, TypeError, "raw_boxes must be float32.*got torch.int64"),
        ({"obj_logits": None}, TypeError, "obj_logits must be a torch.Tensor, got NoneType"),
        ({"obj_logits": torch.zeros(2, 21, 1)}, ValueError, r"obj_logits must be \[B, N\], got \[2, 21, 1\]"),
        ({"gt_boxes": torch.zeros(2, 2, 5)}, ValueError, r"gt_boxes must be \[B, G, 4\].*got \[2, 2, 5\]"),
        ({"gt_labels": torch.zeros(2, 2)}, TypeError, "gt_labels must be an integer tensor, got torch.float32"),
        ({"gt_labels": torch.full((2, 2), CLASSES)}, ValueError, "gt_labels"),
        ({"num_gts": torch.tensor([1])}, ValueError, r"num_gts must be \[B\] with B = 2, got \[1\]"),
    ],
)
def test_errors(change, error, words):
    with pytest.raises(error, match=words):
        yolox_loss(**{**valid(), **change})


def test_the_scene_is_checked_whatever_the_assigner():
    def assigner(*scene):
        raise AssertionError("called")

    with pytest.raises(ValueError, match=r"strides must be \[N\] with N = 21, got \[20\]"):
        yolox_loss(**{**valid(), "strides": torch.ones(20)}, assigner=assigner)


def test_an_assigner_of_the_wrong_shape():
    one_image = Assignment(torch.zeros(21).long(), torch.zeros(21), torch.tensor(21))
    with pytest.raises(ValueError, match=r"matched_gt of the assigner must be \[B, N\], got \[21\]"):
        yolox_loss(**valid(), assigner=lambda *scene: one_image)
