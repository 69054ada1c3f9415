// Compiles a plain loop into vector code of several widths, of which the widest that runs is chosen at load time.
#pragma once

// A function so marked is compiled once per level and chosen when the library is loaded; the arithmetic of an element
// is the same at every level, and so are the bits of the result. Whatever it calls must be inlined into it
// (YOLOX_OPS_INLINE), and templates cannot carry the mark, so YOLOX_OPS_SIMD_LOOP gives them a plain function.
#if defined(__x86_64__) && !defined(YOLOX_OPS_ONE_LEVEL)
#define YOLOX_OPS_SIMD __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define YOLOX_OPS_SIMD
#endif

// Stands after a template `loop`, marked YOLOX_OPS_INLINE, and defines simd_<loop> for float and for double, compiled
// so. `parameters` are written with T, `arguments` are what the loop is called with:
//
//   YOLOX_OPS_SIMD_LOOP(void, halve, (int64_t n, T* values), (n, values));
#define YOLOX_OPS_SIMD_LOOP(result, loop, parameters, arguments)                           \
  namespace of_float {                                                                     \
  using T = float;                                                                         \
  [[maybe_unused]] YOLOX_OPS_SIMD result simd_##loop parameters { return loop arguments; } \
  }                                                                                        \
  namespace of_double {                                                                    \
  using T = double;                                                                        \
  [[maybe_unused]] YOLOX_OPS_SIMD result simd_##loop parameters { return loop arguments; } \
  }                                                                                        \
  using of_float::simd_##loop;                                                             \
  using of_double::simd_##loop
