"""PaddleDetection's own SimOTAAssigner on scenes of a file. benchmarks/parity/presets.py starts it by the Python that
has the packages paddlepaddle and paddledet; it imports nothing of this project.

    python benchmarks/peers/paddle_assigner.py scenes.npz answers.npz
"""

import importlib
import importlib.metadata
import sys
import types

import numpy as np
import paddle

INPUTS = ("scores", "priors", "boxes", "gt_boxes", "gt_labels")


def load_assigner() -> type:
    """The class and what it uses of ppdet, without the packages around them, which import some thirty others."""
    root = importlib.metadata.distribution("paddledet").locate_file("ppdet")
    for name in ("", ".core", ".modeling", ".modeling.losses", ".modeling.assigners"):
        package = types.ModuleType(f"ppdet{name}")
        package.__path__ = [f"{root}{name.replace('.', '/')}"]
        sys.modules[f"ppdet{name}"] = package
    for name, attribute in [(".core.workspace", "register"), (".modeling.losses.varifocal_loss", "varifocal_loss")]:
        module = types.ModuleType(f"ppdet{name}")
        setattr(module, attribute, lambda thing: thing)
        sys.modules[f"ppdet{name}"] = module
    return importlib.import_module("ppdet.modeling.assigners.simota_assigner").SimOTAAssigner


def main(scenes: str, answers: str) -> None:
    """Writes matched{i} [N], the ground truth of every anchor of scene i, -1 for background."""
    paddle.set_device("cpu")
    given, found = np.load(scenes), {}

    class Keeping(load_assigner()):
        def get_sample(self, assign_gt_inds, gt_bboxes):
            self.assigned = assign_gt_inds
            return super().get_sample(assign_gt_inds, gt_bboxes)

    for i in range(int(given["count"])):
        inputs = [paddle.to_tensor(given[f"{name}{i}"]) for name in INPUTS]
        assigner = Keeping(num_classes=inputs[0].shape[1], use_vfl=False)
        assigner(*inputs)
        found[f"matched{i}"] = assigner.assigned - 1
    np.savez(answers, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
