"""A detector without torch: OpenCV reads and draws, ONNX Runtime runs the model, yolox_ops.numpy selects.

    yolox-ops export run/best.pt --format onnx
    python examples/onnx_soft_nms.py run/best.onnx photo.jpg --out drawing.jpg

prints a line for each object: class, score, and the corners of its box in pixels of the picture.
"""

import argparse

import cv2
import numpy as np
import onnxruntime

from yolox_ops.numpy import soft_nms


def letterbox(image: np.ndarray, height: int, width: int) -> tuple[np.ndarray, float]:
    """The image as large as the canvas holds, at its top left on grey, and by how much it was scaled."""
    ratio = min(height / image.shape[0], width / image.shape[1])
    size = max(int(image.shape[1] * ratio), 1), max(int(image.shape[0] * ratio), 1)
    canvas = np.full((height, width, 3), 114, np.uint8)
    canvas[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return canvas, ratio


def detect(
    session: onnxruntime.InferenceSession, image: np.ndarray, score_threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners [K, 4] in pixels of the image (BGR), scores [K] and classes [K], best first."""
    height, width = session.get_inputs()[0].shape[2:]
    canvas, ratio = letterbox(image, height, width)
    images = canvas.transpose(2, 0, 1)[None].astype(np.float32)  # [1, 3, H, W], BGR in 0..255
    (predictions,) = session.run(["predictions"], {"images": images})
    boxes, objectness, classes = np.split(predictions[0], [4, 5], axis=1)  # [N, 4] cx, cy, w, h; [N, 1]; [N, C]
    labels = classes.argmax(1)
    scores = classes.max(1) * objectness[:, 0]
    kept, scores = soft_nms(boxes, scores, labels, score_threshold=score_threshold, max_detections=100, fmt="cxcywh")
    centre, half = boxes[kept, :2], boxes[kept, 2:] / 2
    corners = np.concatenate([centre - half, centre + half], 1) / ratio
    corners = corners.clip(0, [*image.shape[1::-1]] * 2)
    inside = (corners[:, :2] < corners[:, 2:]).all(1)  # not all in the grey
    return corners[inside], scores[inside], labels[kept][inside]


def draw(image: np.ndarray, corners: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A copy of the image with boxes, classes and scores."""
    drawing = image.copy()
    for (x1, y1, x2, y2), score, label in zip(corners.round().astype(int).tolist(), scores, labels, strict=True):
        cv2.rectangle(drawing, (x1, y1), (x2, y2), (0, 159, 230), 2)
        cv2.putText(
            drawing, f"{label} {score:.2f}", (x1, max(y1 - 4, 12)), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 159, 230)
        )
    return drawing


def main() -> None:
    parser = argparse.ArgumentParser(description="Objects in a picture, by an exported YOLOX.")
    parser.add_argument("model", help="a file of `yolox-ops export --format onnx`")
    parser.add_argument("image")
    parser.add_argument("--out", help="where to write the picture with its boxes")
    parser.add_argument("--score", type=float, default=0.3, help="the least score (default: %(default)s)")
    args = parser.parse_args()
    image = cv2.imread(args.image)
    if image is None:
        raise SystemExit(f"image must be one that OpenCV reads, got {args.image}")
    session = onnxruntime.InferenceSession(args.model, providers=["CPUExecutionProvider"])
    corners, scores, labels = detect(session, image, args.score)
    if not len(scores):
        print(f"no objects of score {args.score} or more")
    for box, score, label in zip(corners, scores, labels, strict=True):
        print(f"{label} {score:.4f}", *(f"{x:.2f}" for x in box))
    if args.out and not cv2.imwrite(args.out, draw(image, corners, scores, labels)):
        raise SystemExit(f"--out must be an image that can be written, got {args.out}")


if __name__ == "__main__":
    main()
