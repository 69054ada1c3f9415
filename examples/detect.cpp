// Objects in a picture, found by a package of examples/package_detector.py, without Python:
//
//   T=$(python -c "import torch; print(torch.__path__[0])")
//   g++ -std=c++20 -I$T/include examples/detect.cpp -o detect -L$T/lib -Wl,-rpath,$T/lib -ltorch -ltorch_cpu -lc10
//   ./detect yolox_ops/_C.so detector.pt2 photo.ppm
//
// prints a line for each object: class, score, and the corners of its box in pixels of the picture.

#include <ATen/ATen.h>
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>

// [1, 3, H, W] float32, BGR in 0..255, of a binary PPM file.
at::Tensor read_ppm(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  int64_t width = 0, height = 0, most = 0;
  file >> magic >> width >> height >> most;
  TORCH_CHECK(magic == "P6" && width > 0 && height > 0 && most == 255, path, " must be a binary PPM of 8 bits");
  at::Tensor pixels = at::empty({1, height, width, 3}, at::kByte);
  file.ignore(1).read(static_cast<char*>(pixels.data_ptr()), pixels.numel());
  TORCH_CHECK(file, path, " must hold ", width, " x ", height, " pixels, but it ends before");
  return pixels.permute({0, 3, 1, 2}).flip(1).to(at::kFloat);
}

int main(int argc, char** argv) {
  TORCH_CHECK(argc == 4, "usage: detect _C.so detector.pt2 picture.ppm");
  TORCH_CHECK(dlopen(argv[1], RTLD_NOW), dlerror());  // brings the ops
  torch::inductor::AOTIModelPackageLoader detector(argv[2]);
  const auto metadata = detector.get_metadata();
  const int64_t height = std::stoll(metadata.at("height")), width = std::stoll(metadata.at("width"));

  // As large as the canvas holds, at its top left on grey.
  const at::Tensor picture = read_ppm(argv[3]);
  const double ratio = std::min(double(height) / picture.size(2), double(width) / picture.size(3));
  const int64_t h = std::max<int64_t>(picture.size(2) * ratio, 1), w = std::max<int64_t>(picture.size(3) * ratio, 1);
  at::Tensor canvas = at::full({1, 3, height, width}, 114.0f);
  canvas.narrow(2, 0, h).narrow(3, 0, w).copy_(at::upsample_bilinear2d(picture, {h, w}, false));

  const std::vector<at::Tensor> found = detector.run({canvas});
  const at::Tensor boxes = found[0][0] / ratio, scores = found[1][0], labels = found[2][0];
  for (int64_t k = 0; k < found[3][0].item<int64_t>(); ++k) {
    const float* box = boxes[k].const_data_ptr<float>();
    std::printf("%ld %.4f %.2f %.2f %.2f %.2f\n", labels[k].item<int64_t>(), scores[k].item<float>(), box[0], box[1],
                box[2], box[3]);
  }
}
