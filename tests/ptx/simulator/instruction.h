// A kernel as the simulator executes it: decoded instructions and the memory that they ask for.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace ptx {

constexpr int kLanes = 32;
constexpr uint32_t kAllLanes = 0xffffffffu;

class Warp;
struct Instruction;
using Execute = void (*)(Warp&, const Instruction&, uint32_t lanes);

// How lanes go on behind an instruction: to the next, elsewhere, nowhere, or when others have come.
enum class Flow : uint8_t { kNext, kBranch, kExit, kMeetLanes, kMeetBlock };

enum class Space : uint8_t { kGeneric, kGlobal, kShared, kLocal, kParameter };

// Memory that an instruction touches: `count` values of `bytes` side by side.
struct Access {
  Space space = Space::kGeneric;
  uint8_t bytes = 0, count = 1;
  bool is_signed = false;
  bool is_strong = false;  // volatile or relaxed: it may meet others of its kind, and atomics, unordered
  bool is_atomic = false;
  uint8_t total() const { return bytes * count; }
};

struct Source {
  int32_t row = 0;  // of the registers; below 0, ~row of the constants
  bool negated = false;
};

struct Instruction {
  int line = 0;
  std::string opcode;
  Execute execute = nullptr;
  Flow flow = Flow::kNext;
  bool guarded = false;
  Source guard;             // lanes where it is false take no part
  bool whole_warp = false;  // it waits for all lanes; others of kMeetLanes for those of their mask, the last source
  int target = -1;          // of a branch
  int64_t offset = 0;       // beside an address
  int result_count = 0, source_count = 0;
  std::array<int32_t, 8> results{};  // -1: thrown away
  std::array<Source, 9> sources{};   // of a store: the address, and up to 8 values
  Access access;
  uint8_t variant = 0;  // which of its family; the family's file names them
};

struct Parameter {
  uint32_t offset, bytes;
};

// A row that is set before the first instruction, as %tid.x is.
struct Special {
  enum class Kind : uint8_t { kTid, kNtid, kCtaid, kNctaid, kLaneId, kWarpId };
  Kind kind;
  int axis, row;
};

struct Kernel {
  std::string name;
  int registers = 0;
  uint32_t shared_bytes = 0, local_bytes = 0, parameter_bytes = 0;
  std::vector<Parameter> parameters;
  std::vector<Special> specials;
  std::vector<uint64_t> constants;  // each in all lanes
  std::vector<Instruction> code;
};

}  // namespace ptx
