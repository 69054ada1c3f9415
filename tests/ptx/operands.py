"""The operands of an instruction, as they are written."""

from tests.ptx.syntax import Address, Constant, Negated, Operand, Register, Several, Symbol


def split_operands(text: str) -> list[str]:
    """At commas that stand in no brackets."""
    words, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            words.append("")
        else:
            words[-1] += letter
    return [word.strip() for word in words if word.strip()]


def parse_operand(word: str) -> Operand:
    if word == "_":
        return Several((None,))
    if word.startswith("["):
        return parse_address(word[1:-1].strip())
    if word.startswith("{"):
        return Several(tuple(parse_part(part.strip()) for part in word[1:-1].split(",")))
    if "|" in word:
        return Several(tuple(parse_part(part.strip()) for part in word.split("|")))
    if word.startswith("!"):
        return Negated(Register(word[1:]))
    if word.startswith("%"):
        return Register(word)
    if word[0].isdigit() or word[0] in "-+":
        return Constant(parse_number(word))
    return Symbol(word)


def parse_part(word: str) -> Operand | None:
    return None if word == "_" else parse_operand(word)


def parse_address(text: str) -> Address:
    base, _, offset = text.partition("+")
    return Address(parse_operand(base.strip()), int(offset, 0) if offset.strip() else 0)


def parse_number(word: str) -> int:
    """The bits of an integer, or of a float as 0f3f800000 and 0d3ff0000000000000."""
    if word[:2].lower() in ("0f", "0d"):
        return int(word[2:], 16)
    return int(word.rstrip("U"), 0) & (2**64 - 1)
