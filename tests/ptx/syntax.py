"""What PTX text consists of, as parse.py reads it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Register:
    name: str


@dataclass(frozen=True)
class Constant:
    bits: int


@dataclass(frozen=True)
class Symbol:
    """A variable, a parameter or a label."""

    name: str


@dataclass(frozen=True)
class Negated:
    predicate: Register


@dataclass(frozen=True)
class Address:
    base: "Operand"
    offset: int


@dataclass(frozen=True)
class Several:
    """A vector in braces, or two results with a bar between; None where the value is thrown away."""

    parts: tuple["Operand | None", ...]


Operand = Register | Constant | Symbol | Negated | Address | Several


@dataclass(frozen=True)
class Instruction:
    line: int
    opcode: str
    operands: tuple[Operand, ...]
    guard: Register | Negated | None = None


@dataclass(frozen=True)
class Variable:
    """Memory in a state space: shared, local, or param."""

    space: str
    name: str
    bytes: int
    align: int
    is_extern: bool = False


@dataclass
class Kernel:
    """A kernel, and, once its body is read, what stands in it."""

    name: str
    parameters: list[Variable]
    lines: list[tuple[int, str]]  # of the body, numbered as in the text
    module_variables: list[Variable]
    variables: list[Variable] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)  # indices of instructions
    registers: set[str] = field(default_factory=set)
