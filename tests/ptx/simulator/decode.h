// The text of encode.py as a kernel.
#pragma once

#include <string>

#include "instruction.h"

namespace ptx {

// Throws where an instruction is not known, and names it.
Kernel decode_kernel(const std::string& text);
// Fills in all that the opcode says; false where it is not known.
bool decode_opcode(Instruction& i);

}  // namespace ptx
