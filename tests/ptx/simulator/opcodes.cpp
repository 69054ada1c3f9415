#include "opcodes.h"

#include <sstream>

#include "arithmetic.h"
#include "decode.h"
#include "exchange.h"

namespace ptx {
namespace {

using Decode = bool (*)(Instruction&, const Parts&);

void do_nothing(Warp&, const Instruction&, uint32_t) {}

bool decode_branch(Instruction& i, const Parts&) {
  i.flow = Flow::kBranch;
  i.execute = do_nothing;
  return i.target >= 0;
}

bool decode_exit(Instruction& i, const Parts&) {
  i.flow = Flow::kExit;
  i.execute = do_nothing;
  return true;
}

bool decode_fence(Instruction& i, const Parts&) {
  i.execute = do_nothing;
  return true;
}

// Families whose operation is parts[2], as shfl.sync.bfly.b32; lanes wait for those that their mask names.
template <class T, Execute execute>
bool decode_exchange(Instruction& i, const Parts& parts, const std::map<std::string, T>& variants, const Parts& types) {
  T variant;
  if (parts.size() != 4 || parts[1] != "sync" || !find_part({parts[2]}, variants, variant)) return false;
  i.variant = static_cast<uint8_t>(variant);
  i.access.is_signed = parts[3] == "s32";
  i.flow = Flow::kMeetLanes;
  i.execute = execute;
  return has(types, parts[3]);
}

bool decode_shuffle(Instruction& i, const Parts& parts) {
  static const std::map<std::string, Shuffle> kinds = {
      {"up", Shuffle::kUp}, {"down", Shuffle::kDown}, {"bfly", Shuffle::kButterfly}, {"idx", Shuffle::kIndex}};
  return decode_exchange<Shuffle, shuffle>(i, parts, kinds, {"b32"});
}

bool decode_vote(Instruction& i, const Parts& parts) {
  static const std::map<std::string, Vote> kinds = {
      {"ballot", Vote::kBallot}, {"any", Vote::kAny}, {"all", Vote::kAll}, {"uni", Vote::kUniform}};
  return decode_exchange<Vote, vote>(i, parts, kinds, {"b32", "pred"});
}

bool decode_reduction(Instruction& i, const Parts& parts) {
  static const std::map<std::string, Reduction> kinds = {{"add", Reduction::kAdd}, {"min", Reduction::kMin},
                                                         {"max", Reduction::kMax}, {"and", Reduction::kAnd},
                                                         {"or", Reduction::kOr},   {"xor", Reduction::kXor}};
  return decode_exchange<Reduction, reduce_lanes>(i, parts, kinds, {"s32", "u32", "b32"});
}

bool decode_active(Instruction& i, const Parts&) {
  i.execute = name_active_lanes;
  return true;
}

// That of the whole block: one for a count of its threads is not modelled.
bool decode_barrier(Instruction& i, const Parts& parts) {
  static const std::map<std::string, BarrierReduction> kinds = {
      {"popc", BarrierReduction::kCount}, {"or", BarrierReduction::kOr}, {"and", BarrierReduction::kAnd}};
  i.execute = do_nothing;
  if (parts.size() > 1 && parts[1] == "warp") {
    i.flow = Flow::kMeetLanes;
    i.execute = synchronize_lanes;
    return has(parts, "sync");
  }
  i.flow = Flow::kMeetBlock;
  auto kind = BarrierReduction::kNone;
  find_part(parts, kinds, kind);
  i.variant = static_cast<uint8_t>(kind);
  if (kind == BarrierReduction::kNone) return has(parts, "sync") && i.source_count == 1;
  return has(parts, "red") && i.source_count == 2;
}

bool decode_matrix(Instruction& i, const Parts& parts) {
  static const std::map<std::string, uint8_t> counts = {{"x1", 1}, {"x2", 2}, {"x4", 4}};
  i.execute = parts[0] == "ldmatrix" ? load_matrices : store_matrices;
  i.flow = Flow::kMeetLanes;
  i.whole_warp = true;
  i.access.space = Space::kShared;
  i.access.bytes = 2;
  i.variant = has(parts, "trans") ? 1 : 0;
  return has(parts, "m8n8") && has(parts, "b16") && find_part(parts, counts, i.access.count);
}

// The table has setp without what joins it, as setp.lt.and.s32.
bool decode_comparison(Instruction& i, const Parts& parts) {
  static const std::map<std::string, Join> joins = {{"and", Join::kAnd}, {"or", Join::kOr}, {"xor", Join::kXor}};
  auto kind = Join::kNone;
  std::string opcode = parts[0];
  for (size_t k = 1; k < parts.size(); ++k) {
    if (!find_part({parts[k]}, joins, kind)) opcode += "." + parts[k];
  }
  i.variant = static_cast<uint8_t>(kind);
  i.execute = find_arithmetic(opcode);
  return i.execute != nullptr && (kind == Join::kNone) == (i.source_count == 2);
}

bool decode_move(Instruction& i, const Parts& parts) {
  if (i.result_count == 1 && i.source_count == 1) return (i.execute = find_arithmetic(i.opcode)) != nullptr;
  static const std::map<std::string, uint8_t> widths = {{"b16", 2}, {"b32", 4}, {"b64", 8}};
  i.execute = i.result_count > 1 ? unpack : pack;
  return find_part({parts.back()}, widths, i.variant);
}

}  // namespace

Execute find_arithmetic(const std::string& opcode) {
  static const Table table = [] {
    Table made;
    add_integers(made);
    add_floats(made);
    add_bits(made);
    add_comparisons(made);
    add_moves(made);
    add_conversions(made);
    return made;
  }();
  const auto found = table.find(opcode);
  return found == table.end() ? nullptr : found->second;
}

bool decode_opcode(Instruction& i) {
  static const std::map<std::string, Decode> families = {
      {"bra", decode_branch},        {"ret", decode_exit},     {"exit", decode_exit},       {"membar", decode_fence},
      {"fence", decode_fence},       {"ld", decode_load},      {"st", decode_store},        {"atom", decode_atomic},
      {"red", decode_atomic},        {"shfl", decode_shuffle}, {"vote", decode_vote},       {"redux", decode_reduction},
      {"activemask", decode_active}, {"bar", decode_barrier},  {"barrier", decode_barrier}, {"ldmatrix", decode_matrix},
      {"stmatrix", decode_matrix},   {"mov", decode_move},     {"setp", decode_comparison},
  };
  Parts parts;
  std::istringstream in(i.opcode);
  for (std::string part; std::getline(in, part, '.');) parts.push_back(part);
  if (const auto family = families.find(parts[0]); family != families.end()) return family->second(i, parts);
  i.execute = find_arithmetic(i.opcode);
  return i.execute != nullptr;
}

}  // namespace ptx
