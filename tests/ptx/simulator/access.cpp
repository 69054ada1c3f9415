#include "access.h"

#include <cstring>
#include <sstream>

#include "block.h"
#include "lanes.h"

namespace ptx {
namespace {

std::string hex(uint64_t value) {
  std::ostringstream text;
  text << "0x" << std::hex << value;
  return text.str();
}

const char* name_of(Space space) {
  return space == Space::kShared ? "shared memory" : space == Space::kLocal ? "local memory" : "global memory";
}

// The space and the offset in it that an address of an instruction means.
Located resolve(const Instruction& i, uint64_t address) {
  switch (i.access.space) {
    case Space::kShared:
      return {nullptr, Space::kShared, address & 0xffffffff};
    case Space::kLocal:
      return {nullptr, Space::kLocal, address};
    case Space::kGeneric:
      if (address >= kLocalWindow) return {nullptr, Space::kLocal, address - kLocalWindow};
      if (address >= kSharedWindow) return {nullptr, Space::kShared, address - kSharedWindow};
      [[fallthrough]];
    default:
      return {nullptr, Space::kGlobal, address};
  }
}

OwnMemory& own_memory(Warp& warp, int lane, Space space) {
  return space == Space::kShared ? warp.block().shared() : warp.block().local(warp.thread(lane));
}

}  // namespace

Located locate(Warp& warp, const Instruction& i, int lane, uint64_t address, int bytes) {
  Located place = resolve(i, address);
  warp.addresses[lane] = place.offset;
  const auto fail = [&](const char* fact) {
    warp.block().fail(warp, lane,
                      std::string(fact) + ": " + std::to_string(bytes) + " bytes at " + hex(place.offset) + " of " +
                          name_of(place.space));
  };
  if (place.offset % bytes != 0) fail("accesses memory that is not aligned");
  if (place.space == Space::kGlobal) {
    if (!warp.block().launch().memory->holds(address, bytes)) fail("accesses memory that no tensor has");
    place.bytes = reinterpret_cast<uint8_t*>(address);
  } else {
    OwnMemory& memory = own_memory(warp, lane, place.space);
    if (!memory.holds(place.offset, bytes)) fail("accesses memory out of bounds");
    place.bytes = memory.at(place.offset);
  }
  return place;
}

void check_order(Warp& warp, int lane, const Located& place, int bytes, Touch touch, bool is_strong) {
  Races* races = warp.block().launch().races;
  if (races == nullptr || place.space == Space::kLocal) return;
  const bool is_shared = place.space == Space::kShared;
  races->note(warp, lane, is_shared, place.offset, bytes, touch, is_strong);
}

void check_written(Warp& warp, int lane, const Located& place, int bytes) {
  bool is_written = true;
  if (place.space != Space::kGlobal) {
    is_written = own_memory(warp, lane, place.space).is_written(place.offset, bytes);
  } else if (bytes == 8) {
    is_written = load_value(place.bytes, 8, false) != kUnwritten;
  } else if (bytes == 4) {
    is_written =
        load_value(place.bytes, 4, false) != (place.offset % 8 == 0 ? kUnwritten & 0xffffffff : kUnwritten >> 32);
  }
  if (!is_written) {
    warp.block().fail(warp, lane,
                      "reads what nobody wrote: " + std::to_string(bytes) + " bytes at " + hex(place.offset) + " of " +
                          name_of(place.space));
  }
}

void note_written(Warp& warp, int lane, const Located& place, int bytes) {
  if (place.space != Space::kGlobal) own_memory(warp, lane, place.space).note_written(place.offset, bytes);
}

void write(Warp& warp, int lane, const Located& place, const uint8_t* values, int bytes, bool is_strong) {
  const bool is_same = std::memcmp(place.bytes, values, bytes) == 0;
  check_order(warp, lane, place, bytes, is_same ? Touch::kWriteSame : Touch::kWrite, is_strong);
  std::memcpy(place.bytes, values, bytes);
  note_written(warp, lane, place, bytes);
}

uint64_t load_value(const uint8_t* bytes, int count, bool is_signed) {
  uint64_t value = 0;
  switch (count) {
    case 1:
      std::memcpy(&value, bytes, 1);
      break;
    case 2:
      std::memcpy(&value, bytes, 2);
      break;
    case 4:
      std::memcpy(&value, bytes, 4);
      break;
    default:
      std::memcpy(&value, bytes, 8);
  }
  const int unused = 64 - 8 * count;
  return is_signed ? static_cast<uint64_t>(static_cast<int64_t>(value << unused) >> unused) : value;
}

void load(Warp& warp, const Instruction& i, uint32_t lanes) {
  const Access& access = i.access;
  const uint64_t* base = warp.source(i, 0);
  uint64_t* results[8];
  for (int k = 0; k < access.count; ++k) results[k] = warp.result(i, k);
  each_lane(lanes, [&](int lane) {
    const Located place = locate(warp, i, lane, base[lane] + i.offset, access.total());
    for (int k = 0; k < access.count; ++k) {
      const Located part = {place.bytes + k * access.bytes, place.space, place.offset + k * access.bytes};
      if (i.results[k] >= 0) check_written(warp, lane, part, access.bytes);
    }
    check_order(warp, lane, place, access.total(), Touch::kRead, access.is_strong);
    for (int k = 0; k < access.count; ++k) {
      results[k][lane] = load_value(place.bytes + k * access.bytes, access.bytes, access.is_signed);
    }
  });
}

// The address is an offset in the parameters.
void load_parameter(Warp& warp, const Instruction& i, uint32_t lanes) {
  const Access& access = i.access;
  const uint64_t* base = warp.source(i, 0);
  const uint64_t end = warp.block().kernel().parameter_bytes;
  each_lane(lanes, [&](int lane) {
    const uint64_t offset = base[lane] + i.offset;
    if (offset > end || access.total() > end - offset) {
      warp.block().fail(warp, lane, "reads parameters that the kernel does not have, at " + hex(offset));
    }
    const uint8_t* bytes = warp.block().launch().parameters + offset;
    for (int k = 0; k < access.count; ++k) {
      warp.result(i, k)[lane] = load_value(bytes + k * access.bytes, access.bytes, access.is_signed);
    }
  });
}

void store(Warp& warp, const Instruction& i, uint32_t lanes) {
  const Access& access = i.access;
  const uint64_t* base = warp.source(i, 0);
  each_lane(lanes, [&](int lane) {
    const Located place = locate(warp, i, lane, base[lane] + i.offset, access.total());
    uint8_t values[8 * sizeof(uint64_t)];
    for (int k = 0; k < access.count; ++k) {
      std::memcpy(values + k * access.bytes, &warp.source(i, 1 + k)[lane], access.bytes);
    }
    write(warp, lane, place, values, access.total(), access.is_strong);
  });
}

}  // namespace ptx
