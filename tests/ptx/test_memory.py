"""Loads, stores and atomics of each space and width, and what is wrong with some."""

import numpy
import pytest
import torch

from tests.ptx.simulator import SimulationError, library
from tests.ptx.small_kernels import DTYPES, aligned_words, element, kernel, load, run, store
from tests.ptx.tensors import simulator

SHARED = ".shared .align 16 .b8 buffer[256];"
LOCAL = ".local .align 16 .b8 buffer[256];"


@pytest.mark.parametrize("kind", ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "f64", "b64"])
def test_widths(kind):
    """Narrow signed values fill the register with their sign."""
    values = numpy.arange(-16, 16).astype(DTYPES[kind])
    wide = numpy.zeros(32, "i8" if kind[0] == "s" else values.dtype)
    widen = f"cvt.s64.{kind} %x, %v0;" if kind[0] == "s" else "mov.b64 %x, %v0;"
    run(load(0, kind) + widen + store(1, "s64" if kind[0] == "s" else kind, "%x"), values, wide)
    assert (wide == values).all()


@pytest.mark.parametrize(("count", "kind"), [(2, "u8"), (4, "u8"), (2, "f32"), (4, "f32"), (8, "f32"), (2, "f64")])
def test_vectors(count, kind):
    size = count * DTYPES[kind].itemsize
    values, turned = (aligned_words(32 * size // 4).view(DTYPES[kind]) for _ in range(2))
    values[:] = numpy.arange(32 * count)
    registers = [f"%x{k}" for k in range(count)]
    body = f"""mad.wide.u32 %e, %t, {size}, %a0; mad.wide.u32 %f, %t, {size}, %a1;
    ld.global.v{count}.{kind} {{{", ".join(registers)}}}, [%e];
    st.global.v{count}.{kind} [%f], {{{", ".join(registers[::-1])}}};"""
    run(body, values, turned)
    assert (turned.reshape(32, count) == values.reshape(32, count)[:, ::-1]).all()


@pytest.mark.parametrize(("space", "declared"), [("shared", SHARED), ("local", LOCAL)])
@pytest.mark.parametrize("generic", [False, True])
def test_memory_of_a_block_and_of_a_thread(space, declared, generic):
    """By an address of the space, and by a generic one."""
    found = numpy.zeros(32, "u4")
    scale = 8 if space == "shared" else 4
    where = f"cvta.{space}.u64 %b, %b;" if generic else ""
    name = "" if generic else f".{space}"
    offset = f"mad.wide.u32 %b, %t, {scale}, %b;" if space == "shared" else ""
    body = f"""mov.u64 %b, buffer; {where} {offset}
    mul.lo.s32 %x, %t, 3; st{name}.u32 [%b+4], %x; ld{name}.u32 %y, [%b+4];"""
    run(body + store(0, "u32", "%y"), found, declarations=declared)
    assert (found == numpy.arange(32) * 3).all()


@pytest.mark.parametrize(("space", "declared"), [("shared", SHARED), ("local", LOCAL)])
def test_a_generic_address_becomes_one_of_its_space(space, declared):
    found = numpy.zeros(32, "u8")
    body = f"mov.u64 %b, buffer; add.s64 %b, %b, 8; cvta.{space}.u64 %g, %b; cvta.to.{space}.u64 %x, %g;"
    run(body + store(0, "u64", "%x"), found, declarations=declared)
    assert set(found.tolist()) == {8}


ATOMICS = {
    "add.u32": ("u4", lambda a, b: a + b),
    "add.u64": ("u8", lambda a, b: a + b),
    "add.f32": ("f4", lambda a, b: a + b),
    "add.f64": ("f8", lambda a, b: a + b),
    "min.s32": ("i4", min),
    "max.s32": ("i4", max),
    "min.u64": ("u8", min),
    "max.u32": ("u4", max),
    "and.b32": ("u4", lambda a, b: a & b),
    "or.b32": ("u4", lambda a, b: a | b),
    "xor.b64": ("u8", lambda a, b: a ^ b),
    "exch.b32": ("u4", lambda a, b: b),
    "exch.b64": ("u8", lambda a, b: b),
}


@pytest.mark.parametrize("name", ATOMICS)
@pytest.mark.parametrize("order", ["atom.global", "atom.global.gpu.acq_rel"])
def test_atomics(name, order):
    """All lanes on one element, lane after lane; each gets what was there before."""
    dtype, function = ATOMICS[name]
    kind = name.split(".")[1]
    values = (numpy.arange(32) * 37 % 41 - (8 if dtype == "i4" else 0)).astype(dtype)
    total, before = numpy.array([11], dtype), numpy.zeros(32, dtype)
    body = f"{load(0, kind)} {order}.{name} %x, [%a1], %v0;"
    run(body + store(2, kind, "%x"), values, total, before)
    expected = numpy.array([11], dtype)[0]
    for value, was in zip(values, before, strict=True):
        assert was == expected
        expected = function(expected, value)
    assert total[0] == expected


def test_compare_and_swap():
    """One lane wins, the others see its value; blocks too may meet in atomics."""
    place, before = numpy.array([7], "u4"), numpy.zeros(32, "u4")
    run(f"add.s32 %v, %t, 100; atom.global.cas.b32 %x, [%a0], 7, %v;{store(1, 'u32', '%x')}", place, before)
    assert place[0] == 100 and before.tolist() == [7] + [100] * 31
    run("atom.global.add.u32 %x, [%a0], 1; red.global.add.u32 [%a0], 1;", place, grid=(4, 1, 1))
    assert place[0] == 100 + 4 * 64


def fails(fact: str, body: str, *arrays: numpy.ndarray, **options) -> None:
    with pytest.raises(SimulationError, match=r"^small\w*: line \d+, " + fact):
        run(body, *arrays, **options)


def test_a_store_beyond_an_array():
    values = numpy.zeros(31, "u4")
    fails(
        r"st.global.u32: thread 31 of block 0 accesses memory that no tensor has: 4 bytes",
        store(0, "u32", "%t"),
        values,
    )
    assert values.tolist() == list(range(31))


def test_a_load_that_is_not_aligned():
    fails(
        r"ld.global.u32: thread 0 .*not aligned: 4 bytes at 0x\w+ of global",
        "ld.global.u32 %x, [%a0+2];",
        aligned_words(16),
    )
    fails(r"ld.global.v2.f32: .*not aligned: 8 bytes", "ld.global.v2.f32 {%x, %y}, [%a0+4];", aligned_words(16))
    body = "mov.u32 %b, buffer; ld.shared.u64 %x, [%b+4];"
    fails(r"ld.shared.u64: .*not aligned: 8 bytes at 0x4 of shared", body, declarations=SHARED)


@pytest.mark.parametrize(("space", "declared"), [("shared", SHARED), ("local", LOCAL)])
@pytest.mark.parametrize("offset", [256, -4])
def test_what_a_block_or_a_thread_does_not_have(space, declared, offset):
    body = f"mov.u64 %b, buffer; st.{space}.u32 [%b+{offset}], %t;"
    place = "0x100" if offset == 256 else r"0x(ffffffff)?fffffffc"
    fails(rf"st.{space}.u32: .*out of bounds: 4 bytes at {place} of {space}", body, declarations=declared)


def test_the_highest_addresses():
    """Where an address and the bytes behind it add up to 0."""
    body = "mov.u64 %b, 0; ld.global.u32 %x, [%b+-4];"
    fails("ld.global.u32: .*no tensor has: 4 bytes at 0xfffffffffffffffc of global", body, aligned_words(16))


@pytest.mark.parametrize("offset", [8, -8])
def test_parameters_that_there_are_not(offset):
    fails(
        rf"ld.param.u64: .*parameters that the kernel does not have, at 0x({offset:x}|fffffffffffffff8)",
        f"ld.param.u64 %x, [p0+{offset}];",
        aligned_words(16),
    )


def test_lanes_read_parameters_of_their_own():
    """As where a kernel looks up an argument that is an array by a thread's number."""
    words, found = aligned_words(16), numpy.zeros(2, "u8")
    body = "mov.u64 %b, p0; mad.wide.u32 %b, %t, 8, %b; ld.param.u64 %x, [%b];"
    run(body + store(1, "u64", "%x"), words, found, threads=2)
    assert found.tolist() == [words.ctypes.data, found.ctypes.data]


@pytest.mark.parametrize(("space", "declared"), [("shared", SHARED), ("local", LOCAL)])
def test_what_nobody_wrote(space, declared):
    body = f"mov.u64 %b, buffer; st.{space}.u16 [%b], 1; ld.{space}.u32 %x, [%b];"
    fails(rf"ld.{space}.u32: .*reads what nobody wrote: 4 bytes at 0x0 of {space}", body, declarations=declared)


@pytest.mark.parametrize(("opcode", "offset"), [("ld.global.u32", 0), ("ld.global.u32", 4), ("ld.global.f64", 0)])
def test_what_nobody_wrote_in_fresh_memory(opcode, offset):
    fresh = numpy.full(4, library().simulator_unwritten(), "u8")
    fails(rf"{opcode}: .*reads what nobody wrote", f"{opcode} %x, [%a0+{offset}];", fresh)
    fresh[0] = 0
    run(f"{opcode} %x, [%a0+{offset}];", fresh)


def test_torch_allocates_what_is_known():
    """A tensor may be touched while it lives, and its fresh memory not be read."""
    (name,) = simulator().load(kernel(f"{element(0, 'u32')} ld.global.u32 %x, [%e0];", 1), suffix="_of_torch")
    tensor = torch.zeros(32, dtype=torch.int32)
    address = tensor.data_ptr().to_bytes(8, "little")
    simulator().launch(name, (1, 1, 1), 32, address)
    with pytest.raises(SimulationError, match="thread 32 of block 0 accesses memory that no tensor has"):
        simulator().launch(name, (1, 1, 1), 33, address)
    tensor.resize_(0).untyped_storage().resize_(0)
    with pytest.raises(SimulationError, match="accesses memory that no tensor has"):
        simulator().launch(name, (1, 1, 1), 32, address)
    fresh = torch.empty(32, dtype=torch.int32)
    with pytest.raises(SimulationError, match="reads what nobody wrote"):
        simulator().launch(name, (1, 1, 1), 32, fresh.data_ptr().to_bytes(8, "little"))
