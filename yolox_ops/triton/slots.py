"""How the candidates of an image lie in memory: slot beside slot, and so do their numbers, trait by trait."""

import triton
import triton.language as tl

# Numbers that a candidate has, in the order of store_geometry and store_score.
TRAITS = tl.constexpr(10)


@triton.jit
def point_at_trait(image, trait, slot):
    return image.batch.traits + (image.b * TRAITS + trait) * image.N + slot


@triton.jit
def store_geometry(image, slot, mask, box, place):
    x1, y1, x2, y2, area = box
    x, y, reach = place
    tl.store(point_at_trait(image, 0, slot), x1, mask)
    tl.store(point_at_trait(image, 1, slot), y1, mask)
    tl.store(point_at_trait(image, 2, slot), x2, mask)
    tl.store(point_at_trait(image, 3, slot), y2, mask)
    tl.store(point_at_trait(image, 4, slot), area, mask)
    tl.store(point_at_trait(image, 5, slot), x, mask)
    tl.store(point_at_trait(image, 6, slot), y, mask)
    tl.store(point_at_trait(image, 7, slot), reach, mask)


@triton.jit
def store_score(image, slot, mask, score):
    negatives, obj_exp, obj_softplus = score
    tl.store(image.batch.negatives + image.b * image.N + slot, negatives, mask)
    tl.store(point_at_trait(image, 8, slot), obj_exp, mask)
    tl.store(point_at_trait(image, 9, slot), obj_softplus, mask)


@triton.jit
def load_trait(image, trait, slot, mask):
    return tl.load(point_at_trait(image, trait, slot), mask, 0.0)


@triton.jit
def load_anchor(image, slot, mask):
    return tl.load(image.batch.candidates + image.b * image.N + slot, mask, 0)


@triton.jit
def load_slot_box(image, slot, mask):
    x1, y1 = load_trait(image, 0, slot, mask), load_trait(image, 1, slot, mask)
    x2, y2 = load_trait(image, 2, slot, mask), load_trait(image, 3, slot, mask)
    return x1, y1, x2, y2, load_trait(image, 4, slot, mask)


@triton.jit
def load_place(image, slot, mask):
    return load_trait(image, 5, slot, mask), load_trait(image, 6, slot, mask), load_trait(image, 7, slot, mask)


@triton.jit
def load_score(image, slot, mask):
    negatives = tl.load(image.batch.negatives + image.b * image.N + slot, mask, 0.0)
    return negatives, load_trait(image, 8, slot, mask), load_trait(image, 9, slot, mask)
