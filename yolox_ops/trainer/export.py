"""A model as a file that runs without this package: in ONNX's format, or as a program of torch.export."""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yolox_ops._arguments import check_count
from yolox_ops._check import check_eval
from yolox_ops._files import written_whole
from yolox_ops.yolox.model import YOLOX

TOLERANCE = 1e-3  # of a value, or of 1 for smaller ones: float32 in another order of sums, and no more


def export_onnx(model: YOLOX, path: Path, height: int, width: int, *, batch: int | None = 1) -> float:
    """Writes model.decode as an ONNX file, once ONNX Runtime has given from it what the model gives.

    Its input "images" is [B, 3, H, W] of the model's dtype, BGR in 0..255; its output "predictions" [B, N, 5 + C]: cx,
    cy, w, h in pixels, objectness, the classes' probabilities. NMS is not in it.

    ONNX Runtime's import writes the id of a device into ~/.cache/Microsoft, for its maker. So this sets
    ORT_DISABLE_TELEMETRY=1 in the environment of the process, unless that variable is set.

    Args:
        model: in eval mode, on the CPU.
        path: the file. What is there is replaced, if all goes well.
        height, width: H and W, multiples of 32.
        batch: B; None: any, decided at run time.

    Returns:
        The largest difference that was seen between the two, relative for values above 1.

    Raises:
        ValueError: the model is in training mode, batch is below 1, or what model.raw raises. TypeError: batch is no
            integer. OSError: the file cannot be written. RuntimeError: the file does not give what the model gives.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime  # the other format does without

    decoder = _Decoder(model)
    cases = _cases(decoder, height, width, batch)
    with written_whole(path) as temporary, _quiet():
        program = torch.onnx.export(
            decoder,
            (cases[0][0],),
            input_names=["images"],
            output_names=["predictions"],
            dynamic_shapes=_dynamic_shapes(batch),
            dynamo=True,
            verbose=False,
        )
        assert program is not None  # as it would be with dynamo=False
        program.save(temporary, external_data=False)
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        return _compare(lambda x: torch.from_numpy(session.run(None, {"images": x.numpy()})[0]), cases)


def export_program(model: YOLOX, path: Path, height: int, width: int, *, batch: int | None = 1) -> float:
    """Writes model.decode as a program for torch.export.load, once that has given from it what the model gives.

    Its argument and its result are those of export_onnx, and so is all else but that path must end in .pt2.
    """
    if path.suffix != ".pt2":
        raise ValueError(f"path must end in .pt2, got {path}")
    decoder = _Decoder(model)
    cases = _cases(decoder, height, width, batch)
    with written_whole(path) as temporary, _quiet():
        program = torch.export.export(decoder, (cases[0][0],), dynamic_shapes=_dynamic_shapes(batch))
        torch.export.save(program, temporary)
        return _compare(torch.export.load(temporary).module(), cases)


class _Decoder(nn.Module):
    """`decode` for what exports a module's forward."""

    def __init__(self, model: YOLOX) -> None:
        super().__init__()
        check_eval("model", model)
        self.model = model
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.model.decode(images)


@torch.no_grad()
def _cases(decoder: _Decoder, height: int, width: int, batch: int | None) -> list[tuple[Tensor, Tensor]]:
    """Images and what the model gives for them: noise, pictures of a rectangle, and for any batch one image and three.
    The first are two or more then, for the exporters take 1 for a constant."""
    if batch is not None:
        check_count("batch", batch, 1)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(batch or 2, 3, height, width, generator=generator, device="cpu") * 255
    pictures = torch.full_like(noise, 114)
    pictures[:, :, height // 4 : height // 2, width // 8 : width // 2] = noise[:, :, :1, :1]
    images = [noise, pictures] if batch else [noise, pictures, noise[:1], torch.cat([noise[:1], pictures])]
    dtype = next(decoder.parameters()).dtype
    return [(x, decoder(x)) for x in (x.to(dtype) for x in images)]


def _compare(exported: Callable[[Tensor], Tensor], cases: list[tuple[Tensor, Tensor]]) -> float:
    worst = 0.0
    for images, expected in cases:
        with torch.no_grad():
            difference = ((exported(images) - expected).abs() / expected.abs().clamp(min=1)).max().item()
        if not difference <= TOLERANCE:  # NaN is too much as well
            rule = f"the exported file must give what the model gives, within {TOLERANCE}"
            raise RuntimeError(f"{rule}, got a difference of {difference} on images {list(images.shape)}")
        worst = max(worst, difference)
    return worst


def _dynamic_shapes(batch: int | None) -> Any:
    return None if batch is not None else ({0: torch.export.Dim("batch")},)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says of itself on the way: a name it deprecates and uses, and operators of a torchvision that
    no model here calls."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")

    def unless_torchvision(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("torchvision is not installed")

    registration.addFilter(unless_torchvision)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        registration.removeFilter(unless_torchvision)
