"""The order of instructions that a measured kernel has."""

import numpy

from tests.ptx.encode import has_result
from tests.ptx.parse import parse_instruction, parse_module, read_body
from tests.ptx.schedule import schedule
from tests.ptx.small_kernels import kernel, run, simulator, store
from tests.ptx.syntax import Instruction, Register


def test_loads_move_ahead_of_what_does_not_need_them():
    """But not past a store that may be to their place, nor a barrier, nor a label."""
    body = """bar.sync 0; add.s32 %x, %t, 1; add.s32 %y, %x, 1;
    ld.global.u32 %u, [%a0]; add.s32 %z, %u, %y;
    st.global.u32 [%a0], %z; ld.global.u32 %v, [%a0+4];
    bar.sync 0; ld.global.u32 %w, [%a0+8];"""
    (parsed,) = parse_module(kernel(body, 1))
    before = [text(i) for i in read_body(parsed).instructions]
    schedule(parsed)
    after = [text(i) for i in parsed.instructions]
    assert sorted(before) == sorted(after) and before != after
    first, sum_of_thread, stored, second, third = map(after.index, ["ld %u", "add %x", "st", "ld %v", "ld %w"])
    barrier = after.index("bar", second)
    assert first < sum_of_thread and first < stored < second < barrier < third


def text(instruction: Instruction) -> str:
    family = instruction.opcode.partition(".")[0]
    first = instruction.operands[0] if instruction.operands else None
    return f"{family} {first.name}" if isinstance(first, Register) else family


def test_the_order_changes_no_result():
    """A register that is written twice, a guard, a swap, and memory of one place."""
    body = """add.s32 %x, %t, 1; add.s32 %y, %x, %x; mov.b32 %x, 7; add.s32 %y, %y, %x;
    setp.lt.u32 %p, %t, 9; @%p mov.b32 %y, %t; add.s32 %x, %y, %x;
    mov.u32 %b, buffer; mad.lo.s32 %s, %t, 4, %b; st.shared.u32 [%s], %x; ld.shared.u32 %z, [%s];
    add.s32 %z, %z, 1; st.shared.u32 [%s], %z; ld.shared.u32 %w, [%s];
    { .reg .b32 low; mov.b32 low, %w; add.s32 %w, low, 2; }"""
    plain, ordered = numpy.zeros(32, "u4"), numpy.zeros(32, "u4")
    options = {"declarations": ".shared .align 4 .b8 buffer[128];"}
    run(body + store(0, "u32", "%w"), plain, **options)
    with simulator().measured(asks_ptxas=False):
        run(body + store(0, "u32", "%w"), ordered, **options)
    t = numpy.arange(32)
    assert (plain == numpy.where(t < 9, t, 2 * t + 9) + 10).all() and (ordered == plain).all()


def test_what_has_a_result():
    for text, expected in [
        ("add.s32 %x, %y, %z", True),
        ("bar.red.popc.u32 %x, 0, %p", True),
        ("barrier.cta.red.or.pred %x, 0, %p", True),
        ("bar.sync 0", False),
        ("st.global.u32 [%x], %y", False),
        ("ret", False),
    ]:
        assert has_result(parse_instruction(1, text)) is expected
