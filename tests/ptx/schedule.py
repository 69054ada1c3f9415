"""The order of instructions in each basic block that hides the most latency: PTX lists them as the compiler's front end
found them, and ptxas as this does. What a kernel computes does not change."""

import itertools
from collections import defaultdict
from dataclasses import dataclass, field

from tests.ptx.costs import H200, cost_of
from tests.ptx.encode import has_result
from tests.ptx.syntax import Address, Instruction, Kernel, Negated, Operand, Register, Several, Symbol

# Nothing moves past these; lanes part or meet there.
ENDS = {"bra", "ret", "exit", "bar", "barrier", "membar", "fence", "stmatrix", "ldmatrix", "trap"}
EXCHANGES = {"shfl", "vote", "redux", "activemask"}  # these keep their order
SPACES = {"global", "shared", "local"}


def schedule(kernel: Kernel) -> None:
    """Reorders the instructions of a kernel whose body is read."""
    code = kernel.instructions
    cuts = {0, len(code), *kernel.labels.values()}
    for index, instruction in enumerate(code):
        if family(instruction) in ENDS:
            cuts |= {index, index + 1}
    ordered = sorted(cuts)
    for begin, end in itertools.pairwise(ordered):
        code[begin:end] = order(code[begin:end])


@dataclass
class Step:
    """An instruction of a block, and who waits for it: for its result, or only for its turn."""

    instruction: Instruction
    followers: dict[int, bool] = field(default_factory=dict)  # by index: whether for the result
    waits_for: int = 0
    path: int = 0  # cycles from its issue to the end of the block
    ready: int = 0


def order(block: list[Instruction]) -> list[Instruction]:
    """List scheduling: among those that can be issued now, the one with the longest path behind it."""
    steps = [Step(instruction) for instruction in block]
    link(steps)
    for step in reversed(steps):
        cycles = latency(step.instruction)
        behind = [steps[k].path + (cycles if for_result else 1) for k, for_result in step.followers.items()]
        step.path = max(behind, default=cycles)
    found, now = [], 0
    waiting = [index for index, step in enumerate(steps) if step.waits_for == 0]
    while waiting:
        now = max(now, min(steps[index].ready for index in waiting))
        chosen = max((index for index in waiting if steps[index].ready <= now), key=lambda k: (steps[k].path, -k))
        waiting.remove(chosen)
        step = steps[chosen]
        found.append(step.instruction)
        done = now + latency(step.instruction)
        now += cost_of(step.instruction).issue
        for index, for_result in step.followers.items():
            follower = steps[index]
            follower.ready = max(follower.ready, done if for_result else now)
            follower.waits_for -= 1
            if follower.waits_for == 0:
                waiting.append(index)
    assert len(found) == len(block)
    return found


def link(steps: list[Step]) -> None:
    """By registers, by memory of one space, and by exchanges."""
    writer: dict[str, int] = {}
    readers: dict[str, list[int]] = defaultdict(list)
    touched: dict[str, list[int]] = defaultdict(list)  # since, and with, the last write of a space
    exchanged: int | None = None

    def follow(first: int, index: int, for_result: bool) -> None:
        if first == index:
            return
        if index not in steps[first].followers:
            steps[index].waits_for += 1
        steps[first].followers[index] = steps[first].followers.get(index, False) or for_result

    for index, step in enumerate(steps):
        results, sources = registers(step.instruction)
        for name in sources:
            if name in writer:
                follow(writer[name], index, True)
        for name in results:
            # Lanes that the guard holds back keep what was there before.
            if name in writer:
                follow(writer[name], index, step.instruction.guard is not None)
            for reader in readers.pop(name, []):
                follow(reader, index, False)
        for name in sources:
            readers[name].append(index)
        for name in results:
            writer[name] = index
        for space in spaces(step.instruction):
            if family(step.instruction) == "ld":
                if touched[space] and family(steps[touched[space][0]].instruction) != "ld":
                    follow(touched[space][0], index, False)
                touched[space].append(index)
            else:
                for other in touched[space]:
                    follow(other, index, False)
                touched[space] = [index]
        if family(step.instruction) in EXCHANGES:
            if exchanged is not None:
                follow(exchanged, index, False)
            exchanged = index


def family(instruction: Instruction) -> str:
    return instruction.opcode.partition(".")[0]


def spaces(instruction: Instruction) -> set[str]:
    """Those that a memory instruction may touch; without a name, all."""
    if family(instruction) not in ("ld", "st", "atom", "red"):
        return set()
    named = {part.partition("::")[0] for part in instruction.opcode.split(".")}
    return set() if "param" in named else named & SPACES or SPACES


def latency(instruction: Instruction) -> int:
    if family(instruction) in ("ld", "atom") and spaces(instruction):
        is_shared = spaces(instruction) == {"shared"}
        if family(instruction) == "ld":
            return H200.shared_latency if is_shared else H200.l2_latency
        return H200.shared_atomic_latency if is_shared else H200.atomic_latency
    return cost_of(instruction).latency


def registers(instruction: Instruction) -> tuple[list[str], list[str]]:
    """Those that it writes and those that it reads, its guard's among them."""
    count = 1 if has_result(instruction) else 0
    results = [name for operand in instruction.operands[:count] for name in names(operand)]
    sources = [name for operand in instruction.operands[count:] for name in names(operand)]
    if instruction.guard is not None:
        sources += names(instruction.guard)
    return results, sources


def names(operand: Operand | None) -> list[str]:
    match operand:
        case Register(name) | Symbol(name):  # a register may be declared without %, and nothing else is written
            return [name]
        case Negated(predicate):
            return [predicate.name]
        case Address(base):
            return names(base)
        case Several(parts):
            return [name for part in parts for name in names(part)]
    return []
