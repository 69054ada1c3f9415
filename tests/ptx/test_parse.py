"""PTX text as it is written: layouts of parameters and memory, scopes, labels, and what is not known."""

import numpy
import pytest

from tests.ptx.encode import encode, lay_out
from tests.ptx.operands import parse_operand
from tests.ptx.parse import SyntaxNotKnown, parse_module, read_body
from tests.ptx.simulator import SimulationError
from tests.ptx.small_kernels import run, simulator, store
from tests.ptx.syntax import Address, Constant, Negated, Register, Several, Symbol

FOUR = "{%x, %y, %z, %w}"
MODULE = """
.version 8.7
.target sm_90a
.address_size 64
.extern .shared .align 16 .b8 more[];
.shared .align 4 .b8 of_module[6];
    // .globl  first  // -- Begin function first
.visible .entry first(
    .param .u64 .ptr .global .align 1 first_0,
    .param .u8 first_1,
    .param .align 8 .b8 first_2[24]
)
.reqntid 32
{
    .reg .pred %p<2>; .reg .b64 %rd<2>;
    .shared .align 8 .b8 own[16];  // demoted
    .loc 1 34 0
$L__begin:
    { .reg .b32 low; mov.b64 {low, _}, %rd1; }
    @!%p1 bra $L__begin;
    ret;
}
.entry second() { ret; }
.section .debug_abbrev
{
.b8 1
}
"""


def test_a_module():
    first, second = parse_module(MODULE)
    assert (first.name, second.name) == ("first", "second")
    assert lay_out(first.parameters) == ({"first_0": 0, "first_1": 8, "first_2": 16}, 40)
    read_body(first)
    assert [(i.line, i.opcode) for i in first.instructions] == [(19, "mov.b64"), (20, "bra"), (21, "ret"), (0, "ret")]
    assert first.labels == {"$L__begin": 0} and "low" in first.registers
    assert first.instructions[1].guard == Negated(Register("%p1"))
    text = encode(first)
    assert "memory 32 0" in text and "i 20 bra !r" in text and "i 19 mov.b64 - -1 0 r" in text


def test_operands():
    assert parse_operand("0f3F800000") == Constant(0x3F800000) and parse_operand("-1") == Constant(2**64 - 1)
    assert parse_operand("[%rd1+-8]") == Address(Register("%rd1"), -8)
    assert parse_operand("[ %rd1 + 0 ]") == Address(Register("%rd1"), 0)
    assert parse_operand("[name]") == Address(Symbol("name"), 0)
    assert parse_operand("{%r1, _, 5}") == Several((Register("%r1"), None, Constant(5)))


def test_what_a_load_takes_along_is_not_read():
    found = numpy.zeros(32, "u4")
    body = """mov.u32 %b, buffer; mad.lo.s32 %s, %t, 8, %b; st.shared.u32 [%s], %t;
    {pragma} ld.shared.v2.u32 {{%x, %y}}, [%s];""" + store(0, "u32", "%x")
    declarations = ".shared .align 8 .b8 buffer[256];"
    run(body.format(pragma='.pragma "used_bytes_mask 15";'), found, declarations=declarations)
    assert found.tolist() == list(range(32))
    with pytest.raises(SimulationError, match="reads what nobody wrote: 4 bytes at 0x4 of shared memory"):
        run(body.format(pragma=""), found, declarations=declarations)


def test_what_is_not_known_is_named():
    with pytest.raises(
        SimulationError, match=r"line \d+, wgmma.fence.sync: an instruction that the simulator does not know"
    ):
        run("wgmma.fence.sync;")
    for opcode in (
        "add.rp.f32 %x, %y, %z",
        "ld.global.new_hint.u32 %x, [%a0]",
        "atom.global.inc.u32 %x, [%a0], %y",
        "atom.global.add.v2.f32 {%x, %y}, [%a0], {%z, %w}",
        "redux.sync.min.f32 %x, %y, 0xffffffff",
        "mov.b128 {%x, %y}, %z",
        f"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {FOUR}, {FOUR}, {{%x, %y}}, {FOUR}",
    ):
        with pytest.raises(
            SimulationError, match=f"{opcode.split()[0]}: an instruction that the simulator does not know"
        ):
            run(f"{opcode};", numpy.zeros(1, "u4"))
    for barrier in ("bar.sync 1, 64", "bar.red.popc.u32 %x, 1, 64, %p", "barrier.cluster.arrive"):
        with pytest.raises(SimulationError, match="an instruction that the simulator does not know"):
            run(f"{barrier};")
    for opcode in ("selp.b32 %x, 1, 2, !%p", "and.pred %p, %q, !%s", "mov.pred %p, !%q"):
        with pytest.raises(SimulationError, match=f"{opcode.split()[0]}: reads a negated predicate"):
            run(f"{opcode};")
    with pytest.raises(SyntaxNotKnown, match=r"line 1: \.func"):
        parse_module(".func helper() { ret; }")
    with pytest.raises(KeyError, match="nothing is known of elsewhere"):
        run("mov.u64 %x, elsewhere;")
    for name in ("%smid", "%r2"):
        (kernel,) = simulator().load(f".entry unknown() {{ .reg .b32 %r<2>; mov.u32 %r0, {name}; ret; }}")
        with pytest.raises(KeyError, match=f"nothing is known of {name}"):
            simulator().launch(kernel, (1, 1, 1), 1, b"")


def test_registers_with_any_name_and_results_thrown_away():
    found = numpy.zeros(32, "u4")
    run(
        "{ .reg .pred p; setp.ge.u32 p, %t, 3; @p red.global.add.u32 [%a0], 1; @!p atom.global.add.u32 _, [%a0], 5; }",
        found,
    )
    assert found[0] == 29 + 3 * 5


def test_where_a_thread_is():
    names = ["%tid.x", "%ntid.x", "%ctaid.x", "%ctaid.y", "%ctaid.z", "%nctaid.x", "%nctaid.y", "%laneid"]
    found = [numpy.zeros(2 * 3 * 4 * 48, "u4") for _ in names]
    body = """mov.u32 %x, %ctaid.x; mov.u32 %y, %ctaid.y; mov.u32 %z, %ctaid.z;
    mad.lo.s32 %i, %z, 3, %y; mad.lo.s32 %i, %i, 2, %x; mad.lo.s32 %i, %i, 48, %t; mov.u32 %t, %i;"""
    for k, name in enumerate(names):
        body += f"mov.u32 %v, {name};" + store(k, "u32", "%v")
    run(body, *found, threads=48, grid=(2, 3, 4))
    z, y, x, t = numpy.indices((4, 3, 2, 48)).reshape(4, -1)
    expected = [t, 48, x, y, z, 2, 3, t % 32]
    for name, values, wanted in zip(names, found, expected, strict=True):
        assert (values == wanted).all(), name


def test_dynamic_shared_memory():
    text = """.extern .shared .align 16 .b8 more[];
    .entry dynamic() { .reg .b32 %s; .shared .align 4 .b8 own[20]; mov.u32 %s, more; st.shared.u32 [%s+12], 1; ret; }"""
    (name,) = simulator().load(text)
    simulator().launch(name, (1, 1, 1), 1, b"", dynamic_shared=16)
    with pytest.raises(SimulationError, match="out of bounds: 4 bytes at 0x2c of shared memory"):
        simulator().launch(name, (1, 1, 1), 1, b"", dynamic_shared=12)


def test_launches_that_a_gpu_would_refuse():
    for threads, grid, fact in [
        (1025, (1, 1, 1), "a block must have 1 to 1024 threads, got 1025"),
        (32, (1, 65536, 1), "a grid must have .* got 1 x 65536 x 1"),
        (32, (0, 1, 1), "a grid must have .* got 0 x 1 x 1"),
    ]:
        with pytest.raises(SimulationError, match=fact):
            run("", threads=threads, grid=grid)
    with pytest.raises(
        SimulationError, match=r"^small\w*: a block must have at most 227 KiB of shared memory, got 233000"
    ):
        run("", declarations=".shared .align 8 .b8 much[233000];")
    (name,) = simulator().load(".entry wide(.param .u32 p0, .param .u64 p1) { ret; }")
    with pytest.raises(ValueError, match="params must have 16 bytes for wide, got 12"):
        simulator().launch(name, (1, 1, 1), 32, bytes(12))
