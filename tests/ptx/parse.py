"""PTX text as a list of kernels. Only the grammar is known here; what an instruction does is the simulator's matter."""

from collections.abc import Iterator
from dataclasses import replace

from tests.ptx.operands import parse_operand, split_operands
from tests.ptx.syntax import Instruction, Kernel, Negated, Register, Several, Variable

SIZES = {"pred": 1, **{f"{kind}{bits}": bits // 8 for kind in "busf" for bits in (8, 16, 32, 64)}}
# Lines that end without a semicolon and say nothing of what is computed.
NOTES = {".loc", ".file", ".version", ".target", ".address_size", ".maxntid", ".reqntid", ".minnctapersm", ".maxnreg"}


class SyntaxNotKnown(Exception):
    """PTX that this parser does not read: line and statement."""


def parse_module(text: str) -> list[Kernel]:
    """The kernels of a module, their bodies still unread."""
    kernels: list[Kernel] = []
    variables: list[Variable] = []
    lines = code_lines(text)
    for line, content in lines:
        if ".entry" in content:
            kernels.append(parse_kernel(content, lines, variables))
        elif content.startswith(".section"):
            skip_braces(content, lines)
        elif ".shared" in content:
            variables.append(parse_variable(content.rstrip(";")))
        elif ".func" in content:
            raise SyntaxNotKnown(f"line {line}: {content}")
    return kernels


def code_lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines without comments, notes and blanks."""
    for number, line in enumerate(text.split("\n"), 1):
        content = line.partition("//")[0].strip()
        if content and content.split()[0] not in NOTES:
            yield number, content


def skip_braces(content: str, lines: Iterator[tuple[int, str]]) -> None:
    while "}" not in content:
        _, content = next(lines)


def parse_kernel(head: str, lines: Iterator[tuple[int, str]], variables: list[Variable]) -> Kernel:
    name = head.split(".entry")[1].partition("(")[0].strip()
    first_line = 0
    while "{" not in head:
        first_line, content = next(lines)
        head += " " + content
    head, _, rest = head.partition("{")
    body = [(first_line, rest)]
    depth = 1 + rest.count("{") - rest.count("}")
    while depth:
        line, content = next(lines)
        depth += content.count("{") - content.count("}")
        body.append((line, content))
    body[-1] = (body[-1][0], body[-1][1].rpartition("}")[0])
    listed = head[head.find("(") + 1 : head.rfind(")")] if "(" in head else ""
    parameters = [parse_variable(text) for text in listed.split(",") if text.strip()]
    return Kernel(name, parameters, body, variables)


def read_body(kernel: Kernel) -> Kernel:
    """Fills in variables, instructions and labels."""
    used_bytes = None
    for line, text in statements(kernel.lines):
        if text.endswith(":"):
            kernel.labels[text[:-1]] = len(kernel.instructions)
        elif text.startswith('.pragma "used_bytes_mask'):
            used_bytes = int(text.strip('"').split()[-1], 0)
        elif text.startswith("."):
            declare(kernel, line, text)
        else:
            instruction = parse_instruction(line, text)
            kernel.instructions.append(instruction if used_bytes is None else without_unused(instruction, used_bytes))
            used_bytes = None
    kernel.instructions.append(Instruction(0, "ret", ()))  # where the text ends
    return kernel


def without_unused(load: Instruction, used_bytes: int) -> Instruction:
    """A vector load that throws away what the compiler says is not used: nobody may have written it."""
    size = SIZES[load.opcode.rpartition(".")[2]]
    vector, *rest = load.operands
    assert isinstance(vector, Several)
    parts = [part if used_bytes >> k * size & (2**size - 1) else None for k, part in enumerate(vector.parts)]
    return replace(load, operands=(Several(tuple(parts)), *rest))


def declare(kernel: Kernel, line: int, text: str) -> None:
    word = text.split()[0]
    if word in (".shared", ".local"):
        kernel.variables.append(parse_variable(text))
    elif word == ".reg":
        for name in text.split(None, 2)[2].split(","):
            kernel.registers |= declared_registers(name.strip())
    elif word != ".pragma":
        raise SyntaxNotKnown(f"line {line}: {text}")


def declared_registers(declared: str) -> set[str]:
    """One register, or, as %r<3>, those from %r0 to %r2."""
    name, _, count = declared.rstrip(">").partition("<")
    return {f"{name}{index}" for index in range(int(count))} if count else {name}


def parse_variable(text: str) -> Variable:
    """A declaration as `.shared .align 8 .b8 name[64]` or `.param .u64 .ptr .global .align 1 name`."""
    words = text.replace("[", " [").split()
    declared, brackets = (words[:-1], words[-1]) if words[-1].startswith("[") else (words, "")
    is_extern = brackets == "[]"
    count = int(brackets[1:-1]) if brackets and not is_extern else 0 if is_extern else 1
    kinds = [word[1:] for word in declared if word[1:] in SIZES]
    space = next((s for s in ("shared", "local", "param") if "." + s in declared), "")
    size = SIZES[kinds[0]]
    # A pointer's .align speaks of what it points at.
    aligned = ".align" in declared and ".ptr" not in declared
    align = int(declared[declared.index(".align") + 1]) if aligned else size
    return Variable(space, declared[-1], size * count, align, is_extern)


def statements(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Statements without their semicolons, and labels with their colons. Braces of scopes are left out."""
    begun, started_at = "", 0
    for line, content in lines:
        for piece in content.replace(";", ";\n").split("\n"):
            begun, started_at = (begun + " " + piece, started_at) if begun else (piece, line)
            begun = begun.strip()
            while begun:
                if begun[0] in "{}":
                    begun = begun[1:].lstrip()
                    continue
                label = leading_label(begun)
                if label is None:
                    break
                yield line, label
                begun = begun[len(label) :].lstrip()
            if begun.endswith(";"):
                if begun != ";":
                    yield started_at, begun[:-1].strip()
                begun = ""


def leading_label(text: str) -> str | None:
    name, colon, rest = text.partition(":")
    is_name = name.replace("$", "a").replace("_", "a").isalnum()
    return name + colon if colon and is_name and not rest.startswith(":") else None


def parse_instruction(line: int, text: str) -> Instruction:
    guard = None
    if text.startswith("@"):
        word, text = text[1:].split(None, 1)
        guard = Negated(Register(word[1:])) if word.startswith("!") else Register(word)
    opcode, *rest = text.split(None, 1)
    try:
        return Instruction(line, opcode, tuple(parse_operand(word) for word in split_operands("".join(rest))), guard)
    except ValueError:
        raise SyntaxNotKnown(f"line {line}: {text}") from None
