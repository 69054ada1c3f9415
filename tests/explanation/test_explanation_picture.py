"""The picture that an Explanation draws."""

import math
import subprocess
import sys

import pytest
import torch
from matplotlib.image import imread
from scenes import random_scene
from wrong_scene import crossed, given

from yolox_ops import explain, simota
from yolox_ops.explanation.picture import spread


def test_a_picture_has_a_format(tmp_path):
    scene = random_scene([1], size=64)
    with pytest.raises(ValueError, match=r"path must end in a picture's format, as .png, got '.*anchors'"):
        explain(simota(*scene), *scene).draw(torch.rand(1, 3, 64, 64), tmp_path / "anchors")


def test_picture(tmp_path):
    """What is drawn stands where it lies in the image, and colours are not swapped."""
    scene = crossed()
    explanation = explain(given(scene, {9: 0, 10: 0, 70: 1}), *scene)
    blue = torch.zeros(2, 3, 64, 128, dtype=torch.uint8)
    blue[:, 0] = 255
    figure = explanation.draw(blue, tmp_path / "new" / "a.png", class_names=["cat", "dog"], which=[0])
    width, height = figure.get_size_inches()
    (axes,) = figure.axes
    drawn = torch.cat([torch.tensor(c.get_offsets().data) for c in axes.collections]).float()
    assert torch.equal(drawn, scene.anchor_points[[9, 10, 70]])
    texts = [text.get_text() for text in axes.texts]  # the left ones from above, then the right ones
    assert texts == [
        "cat: 2 of k = 10\nIoU 0.50",
        "cat: 1 of k = 10\nIoU 0.50",
        "class 2: 0 of k = 0",
        "dog: 0 of k = 1",
    ]
    picture = torch.tensor(imread(tmp_path / "new" / "a.png"))
    is_blue = (picture[..., :3] == torch.tensor([0.0, 0, 1])).all(-1)
    image_height, image_width = (int(is_blue.any(dim).sum()) for dim in (1, 0))
    assert image_width == pytest.approx(2 * image_height, rel=0.01) and image_width > 600
    assert picture.shape[:2] == (int(height * 110), int(width * 110))
    figure = explanation.draw(blue)
    assert [text.get_text() for text in figure.axes[1].texts] == ["no ground truths:\nall 84 anchors are background"]
    assert len(figure.axes) == 2


def test_images_are_bytes_or_floats():
    scene = random_scene([2] * 9, size=32)
    explanation = explain(simota(*scene), *scene)
    images = torch.randint(0, 256, (9, 3, 32, 32), dtype=torch.uint8)
    darker = (images.float() - 0.4).clamp(min=0)  # which rounding takes back
    drawn = [
        [axes.images[0].get_array().data for axes in explanation.draw(same).axes]
        for same in (
            images,
            images.float(),
            darker,
            images.half().requires_grad_(),
            images / 255,
            images.double() / 255,
        )
    ]
    assert len(drawn[0]) == 8  # no more, unless asked for
    assert all((a == b).all() for other in drawn[1:] for a, b in zip(drawn[0], other, strict=True))
    assert (drawn[0][3] == images[3].permute(1, 2, 0).flip(-1).numpy()).all()
    (axes,) = explanation.draw(images, which=[8]).axes
    assert (axes.images[0].get_array().data == images[8].permute(1, 2, 0).flip(-1).numpy()).all()


@pytest.mark.parametrize(
    ("images", "which", "error", "words"),
    [
        (torch.zeros(2, 3, 8), None, ValueError, r"images must be \[B, 3, H, W\], got \[2, 3, 8\]"),
        (torch.zeros(3, 3, 8, 8), None, ValueError, r"images must be \[B, 3, H, W\] with B = 2, got"),
        (torch.zeros(2, 3, 8, 8).int(), None, TypeError, "images that are not uint8 must be float32"),
        (torch.full((2, 3, 8, 8), 2.5).sub(4), None, ValueError, r"images must be in 0\.\.255, .*, got -1\.5 to -1\.5"),
        (torch.full((2, 3, 8, 8), math.nan), None, ValueError, "got nan to nan"),
        (torch.zeros(2, 3, 8, 8), [2], ValueError, r"which must name one or more images in \[0, 2\), got \[2\]"),
        (torch.zeros(2, 3, 8, 8), [], ValueError, r"which must name one or more images in \[0, 2\), got \[\]"),
        ("photo.png", None, TypeError, r"images must be a torch\.Tensor, got str"),
    ],
)
def test_wrong_images_are_refused(images, which, error, words):
    scene = crossed()
    with pytest.raises(error, match=words):
        explain(given(scene, {}), *scene).draw(images, which=which)


def test_labels_keep_apart():
    levels = spread([5.0, 6.0, 50.0, 99.0, 99.0], gap=10, low=10, high=90)
    assert levels == [10, 20, 50, 80, 90]


def test_images_are_drawn_apart():
    scene = random_scene([1] * 8, size=32)
    figure = explain(simota(*scene), *scene).draw(torch.zeros(8, 3, 32, 32))
    places = [axes.get_position() for axes in figure.axes]
    assert places[-1].y0 >= 0 and places[0].y1 < 1
    for i, place in enumerate(places):
        left, above = (i % 2) * 0.5, (places[i - 2].y0 if i > 1 else 1)
        assert place.x0 == left and place.y1 < above


def test_labels_of_a_crowd_stay_beside_the_image():
    scene = random_scene([60], size=64)
    figure = explain(simota(*scene), *scene).draw(torch.zeros(1, 3, 64, 64))
    levels = [text.get_position()[1] for text in figure.axes[0].texts]
    assert len(levels) == 60 and min(levels) > 0 and max(levels) < 64


def test_only_drawing_needs_matplotlib():
    """In a process of its own, for what is imported once stays."""
    code = """
import sys; sys.modules["matplotlib"] = None
import torch, yolox_ops
scene = torch.zeros(1, 4, 4), torch.zeros(1, 4, 1), None, torch.ones(4, 2), torch.ones(4), torch.ones(1, 1, 4)
scene = (*scene, torch.zeros(1, 1, dtype=torch.int64))
explanation = yolox_ops.explain(yolox_ops.simota(*scene), *scene)
print(isinstance(explanation, yolox_ops.Explanation), str(explanation).count("image "))
explanation.draw(torch.zeros(1, 3, 8, 8))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout == "True 2\n"
    last = ended.stderr.splitlines()[-1]
    assert last == "ModuleNotFoundError: drawing needs matplotlib: pip install 'yolox_ops[train]'"
