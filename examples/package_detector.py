"""Packs a detector, with soft-NMS inside, for a program without Python; examples/detect.cpp is one.

    python examples/package_detector.py run/best.pt detector.pt2

The package's input is [1, 3, H, W] float32, BGR in 0..255, letterboxed as `yolox_ops.yolox` takes it; H and W are those
of the training, and stand in the package as metadata. Its outputs are boxes [1, K, 4] in pixels of that input, corners,
scores [1, K], classes [1, K] and how many of the K there are [1].
"""

import argparse

import torch
from torch import Tensor, nn

from yolox_ops.yolox import YOLOX, Detections, open_model


class Detector(nn.Module):
    """Images to detections."""

    def __init__(self, model: YOLOX, score_threshold: float) -> None:
        super().__init__()
        self.model = model
        self.score_threshold = score_threshold

    def forward(self, images: Tensor) -> Detections:
        return self.model(images, score_threshold=self.score_threshold)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="best.pt of a run")
    parser.add_argument("package", help="the .pt2 file to write")
    parser.add_argument("--score-threshold", type=float, default=0.3)
    options = parser.parse_args()

    model, settings = open_model(options.checkpoint)
    images = torch.zeros(1, 3, settings.height, settings.width)
    program = torch.export.export(Detector(model, options.score_threshold), (images,))
    size = {"height": str(settings.height), "width": str(settings.width)}
    torch._inductor.aoti_compile_and_package(
        program, package_path=options.package, inductor_configs={"aot_inductor.metadata": size}
    )


if __name__ == "__main__":
    main()
