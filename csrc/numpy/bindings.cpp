// yolox_ops._numpy: the CPU kernels on NumPy's arrays, for yolox_ops/numpy.py, without torch. An argument is read where
// it lies; one of another dtype or order is a TypeError, one at an odd address a ValueError, so conversions are the
// caller's.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <tuple>

#include "boxes/formats.h"
#include "boxes/pairwise_iou.h"
#include "nms/soft_nms.h"
#include "numpy/threads.h"

namespace py = pybind11;

namespace yolox_ops {
namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style>;

// `shape` is how the docstring writes it; a negative size fits any.
void check_shape(const py::array& array, const char* name, const char* shape, std::initializer_list<int64_t> sizes) {
  bool fits = array.ndim() == static_cast<int64_t>(sizes.size());
  const int64_t* size = sizes.begin();
  for (int64_t i = 0; fits && i < array.ndim(); ++i) fits = size[i] < 0 || array.shape(i) == size[i];
  check(fits, name, " must be ", shape, ", got ", py::str(py::list(array.attr("shape"))).cast<std::string>());
  // pybind11 asks for dtype and order only.
  const bool aligned = (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
  check(aligned, name, " must lie at an address that its dtype allows, got a misaligned array");
}

template <class T>
Array<T> pairwise_iou(const Array<T>& boxes1,  // [B, M, 4]
                      const Array<T>& boxes2,  // [B, N, 4]
                      const std::string& fmt, const std::string& kind) {
  check_shape(boxes1, "boxes1", "[B, M, 4]", {-1, -1, 4});
  check_shape(boxes2, "boxes2", "[B, N, 4]", {boxes1.shape(0), -1, 4});
  const Format format = parse_format(fmt);
  const Kind measure = parse_kind(kind);
  const int64_t B = boxes1.shape(0), M = boxes1.shape(1), N = boxes2.shape(1);
  Array<T> out({B, M, N});
  if (out.size() == 0) return out;
  const T *p1 = boxes1.data(), *p2 = boxes2.data();
  T* result = out.mutable_data();
  const CallThreads threads(allowed_threads());
  const py::gil_scoped_release others_run;
  pairwise_matrix(threads, p1, p2, B, M, N, format, measure, result);
  return out;
}

template <class T>
std::tuple<Array<int64_t>, Array<T>, Array<int64_t>> soft_nms(const Array<T>& boxes,                        // [B, N, 4]
                                                              const Array<T>& scores,                       // [B, N]
                                                              const std::optional<Array<int64_t>>& labels,  // [B, N]
                                                              const std::string& method, double sigma,
                                                              double iou_threshold, double score_threshold,
                                                              int64_t max_detections, const std::string& fmt,
                                                              bool inclusive) {
  const NmsOptions options(fmt, method, sigma, iou_threshold, score_threshold, max_detections, inclusive);
  check_shape(boxes, "boxes", "[B, N, 4]", {-1, -1, 4});
  const int64_t B = boxes.shape(0), N = boxes.shape(1), K = options.most(N);
  check_shape(scores, "scores", "[B, N]", {B, N});
  if (labels) check_shape(*labels, "labels", "[B, N]", {B, N});
  Array<int64_t> indices({B, K}), counts(B);
  Array<T> decayed({B, K});
  if (B > 0) {
    const NmsArrays<T> arrays{B,
                              N,
                              K,
                              boxes.data(),
                              scores.data(),
                              labels ? labels->data() : nullptr,
                              indices.mutable_data(),
                              decayed.mutable_data(),
                              counts.mutable_data()};
    const CallThreads threads(allowed_threads());
    const py::gil_scoped_release others_run;
    run_soft_nms(threads, arrays, options);
  }
  return {indices, decayed, counts};
}

template <class T>
void bind(py::module_& m) {
  m.def("pairwise_iou", &pairwise_iou<T>, py::arg("boxes1").noconvert(), py::arg("boxes2").noconvert(), py::arg("fmt"),
        py::arg("kind"));
  m.def("soft_nms", &soft_nms<T>, py::arg("boxes").noconvert(), py::arg("scores").noconvert(),
        py::arg("labels").noconvert().none(true), py::arg("method"), py::arg("sigma"), py::arg("iou_threshold"),
        py::arg("score_threshold"), py::arg("max_detections"), py::arg("fmt"), py::arg("inclusive") = false);
}

}  // namespace
}  // namespace yolox_ops

PYBIND11_MODULE(_numpy, m) {
  yolox_ops::bind<float>(m);
  yolox_ops::bind<double>(m);
  m.def("allowed_threads", &yolox_ops::allowed_threads);
}
