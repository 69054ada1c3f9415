// What lets the compiler turn a plain loop into vector code, and choose the widest at load time.
#pragma once

// A function so marked is compiled once per level and chosen when the library is loaded; the arithmetic of an element
// is the same at every level, and so are the bits of the result. Whatever it calls must be inlined into it
// (YOLOX_OPS_INLINE), and templates cannot carry the mark: give them a plain function to live in.
#if defined(__x86_64__) && !defined(YOLOX_OPS_ONE_LEVEL)
#define YOLOX_OPS_SIMD __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define YOLOX_OPS_SIMD
#endif
