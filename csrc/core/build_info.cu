// Facts of this build for yolox_ops.build_info(), which finds the text in the file without loading it.

#define TEXT_OF(...) #__VA_ARGS__
#define TEXT(...) TEXT_OF(__VA_ARGS__)

extern "C" __attribute__((visibility("default"))) const char* yolox_ops_cuda_build() {
  return "nvcc " TEXT(__CUDACC_VER_MAJOR__) "." TEXT(__CUDACC_VER_MINOR__) ", compiled for " TEXT(__CUDA_ARCH_LIST__);
}
