"""A parsed kernel as the text that the simulator loads. One item a line:

    kernel NAME
    registers COUNT                 rows of 32 lanes of 64 bits
    memory SHARED LOCAL             bytes of a block, bytes of a thread
    parameter OFFSET BYTES          in order
    special NAME ROW                the row that holds tid.x, laneid, ...
    constant BITS                   numbered from 0
    i LINE OPCODE GUARD TARGET OFFSET RESULTS SOURCES
    end

A guard is `-`, `r5` or `!r5`; a target is the index of an instruction or -1; results are `r1,_,r3` or `-`; sources are
registers, constants as `c0`, and negated predicates as `!r5`. An address is a source, its offset apart.
"""

from tests.ptx.syntax import (
    Address,
    Constant,
    Instruction,
    Kernel,
    Negated,
    Operand,
    Register,
    Several,
    Symbol,
    Variable,
)

WITHOUT_RESULT = {"st", "red", "bra", "ret", "exit", "trap", "membar", "fence", "stmatrix"}
VECTOR = ("x", "y", "z")
SPECIAL = {f"%{name}.{axis}" for name in ("tid", "ntid", "ctaid", "nctaid") for axis in VECTOR} | {"%laneid", "%warpid"}


def encode(kernel: Kernel) -> str:
    return Encoder(kernel).text()


def lay_out(variables: list[Variable], start: int = 0) -> tuple[dict[str, int], int]:
    """Offsets by name, and the end. What is extern begins where all others end."""
    offsets = {}
    for variable in sorted(variables, key=lambda v: v.is_extern):
        align = max(variable.align, 16 if variable.is_extern else 1)
        start = (start + align - 1) // align * align
        offsets[variable.name] = start
        start += variable.bytes
    return offsets, start


def has_result(instruction: Instruction) -> bool:
    """Whether its first operand is what it writes."""
    family, _, rest = instruction.opcode.partition(".")
    if family in ("bar", "barrier"):
        return rest.removeprefix("cta.").startswith("red")
    return family not in WITHOUT_RESULT and bool(instruction.operands)


class Encoder:
    def __init__(self, kernel: Kernel):
        self.kernel = kernel
        variables = kernel.module_variables + kernel.variables
        shared, self.shared_bytes = lay_out([v for v in variables if v.space == "shared"])
        local, self.local_bytes = lay_out([v for v in variables if v.space == "local"])
        self.parameters, _ = lay_out(kernel.parameters)
        self.addresses = {**shared, **local, **self.parameters}
        self.rows: dict[str, int] = {}
        self.constants: dict[int, int] = {}

    def text(self) -> str:
        instructions = [self.encode_instruction(instruction) for instruction in self.kernel.instructions]
        return "\n".join(
            [
                f"kernel {self.kernel.name}",
                f"registers {len(self.rows)}",
                f"memory {self.shared_bytes} {self.local_bytes}",
                *(f"parameter {self.parameters[p.name]} {p.bytes}" for p in self.kernel.parameters),
                *(f"special {name[1:]} {row}" for name, row in self.rows.items() if name in SPECIAL),
                *(f"constant {bits}" for bits in self.constants),
                *instructions,
                "end\n",
            ]
        )

    def encode_instruction(self, instruction: Instruction) -> str:
        target, offset = -1, 0
        operands = list(instruction.operands)
        if instruction.opcode.partition(".")[0] == "bra":
            target, operands = self.label(instruction), []
        results = operands[:1] if has_result(instruction) else []
        sources = []
        for operand in operands[len(results) :]:
            if isinstance(operand, Address):
                offset, operand = operand.offset, operand.base
            sources += self.parts(operand)
        guard = "-" if instruction.guard is None else self.source(instruction.guard)
        written = ",".join(word for operand in results for word in self.parts(operand)) or "-"
        read = ",".join(sources) or "-"
        return f"i {instruction.line} {instruction.opcode} {guard} {target} {offset} {written} {read}"

    def label(self, instruction: Instruction) -> int:
        (operand,) = instruction.operands
        assert isinstance(operand, Symbol)
        return self.kernel.labels[operand.name]

    def parts(self, operand: Operand) -> list[str]:
        parts = operand.parts if isinstance(operand, Several) else (operand,)
        return ["_" if part is None else self.source(part) for part in parts]

    def source(self, operand: Operand) -> str:
        match operand:
            case Register(name):
                if name not in self.kernel.registers and name not in SPECIAL:
                    raise KeyError(f"{self.kernel.name}: nothing is known of {name}")
                return f"r{self.rows.setdefault(name, len(self.rows))}"
            case Negated(predicate):
                return "!" + self.source(predicate)
            case Constant(bits):
                return f"c{self.constants.setdefault(bits, len(self.constants))}"
            case Symbol(name) if name in self.kernel.registers:
                return self.source(Register(name))
            case Symbol(name):
                return self.source(Constant(self.address_of(name)))
        raise TypeError(operand)

    def address_of(self, name: str) -> int:
        if name not in self.addresses:
            raise KeyError(f"{self.kernel.name}: nothing is known of {name}")
        return self.addresses[name]
