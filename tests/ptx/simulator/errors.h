// What a launch fails with: the kernel, the line of the PTX text, the instruction and the fact.
#pragma once

#include <stdexcept>
#include <string>

#include "instruction.h"

namespace ptx {

struct Error : std::runtime_error {
  Error(const std::string& kernel, const Instruction& i, const std::string& fact)
      : std::runtime_error(kernel + ": line " + std::to_string(i.line) + ", " + i.opcode + ": " + fact) {}
};

}  // namespace ptx
