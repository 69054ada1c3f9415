// The parts of an opcode, as {"ld", "global", "v2", "f32"}. opcodes.cpp says what each family means, but for memory's,
// which are in access_opcodes.cpp.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "instruction.h"

namespace ptx {

using Parts = std::vector<std::string>;
inline bool has(const Parts& parts, const std::string& part) { return std::ranges::find(parts, part) != parts.end(); }

// The value of the first part that is a key; false where there is none.
template <class T>
bool find_part(const Parts& parts, const std::map<std::string, T>& values, T& found) {
  for (const std::string& part : parts) {
    if (const auto at = values.find(part); at != values.end()) {
      found = at->second;
      return true;
    }
  }
  return false;
}

// Fill in an instruction; false where a part is not known.
bool decode_load(Instruction& i, const Parts& parts);
bool decode_store(Instruction& i, const Parts& parts);
bool decode_atomic(Instruction& i, const Parts& parts);

}  // namespace ptx
