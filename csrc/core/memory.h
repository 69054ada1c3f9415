// Asks for huge pages for large outputs.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace yolox_ops {

// Fresh memory costs a page fault per 4 KiB, more than the arithmetic that fills it; huge pages divide that by 512.
// Only advice: where the kernel declines, nothing changes. It loses in a virtual machine whose host takes free memory
// back (free page reporting) and must find 2 MiB anew for each: then a huge page takes milliseconds, not 0.16.
inline void prefer_huge_pages(void* data, size_t bytes) {
  constexpr uintptr_t kHuge = uintptr_t{1} << 21;
  const auto begin = reinterpret_cast<uintptr_t>(data);
  const uintptr_t end = begin + bytes;
  const uintptr_t first = (begin + kHuge - 1) / kHuge * kHuge, last = end / kHuge * kHuge;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
}

template <class Tensor>
void prefer_huge_pages(const Tensor& t) {
  prefer_huge_pages(t.data_ptr(), t.numel() * t.element_size());
}

}  // namespace yolox_ops
