// The parts of an opcode, as {"ld", "global", "v2", "f32"}, and the families that a file of their own decodes.
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

// Each fills in an instruction; false where a part is not known.
bool decode_load(Instruction& i, const Parts& parts);
bool decode_store(Instruction& i, const Parts& parts);
bool decode_atomic(Instruction& i, const Parts& parts);

}  // namespace ptx
