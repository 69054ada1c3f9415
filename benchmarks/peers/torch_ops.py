"""SimOTA in plain torch, without a kernel: what one would write by hand for speed. All images at once, no loop over
images or objects, shapes that depend on no value, so that torch.compile takes it whole. It knows that the anchors are a
grid, which yolox_ops.simota does not: the 3 x 3 cells of each level around an object are found by arithmetic, and
nothing of [B, G, N] or of [B, G, N, C] is ever written where the objects' cells are fewer than the anchors."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from yolox_ops import Assignment

Levels = Sequence[tuple[int, int, int]]  # rows, columns, stride of each level, in the order of the anchors
TOPK, RADIUS = 10, 1.5


def square_levels(anchors: int) -> Levels:
    """The levels of a square image, strides 8, 16 and 32. Raises ValueError if it has no such number of anchors."""
    cells = round((anchors / 21) ** 0.5)
    if 21 * cells**2 != anchors:
        raise ValueError(f"anchors must be of a square image, 21 times a square, or levels be given, got {anchors}")
    return tuple((cells * times, cells * times, 32 // times) for times in (4, 2, 1))


def cells_around(
    gt_boxes: Tensor,  # [B, G, 4]
    real: Tensor,  # [B, G]
    anchor_points: Tensor,  # [N, 2]
    strides: Tensor,  # [N]
    levels: Levels,
) -> tuple[Tensor, Tensor]:
    """The anchors around each object, [B, G, 9 per level] in ascending order, and which of them are in its region."""
    step = torch.arange(-1, 2, device=gt_boxes.device)
    anchors, inside, first = [], [], 0
    for height, width, stride in levels:
        column, row = ((gt_boxes[..., axis, None] / stride).floor().clamp(-4, 1e6).long() + step for axis in (0, 1))
        on_row, on_column = (row >= 0) & (row < height), (column >= 0) & (column < width)
        anchor = row.clamp(0, height - 1)[..., :, None] * width + column.clamp(0, width - 1)[..., None, :]
        anchors.append(anchor.flatten(2) + first)
        inside.append((on_row[..., :, None] & on_column[..., None, :]).flatten(2))
        first += height * width
    anchor = torch.cat(anchors, 2)
    reach = RADIUS * strides[anchor][..., None]
    point, centre = anchor_points[anchor], gt_boxes[:, :, None, :2]
    near = ((point > centre - reach) & (point < centre + reach)).all(-1)
    return anchor, torch.cat(inside, 2) & near & real[..., None]


def planes(
    boxes: Tensor,  # [..., 4]
) -> tuple[Tensor, ...]:
    """Centre x, centre y, width, height of boxes [..., 4], each [...] and dense."""
    return torch.stack(boxes.unbind(-1)).unbind(0)


def iou(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Of `planes` that broadcast; as Megvii has it, without an epsilon."""
    (x, y, w, h), (x2, y2, w2, h2) = one, other
    width = torch.minimum(x + w / 2, x2 + w2 / 2) - torch.maximum(x - w / 2, x2 - w2 / 2)
    height = torch.minimum(y + h / 2, y2 + h2 / 2) - torch.maximum(y - h / 2, y2 - h2 / 2)
    shared = width.clamp(min=0) * height.clamp(min=0)
    return shared / (w * h + w2 * h2 - shared)


def rows(
    values: Tensor,  # [B, N, D]
    index: Tensor,  # [B, ...]
) -> Tensor:
    """[B, ..., D], the rows of values [B, N, D] that index [B, ...] names."""
    B, N, _ = values.shape
    image = torch.arange(B, device=index.device)[:, None] * N
    return values.flatten(0, 1).index_select(0, (index.flatten(1) + image).flatten()).unflatten(0, index.shape)


def pair_cost(
    background: Tensor,  # [B, 1 or G, K]
    p: Tensor,  # [B, G, K]
    overlap: Tensor,  # [B, G, K]
) -> Tensor:
    """[B, G, K], of an object and an anchor whose score for the object's class is p."""
    classes = background + torch.log1p(-p).clamp(min=-100) - p.log().clamp(min=-100)
    return classes - 3 * torch.log(overlap + 1e-8)


def simota_torch(
    pred_boxes: Tensor,  # [B, N, 4]
    cls_logits: Tensor,  # [B, N, C]
    obj_logits: Tensor,  # [B, N]
    anchor_points: Tensor,  # [N, 2]
    strides: Tensor,  # [N]
    gt_boxes: Tensor,  # [B, G, 4]
    gt_labels: Tensor,  # [B, G]
    num_gts: Tensor,  # [B]
    levels: Levels | None = None,
) -> Assignment:
    """The positional arguments of yolox_ops.simota, and its rule without options. `levels` is for images that are not
    square. A pair outside the object's region ranks behind all within, by its cost without the penalty."""
    (B, N, C), G = cls_logits.shape, gt_boxes.shape[1]
    real = torch.arange(G, device=num_gts.device) < num_gts[:, None]
    anchor, inside = cells_around(gt_boxes, real, anchor_points, strides, levels or square_levels(N))
    cells = anchor.shape[2]
    pair = torch.arange(G * cells, device=anchor.device).expand(B, -1)
    flat, flat_inside = anchor.flatten(1), inside.flatten(1)

    # The candidates of an image: each cell of an object where it occurs first, or all anchors where those are fewer.
    if G * cells < N:
        first = torch.full((B, N), G * cells, device=anchor.device)
        first.scatter_reduce_(1, flat, pair.where(flat_inside, G * cells), "amin")
        column, slot, candidate = flat, pair, first.gather(1, flat) == pair
    else:
        column, slot = torch.arange(N, device=anchor.device).expand(B, -1), flat
        candidate = torch.zeros(B, N, device=anchor.device, dtype=torch.int32)
        candidate = candidate.scatter_add(1, flat, flat_inside.int()) > 0
    gts = planes(gt_boxes[:, :, None])
    overlap = iou(gts, planes(rows(pred_boxes, column)[:, None])).where(candidate[:, None], 0)
    k = overlap.topk(TOPK, 2).values.sum(2).int().clamp(min=1)

    p = (rows(cls_logits, column).sigmoid() * obj_logits.gather(1, column).sigmoid()[..., None]).sqrt()
    background = -torch.log1p(-p).clamp(min=-100).sum(2)
    cell_label = gt_labels[:, :, None].expand(-1, -1, cells).flatten(1)
    cell_p = p.flatten(1).gather(1, slot * C + cell_label).unflatten(1, (G, cells))
    cell_iou = iou(gts, planes(rows(pred_boxes, anchor)))
    cost = pair_cost(background.gather(1, slot).unflatten(1, (G, cells)), cell_p, cell_iou).where(inside, torch.inf)
    earlier = torch.arange(cells, device=cost.device) < torch.arange(cells, device=cost.device)[:, None]
    one, other = cost[..., :, None], cost[..., None, :]
    rank = ((other < one) | ((other == one) & earlier)).sum(3)
    chosen = inside & (rank < k[..., None])

    # Objects with fewer anchors of their own than k, which lie at the border, take others' candidates.
    missing = (k - inside.sum(2)) * real

    def beyond(
        p: Tensor,  # [B, K, C]
        background: Tensor,  # [B, K]
        overlap: Tensor,  # [B, G, K]
    ) -> tuple[Tensor, Tensor]:
        label_p = p.gather(2, gt_labels[:, None].expand(-1, p.shape[1], -1)).transpose(1, 2)
        reach = RADIUS * strides[column][:, None, :, None]
        point, centre = anchor_points[column][:, None], gt_boxes[:, :, None, :2]
        outside = ~((point > centre - reach) & (point < centre + reach)).all(-1) & candidate[:, None]
        found = pair_cost(background[:, None], label_p, overlap).where(outside, torch.inf).topk(TOPK, 2, largest=False)
        taken = (torch.arange(TOPK, device=p.device) < missing[..., None]) & (found.values < torch.inf)
        return column[:, None].expand(-1, G, -1).gather(2, found.indices), taken

    def none(
        p: Tensor,  # [B, K, C]
        background: Tensor,  # [B, K]
        overlap: Tensor,  # [B, G, K]
    ) -> tuple[Tensor, Tensor]:
        nothing = torch.zeros(B, G, TOPK, device=p.device, dtype=torch.int64)
        return nothing, nothing > 0

    short = (missing > 0).any()
    if torch.compiler.is_compiling():
        more, taken = torch.cond(short, beyond, none, (p, background, overlap))
    else:
        more, taken = (beyond if short else none)(p, background, overlap)

    # How many objects chose an anchor, in the upper half of an integer; in the lower the object, where it is one.
    gt = torch.arange(G, device=anchor.device)[:, None]
    picked = torch.zeros(B, N, device=anchor.device, dtype=torch.int64)
    picked = picked.scatter_add(1, flat, (((1 << 32) + gt) * chosen).flatten(1))
    picked = picked.scatter_add(1, more.flatten(1), (((1 << 32) + gt) * taken).flatten(1))
    count, sole = picked >> 32, picked & 0xFFFFFFFF
    # Of several the cheapest wins, among all objects: with the penalty that is one whose region holds the anchor.
    least = torch.full((B, N), torch.inf, device=cost.device).scatter_reduce(1, flat, cost.flatten(1), "amin")
    cheapest = (cost == rows(least[..., None], anchor)[..., 0]) & inside
    winner = torch.full((B, N), G, device=anchor.device)
    winner = winner.scatter_reduce(1, flat, gt.expand(-1, cells).where(cheapest, G).flatten(1), "amin")
    matched_gt = torch.where(count > 1, winner, sole.where(count > 0, -1))
    found = iou(planes(rows(gt_boxes, matched_gt.clamp(min=0))), planes(pred_boxes))
    return Assignment(matched_gt, found.where(count > 0, 0), (count > 0).sum(1))


def compiled_simota() -> Callable[..., Assignment]:
    """simota_torch by torch.compile, without a graph break; it compiles once for each set of shapes. What was compiled
    before is forgotten, as torch gives up on a function of many shapes."""
    torch.compiler.reset()
    return torch.compile(simota_torch, fullgraph=True, dynamic=False)
