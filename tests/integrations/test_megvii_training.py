"""Training pixeltable-yolox's model with the patch: a few hundred steps, several processes, torch.compile, autocast.

Two trainings that differ by rounding part within a few steps, whoever computes the losses: weights changed by 1e-7 do
the same. So one training goes on, and at every step the head's own code sees the same predictions.
"""

import copy

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from megvii_heads import own_get_losses
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_map_only

from benchmarks.peers import megvii as peers
from yolox_ops.integrations import megvii
from yolox_ops.trainer.data.digits import Digits
from yolox_ops.trainer.data.sample import collate

CLASSES = 10


def batches(steps, size=64, batch=4):
    """(images, labels as Megvii has them: [B, M, 5] class and box, padded with zeros)"""
    data = Digits("train", images=steps * batch, height=size, width=size)
    for first in range(0, steps * batch, batch):
        samples = collate([data[i] for i in range(first, first + batch)])
        boxes, labels, num_gts = samples.targets
        real = torch.arange(boxes.shape[1]) < num_gts[:, None]
        packed = torch.cat([labels[..., None].float(), boxes], -1)
        yield samples.images.float(), torch.where(real[..., None], packed, 0)


def model_of(release):
    torch.manual_seed(0)
    model = peers.megvii_model("yolox_nano", CLASSES)
    if release:
        own = model.head
        model.head = peers.import_release_head()(CLASSES, 0.25, in_channels=[256, 512, 1024], depthwise=True)
        model.head.load_state_dict(own.state_dict())
    return model.train()


def compare_losses(head, other=None):
    """From now on the head's own code, or `other`, computes each of its losses as well; returns the list that they are
    put on, with the gradients of the predictions."""
    patched, found = head.get_losses, []
    assert patched.__func__ is megvii.get_losses
    other = other or own_get_losses(head)

    def both(*args, **kwargs):
        answers = []
        for get_losses in (patched, other):
            leaf = args[5].detach().requires_grad_()
            losses = get_losses(*args[:5], leaf, *args[6:], **kwargs)
            (gradient,) = torch.autograd.grad(losses[0], leaf)
            answers.append((torch.stack([torch.as_tensor(x).detach().float() for x in losses]), gradient))
        found.append(answers)
        return patched(*args, **kwargs)

    head.get_losses = both
    return found


def check_losses(found):
    for (ours, our_gradient), (theirs, their_gradient) in found:
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
        assert (our_gradient - their_gradient).norm() < 1e-5 * their_gradient.norm()


@pytest.mark.parametrize(("release", "steps"), [(False, 200), (True, 100)], ids=["yolox", "yolox-0.3"])
def test_losses_are_the_heads_own_at_every_step(release, steps):
    """With the L1 term in the last third, and an empty image now and then."""
    model = megvii.patch(model_of(release))
    found = compare_losses(model.head)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True)
    empty = 0
    with peers.deprecated_autocast():
        for step, (images, labels) in enumerate(batches(steps)):
            empty += int((labels.abs().sum((1, 2)) == 0).sum())
            model.head.use_l1 = step >= steps * 2 // 3
            optimizer.zero_grad()
            model(images, labels)["total_loss"].backward()
            optimizer.step()
    assert len(found) == steps and empty > steps // 10
    check_losses(found)
    totals = torch.stack([theirs[0] for _, (theirs, _) in found])
    # It is a training: trainings that differ by rounding end between 0.80 and 0.88, and without steps it is 1.00.
    assert totals[-steps // 3 - 20 : -steps // 3].mean() < 0.95 * totals[:20].mean()


def gradients_of(model, images, labels, autocast=False):
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        losses = model(images, labels)
    losses["total_loss"].backward()
    return losses, torch.cat([p.grad.flatten() for p in model.parameters()])


def rank_of(rank, folder):
    """One of two processes, each with its half of a batch; the patch goes on what DistributedDataParallel made."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    model = DistributedDataParallel(model_of(False), broadcast_buffers=False)
    (images, labels), half = next(batches(1, batch=6)), slice(3 * rank, 3 * rank + 3)
    answers = []
    with peers.deprecated_autocast():
        for patched in (False, True):
            copied = copy.deepcopy(model)
            if patched:
                megvii.patch(copied)
            losses, gradient = gradients_of(copied, images[half], labels[half])
            answers.append(([torch.as_tensor(x).item() for x in losses.values()], gradient))
    torch.save(answers, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes(tmp_path):
    """Each divides by its own positives, as the head does, and their gradients are averaged."""
    mp.spawn(rank_of, (tmp_path,), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for own, patched in ranks:
        torch.testing.assert_close(patched[0], own[0], rtol=1e-5, atol=1e-6)
        assert (patched[1] - own[1]).norm() < 1e-4 * own[1].norm()
    assert ranks[0][1][0][0] != ranks[1][1][0][0]
    assert torch.equal(ranks[0][1][1], ranks[1][1][1])


def test_torch_compile():
    """From images to losses without a break in the graph; the head's own code breaks it at every image."""
    (images, labels), model = next(batches(1)), megvii.patch(model_of(False))
    state = copy.deepcopy(model.state_dict())
    expected, gradient = gradients_of(model, images, labels)
    model.load_state_dict(state)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    found, compiled_gradient = gradients_of(compiled, images, labels)
    for name, loss in expected.items():
        torch.testing.assert_close(torch.as_tensor(found[name]), torch.as_tensor(loss), rtol=1e-5, atol=1e-6)
    assert (compiled_gradient - gradient).norm() < 1e-4 * gradient.norm()


def test_autocast():
    """The head's own boxes, IoUs and targets are bfloat16, of 3 digits, and many of its costs are equal, so that
    nothing can be held to it; what the patch gets is float32 from there on."""
    images, labels = next(batches(1))
    model = megvii.patch(model_of(False))
    patched = model.head.get_losses

    def in_float32(*args, **kwargs):
        with torch.autocast("cpu", enabled=False):
            return patched(*tree_map_only(torch.Tensor, torch.Tensor.float, args), **kwargs)

    compared = compare_losses(model.head, in_float32)
    found, gradient = gradients_of(model, images, labels, autocast=True)
    check_losses(compared)
    assert len(compared) == 1 and compared[0][0][1].dtype == torch.bfloat16
    assert found["total_loss"].dtype == torch.float32 and gradient.isfinite().all()
