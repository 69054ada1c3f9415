#include "decode.h"

#include <algorithm>
#include <map>
#include <sstream>

#include "errors.h"

namespace ptx {
namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> words;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, at);) words.push_back(word);
  return words;
}

Source parse_source(const std::string& word) {
  if (word[0] == '!') return {std::stoi(word.substr(2)), true};
  const int index = std::stoi(word.substr(1));
  return {word[0] == 'c' ? ~index : index, false};
}

Special parse_special(const std::string& name, int row) {
  static const std::map<std::string, Special::Kind> kinds = {
      {"tid", Special::Kind::kTid},       {"ntid", Special::Kind::kNtid},     {"ctaid", Special::Kind::kCtaid},
      {"nctaid", Special::Kind::kNctaid}, {"laneid", Special::Kind::kLaneId}, {"warpid", Special::Kind::kWarpId},
  };
  const size_t dot = name.find('.');
  return {kinds.at(name.substr(0, dot)), dot == std::string::npos ? 0 : name.back() - 'x', row};
}

Error not_known(const std::string& kernel, const Instruction& i) {
  return {kernel, i, "an instruction that the simulator does not know"};
}

// The words of a list with commas; "-" is an empty one.
std::vector<std::string> parse_list(const std::string& text) {
  return text == "-" ? std::vector<std::string>() : split(text, ',');
}

Instruction parse_instruction(const std::string& kernel, std::istringstream& in) {
  Instruction i;
  std::string guard, results, sources;
  in >> i.line >> i.opcode >> guard >> i.target >> i.offset >> results >> sources;
  i.guarded = guard != "-";
  if (i.guarded) i.guard = parse_source(guard);
  const std::vector<std::string> written = parse_list(results), read = parse_list(sources);
  if (written.size() > i.results.size() || read.size() > i.sources.size()) throw not_known(kernel, i);
  for (const std::string& word : written) i.results[i.result_count++] = word == "_" ? -1 : parse_source(word).row;
  for (const std::string& word : read) i.sources[i.source_count++] = parse_source(word);
  return i;
}

// PTX may negate any predicate that is read, but compilers negate guards, and those of these families.
bool may_negate_sources(const Instruction& i) {
  const std::string family = i.opcode.substr(0, i.opcode.find('.'));
  return family == "setp" || family == "vote" || family == "bar" || family == "barrier";
}

void decode_or_throw(const std::string& kernel, Instruction& i) {
  if (!decode_opcode(i)) throw not_known(kernel, i);
  const auto is_negated = [](const Source& source) { return source.negated; };
  if (std::ranges::any_of(i.sources, is_negated) && !may_negate_sources(i)) {
    throw Error(kernel, i, "reads a negated predicate, which the simulator does not know of this instruction");
  }
}

}  // namespace

Kernel decode_kernel(const std::string& text) {
  Kernel kernel;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream in(line);
    std::string item;
    in >> item;
    if (item == "kernel") {
      in >> kernel.name;
    } else if (item == "registers") {
      in >> kernel.registers;
    } else if (item == "memory") {
      in >> kernel.shared_bytes >> kernel.local_bytes;
    } else if (item == "parameter") {
      Parameter parameter;
      in >> parameter.offset >> parameter.bytes;
      kernel.parameters.push_back(parameter);
      kernel.parameter_bytes = parameter.offset + parameter.bytes;
    } else if (item == "special") {
      std::string name;
      int row;
      in >> name >> row;
      kernel.specials.push_back(parse_special(name, row));
    } else if (item == "constant") {
      uint64_t bits;
      in >> bits;
      kernel.constants.push_back(bits);
    } else if (item == "i") {
      Instruction i = parse_instruction(kernel.name, in);
      decode_or_throw(kernel.name, i);
      kernel.code.push_back(i);
    }
  }
  return kernel;
}

}  // namespace ptx
