// Opcodes that touch memory.
#include "access.h"
#include "opcodes.h"

namespace ptx {
namespace {

bool decode_access(Instruction& i, const Parts& parts) {
  static const std::map<std::string, Space> spaces = {
      {"global", Space::kGlobal}, {"shared", Space::kShared},   {"shared::cta", Space::kShared},
      {"local", Space::kLocal},   {"param", Space::kParameter},
  };
  static const std::map<std::string, uint8_t> counts = {{"v2", 2}, {"v4", 4}, {"v8", 8}};
  // What they add does not change what is read: hints for caches, scopes, and memory that nobody writes.
  static const Parts others = {"nc",
                               "gpu",
                               "cta",
                               "sys",
                               "L1::evict_last",
                               "L1::evict_first",
                               "L1::no_allocate",
                               "L2::128B",
                               "b8",
                               "u8",
                               "s8",
                               "b16",
                               "u16",
                               "s16",
                               "b32",
                               "u32",
                               "s32",
                               "f32",
                               "b64",
                               "u64",
                               "s64",
                               "f64"};
  static const Parts strong = {"volatile", "relaxed", "acquire", "release"};
  for (size_t k = 1; k < parts.size(); ++k) {
    if (!spaces.contains(parts[k]) && !counts.contains(parts[k]) && !has(others, parts[k]) && !has(strong, parts[k])) {
      return false;
    }
  }
  const std::string& type = parts.back();
  find_part(parts, spaces, i.access.space);
  find_part(parts, counts, i.access.count);
  i.access.bytes = static_cast<uint8_t>(std::stoi(type.substr(1)) / 8);
  i.access.is_signed = type[0] == 's';
  i.access.is_strong = std::ranges::any_of(strong, [&](const std::string& part) { return has(parts, part); });
  return true;
}

}  // namespace

bool decode_load(Instruction& i, const Parts& parts) {
  if (!decode_access(i, parts) || i.result_count != i.access.count) return false;
  i.execute = i.access.space == Space::kParameter ? load_parameter : load;
  return true;
}

bool decode_store(Instruction& i, const Parts& parts) {
  i.execute = store;
  return decode_access(i, parts) && i.access.space != Space::kParameter && i.source_count == 1 + i.access.count;
}

// As atom.global.gpu.acq_rel.add.u32: where the scope and the order stand does not matter.
bool decode_atomic(Instruction& i, const Parts& parts) {
  Parts access = {parts[0], parts.back()};
  std::string operation;
  for (size_t k = 1; k + 1 < parts.size(); ++k) {
    if (find_atomic(parts[k], parts.back()) != nullptr) {
      operation = parts[k];
    } else if (parts[k] != "acq_rel") {
      access.insert(access.begin() + 1, parts[k]);
    }
  }
  i.execute = find_atomic(operation, parts.back());
  i.access.is_atomic = true;
  return i.execute != nullptr && decode_access(i, access) && i.access.count == 1;
}

}  // namespace ptx
