// Facts of this build for yolox_ops.build_info(), read with ctypes.

#define YOLOX_OPS_EXPORT extern "C" __attribute__((visibility("default")))

YOLOX_OPS_EXPORT const char* yolox_ops_compiler() {
#if defined(__clang__)
  return "clang " __clang_version__ ", torch ABI 2.11";
#else
  return "g++ " __VERSION__ ", torch ABI 2.11";
#endif
}

YOLOX_OPS_EXPORT const char* yolox_ops_simd_level() {
#if defined(__x86_64__) && !defined(YOLOX_OPS_ONE_LEVEL)
  // The same three levels as YOLOX_OPS_SIMD in simd.h.
  if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4 (AVX-512)";
  if (__builtin_cpu_supports("x86-64-v3")) return "x86-64-v3 (AVX2)";
#endif
  return "baseline";
}
