"""The detector's subcommands of `yolox-ops`. What they need beside torch is imported when one runs."""

import argparse
import math
from pathlib import Path

from yolox_ops._arguments import METHODS
from yolox_ops._missing import needs_extra
from yolox_ops.explanation.table import table
from yolox_ops.trainer.compare import options as compare_options
from yolox_ops.trainer.options import count, image_size, positive, printable, told, usable_device
from yolox_ops.trainer.train import options as train_options
from yolox_ops.yolox.checkpoint import Settings, open_model
from yolox_ops.yolox.model import MODELS, YOLOX

TRAIN_EXTRA = ("cv2", "matplotlib", "pycocotools", "sklearn", "tqdm")
EXPORT_EXTRA = ("onnx", "onnx_ir", "onnxruntime", "onnxscript")
COLUMNS = {
    "AP": "ap",
    "AP50": "ap50",
    "AP75": "ap75",
    "APs": "ap_small",
    "APm": "ap_medium",
    "APl": "ap_large",
    "AR100": "ar100",
}


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    train = commands.add_parser("train", help="train a model on a data set", argument_default=argparse.SUPPRESS)
    train_options.add_options(train)
    train.set_defaults(run=run_train)

    compare = commands.add_parser(
        "compare-assigners", help="train on digits with each assigner, and tell what came of it"
    )
    compare_options.add_options(compare)
    compare.set_defaults(run=run_compare)

    evaluate = commands.add_parser("eval", help="COCO's average precision of a model, with several kinds of NMS")
    _add_model(evaluate)
    evaluate.add_argument("--data", required=True, help="JSON file in COCO's format, or digits")
    evaluate.add_argument("--images", help="folder of its images (default: that of the file)")
    evaluate.add_argument("--on-bad", choices=("skip", "refuse"), default="skip", help="bad records (default: skip)")
    evaluate.add_argument("--count", type=positive, default=400, help="images of digits (default: %(default)s)")
    evaluate.add_argument("--batch", type=positive, default=8, help="images at once (default: %(default)s)")
    evaluate.add_argument("--workers", type=count, default=0, help="processes that read images (default: %(default)s)")
    evaluate.add_argument("--amp", action="store_true", help="run the model under autocast")
    evaluate.add_argument(
        "--nms", nargs="+", choices=METHODS, default=METHODS[:3], help=f"(default: {' '.join(METHODS[:3])})"
    )
    _add_nms(evaluate, score_threshold=0.01)
    evaluate.set_defaults(run=run_eval)

    predict = commands.add_parser("predict", help="draw what a model finds in images, and write it as JSON")
    _add_model(predict)
    predict.add_argument("inputs", nargs="+", metavar="INPUT", help="an image, a folder or a glob")
    predict.add_argument("--out", type=Path, default=Path("predictions"), help="folder (default: %(default)s)")
    predict.add_argument("--nms", choices=METHODS, default="hard", help="(default: %(default)s)")
    _add_nms(predict, score_threshold=0.3)
    predict.set_defaults(run=run_predict)

    export = commands.add_parser("export", help="write a model for ONNX Runtime or torch.export, and check the file")
    _add_model(export, device=False)
    export.add_argument("--format", choices=("onnx", "program"), default="onnx", help="(default: %(default)s)")
    export.add_argument("--out", type=Path, help="file (default: the checkpoint's name with .onnx or .pt2)")
    export.add_argument("--batch", type=batch_size, default=1, help='images at once, or "dynamic" (default: 1)')
    export.set_defaults(run=run_export)


def _add_model(parser: argparse.ArgumentParser, *, device: bool = True) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="of `yolox-ops train`, or Megvii's")
    parser.add_argument("--model", choices=tuple(MODELS), help="of which a file of Megvii's is")
    parser.add_argument(
        "--size", type=image_size, help="SIDE or HEIGHTxWIDTH in pixels, n x 32 (default: that of the checkpoint)"
    )
    if device:
        parser.add_argument("--device", type=usable_device, default="cpu", help="such as cuda (default: %(default)s)")


def _add_nms(parser: argparse.ArgumentParser, *, score_threshold: float) -> None:
    for name, default, text in (
        ("score-threshold", score_threshold, "detections below it are dropped"),
        ("iou-threshold", 0.65, "of hard, linear and mean_gaussian NMS"),
        ("sigma", 0.5, "of gaussian NMS"),
    ):
        parser.add_argument(f"--{name}", type=float, default=default, help=f"{text} (default: {default})")
    parser.add_argument("--class-agnostic", action="store_true", help="detections of all classes thin each other")


def batch_size(text: str) -> int | None:
    return None if text == "dynamic" else positive(text)


def opened(args: argparse.Namespace) -> tuple[YOLOX, Settings]:
    """The model, and its settings with the size that was asked for."""
    model, settings = open_model(args.checkpoint, name=args.model)
    if args.size is not None:
        settings = settings._replace(height=args.size[0], width=args.size[1])
    return model, settings


def run_train(args: argparse.Namespace) -> int:
    with needs_extra("training", "train", TRAIN_EXTRA):
        from yolox_ops.trainer.train.command import run
    return run(args)


def run_compare(args: argparse.Namespace) -> int:
    with needs_extra("the comparison", "train", TRAIN_EXTRA):
        from yolox_ops.trainer.compare.runs import run
    return run(args)


def run_eval(args: argparse.Namespace) -> int:
    with needs_extra("evaluation", "train", TRAIN_EXTRA):
        from yolox_ops.trainer.data.open import open_dataset
        from yolox_ops.trainer.evaluate import evaluate
    with told():
        model, settings = opened(args)
        dataset = open_dataset(
            args.data,
            args.images,
            split="val",
            on_bad=args.on_bad,
            class_names=settings.class_names if settings.named else None,
            height=settings.height,
            width=settings.width,
            count=args.count,
        )
        print(dataset.report)
        seconds: dict[str, float] = {}
        numbers = evaluate(
            model.to(args.device),
            dataset,
            height=settings.height,
            width=settings.width,
            batch=args.batch,
            workers=args.workers,
            amp=args.amp,
            methods=args.nms,
            score_threshold=args.score_threshold,
            iou_threshold=args.iou_threshold,
            sigma=args.sigma,
            class_agnostic=args.class_agnostic,
            progress=True,
            seconds=seconds,
        )
    print(f"{settings.model}, {settings.height} x {settings.width}, {len(dataset)} images on {args.device}\n")
    rows = [["NMS", *COLUMNS, "NMS ms/image"]]
    for method, found in numbers.items():
        values = [getattr(found, name) for name in COLUMNS.values()]
        cells = ["-" if math.isnan(value) else f"{value:.3f}" for value in values]
        rows.append([method, *cells, f"{1e3 * seconds[method] / len(dataset):.3f}"])
    print(table(rows))
    return 0


def run_predict(args: argparse.Namespace) -> int:
    with needs_extra("prediction", "train", TRAIN_EXTRA):
        from yolox_ops.trainer.predict import find_files, predict
    with told():
        files = find_files(args.inputs)
        model, settings = opened(args)
        done = predict(
            model.to(args.device),
            files,
            args.out,
            class_names=settings.class_names,
            height=settings.height,
            width=settings.width,
            method=args.nms,
            score_threshold=args.score_threshold,
            iou_threshold=args.iou_threshold,
            sigma=args.sigma,
            class_agnostic=args.class_agnostic,
            progress=True,
        )
    for words in done.refused:
        print(f"passed over: {printable(words)}")
    print(f"{done.detections} detections in {done.images} images; {len(done.refused)} files were no images")
    print(f"wrote drawings and detections.json to {args.out}")
    return 0


def run_export(args: argparse.Namespace) -> int:
    with needs_extra("the export", "export", EXPORT_EXTRA), told():
        from yolox_ops.trainer.export import export_onnx, export_program

        export, suffix = (export_onnx, ".onnx") if args.format == "onnx" else (export_program, ".pt2")
        model, settings = opened(args)
        path = args.checkpoint.with_suffix(suffix) if args.out is None else args.out
        difference = export(model, path, settings.height, settings.width, batch=args.batch)
    batch = "B" if args.batch is None else args.batch
    print(f"images [{batch}, 3, {settings.height}, {settings.width}] float32, BGR in 0..255")
    print(f"predictions [{batch}, N, {5 + len(settings.class_names)}]: cx, cy, w, h, objectness, classes; before NMS")
    print(f"the file gives what the model gives, but for {difference:.1e}")
    print(f"wrote {path}")
    return 0
