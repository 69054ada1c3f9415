"""Every public op through torch.export, torch.jit.trace and torch.fx, saved and loaded."""

import io
import operator

import pytest
import torch
import torch.utils._pytree as pytree
from public_calls import NAMES, N, make_case, make_detections, make_scene

import yolox_ops
from yolox_ops.yolox import Detections, Predictions, Targets

pytestmark = pytest.mark.plain


def check_same(found, wanted) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    assert type(found) is type(wanted)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_exported_saved_and_loaded(name, strict):
    module, inputs = make_case(name)
    program = torch.export.export(module, inputs, strict=strict)
    check_same(program.module()(*inputs), module(*inputs))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    check_same(torch.export.load(file).module()(*inputs), module(*inputs))


def test_exported_soft_nms_cuts_where_the_data_says():
    module, (boxes, scores, labels) = make_case("soft_nms")
    program = torch.export.export(module, (boxes, scores, labels)).module()
    for seed in range(3):
        torch.manual_seed(seed)
        again = make_detections()
        check_same(program(*again), module(*again))
    assert {len(module(*make_detections())[0]) for _ in range(5)} != {N}


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_traced_saved_and_loaded(name):
    module, inputs = make_case(name)
    traced = torch.jit.trace(module, inputs, check_trace=False)
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    wanted = module(*inputs)
    found = torch.jit.load(file)(*inputs)  # a NamedTuple comes back as a tuple
    torch.testing.assert_close(found, tuple(wanted) if isinstance(wanted, tuple) else wanted, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_node_of_a_symbolic_trace(name):
    module, inputs = make_case(name)
    graph = torch.fx.symbolic_trace(module)
    assert [node.target for node in graph.graph.nodes if node.op == "call_function"] == [module.function]
    check_same(graph(*inputs), module(*inputs))


def test_a_symbolic_trace_goes_on_with_the_parts_of_a_result():
    def positives(pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels):
        found = yolox_ops.simota(
            pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes=gt_boxes, gt_labels=gt_labels
        )
        return found.num_fg.sum() + found[1].sum()

    scene = make_scene()[:-1]
    graph = torch.fx.symbolic_trace(positives)
    assert operator.getitem in {node.target for node in graph.graph.nodes}
    check_same(graph(*scene), positives(*scene))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_the_bare_ops_are_what_torch_jit_script_takes():
    def positives(scores: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        indices, _, counts = torch.ops.yolox_ops.soft_nms(boxes, scores, None, "hard", 0.5, 0.3, 0.001, -1, "xyxy")
        return indices[0, : counts[0]]

    boxes, scores, _ = make_detections()
    found = torch.jit.script(positives)(scores[None], boxes[None])
    check_same(found, yolox_ops.soft_nms(boxes, scores, method="hard")[0])


class Tagged(torch.Tensor):
    """A subclass of Tensor that does nothing of its own."""


def test_a_subclass_of_tensor_is_taken():
    boxes, scores, labels = make_detections()
    wanted = yolox_ops.soft_nms(boxes, scores, labels)
    found = yolox_ops.soft_nms(boxes.as_subclass(Tagged), scores, labels=labels)
    torch.testing.assert_close([t.as_subclass(torch.Tensor) for t in found], list(wanted), rtol=0, atol=0)
    scene = make_scene()
    tagged = scene._replace(pred_boxes=scene.pred_boxes.as_subclass(Tagged))
    assert isinstance(yolox_ops.simota(*tagged), yolox_ops.Assignment)


def test_results_are_nodes_that_can_be_written_down():
    scene = make_scene()
    nodes = [
        scene,
        yolox_ops.simota(*scene),
        yolox_ops.simota_cost(*scene),
        yolox_ops.yolox_loss(*scene),
        yolox_ops.batched_soft_nms(*(t[None] for t in make_detections())),
        Detections(*torch.ones(4, 2)),
        Predictions(*torch.ones(6, 2)),
        Targets(*torch.ones(3, 2)),
    ]
    for node in nodes:
        leaves, spec = pytree.tree_flatten(node)
        assert len(leaves) == len(node)
        again = pytree.tree_unflatten(leaves, pytree.treespec_loads(pytree.treespec_dumps(spec)))
        assert type(again) is type(node) and all(a is b for a, b in zip(again, node, strict=True))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", ["pairwise_iou", "aligned_iou"])
def test_vmap(name):
    module, inputs = make_case(name)
    batch = [torch.stack([t, t + 1, t * 2]) for t in inputs]
    check_same(torch.func.vmap(module)(*batch), torch.stack([module(*pair) for pair in zip(*batch, strict=True)]))


@pytest.mark.parametrize("name", ["pairwise_iou", "aligned_iou"])
def test_compiled_for_sizes_that_change(name):
    module, inputs = make_case(name)
    compiled = torch.compile(module, dynamic=True, fullgraph=True, backend="aot_eager")
    for size in (7, 3, 5):
        few = [t[:size] for t in inputs]
        check_same(compiled(*few), module(*few))


def test_every_function_is_compiled_by_itself():
    """torch.compile gives up after 8 versions of one code."""
    codes = {getattr(yolox_ops, name).__code__ for name in NAMES if name in yolox_ops.__all__}
    assert len(codes) == len(NAMES) - 1  # `center` is yolox_ops.yolox's
