"""The cost model: what waits, what is shared, and how blocks fill the machine."""

import numpy
import pytest

from tests.ptx.costs import H200, RTX_4090, Cost, LaunchCost, MachineCost, cost_of
from tests.ptx.parse import parse_instruction
from tests.ptx.simulator import KnownMemory
from tests.ptx.small_kernels import aligned_words, element, run, simulator


def machine(**changes: int) -> MachineCost:
    return MachineCost(**{name: changes.get(name, getattr(H200, name)) for name, *_ in MachineCost._fields_})


def measure(body: str, *arrays: numpy.ndarray, on: MachineCost = H200, **options) -> LaunchCost:
    with simulator().measured(on, asks_ptxas=False) as costs:
        run(body, *arrays, **options)
    ((name, (cost,)),) = costs
    assert name.startswith("small")
    return cost


def cycles(body: str, *arrays: numpy.ndarray, **options) -> float:
    """Of the longest block, beyond those of a kernel that does nothing."""
    nothing = measure("", *arrays, **options).longest_block
    return measure(body, *arrays, **options).longest_block - nothing


def test_a_chain_waits_and_what_is_apart_does_not():
    chain = "add.rn.f32 %x, %x, %x;" * 10
    apart = "".join(f"add.rn.f32 %x{k}, %y, %y;" for k in range(10))
    latency = cost_of(parse_instruction(1, "add.rn.f32 %x, %x, %x")).latency
    assert cycles(chain + "mov.b32 %z, %x;") == 10 * latency  # in its gaps the kernel's other instructions are issued
    assert cycles(apart + "mov.b32 %z, %x9;") == 11


def test_memory_that_was_read_is_nearer():
    values = numpy.zeros(64, "u4")
    read = f"{element(0, 'u32')} ld.global.u32 %x, [%e0]; add.s32 %y, %x, 1;"
    again = (
        read
        + "add.s32 %f, %y, 0; mul.wide.u32 %g, %f, 0; add.s64 %h, %g, %e0; ld.global.u32 %z, [%h]; add.s32 %w, %z, 1;"
    )
    once, twice = cycles(read, values), cycles(again, values)
    assert H200.l2_latency <= once < H200.l2_latency + 40
    assert H200.l1_latency <= twice - once < H200.l1_latency + 40


def test_values_side_by_side_are_moved_not_loaded():
    values = aligned_words(64)
    loaded = f"{element(0, 'u32')} ld.global.u32 %x, [%e0];"
    body = loaded + "mov.b64 %y, {%x, %x}; mov.b64 {%z, %w}, %y; add.s32 %v, %z, 1;"
    assert measure(body, values).bytes == measure(loaded, values).bytes == 128
    assert (
        cycles(body, values) - cycles(loaded + "add.s32 %v, %x, 1;", values)
        == 2 * cost_of(parse_instruction(1, "mov.b64 %y, %x")).latency
    )


def test_an_access_far_apart_takes_longer():
    values = aligned_words(32 * 64)
    together, apart = (
        cycles(f"mad.wide.u32 %e, %t, {step}, %a0; ld.global.u32 %x, [%e]; add.s32 %y, %x, 1;", values)
        for step in (4, 256)
    )
    assert apart - together == (32 - H200.free_sectors) / 2


def test_a_barrier_waits_for_the_slowest_warp():
    slow = "setp.lt.u32 %p, %t, 32; @%p bra MEET;" + "div.rn.f64 %x, %x, %x;" * 5 + "mov.b64 %y, %x; MEET:"
    assert cycles(slow + "bar.sync 0;", threads=64) > 4 * cost_of(parse_instruction(1, "div.rn.f64 %x, %x, %x")).latency
    uneven = measure(slow, threads=64)
    assert uneven.blocks == 1 and uneven.longest_block == uneven.mean_block


def test_blocks_fill_the_machine():
    """One more than it holds at a time takes twice as long."""
    on = machine(multiprocessors=2, blocks=3)
    body = "div.rn.f64 %x, %x, %x; mov.b64 %y, %x;"
    full, more = (measure(body, on=on, grid=(grid, 1, 1)) for grid in (6, 7))
    assert full.blocks_at_once == 3 and more.makespan == 2 * full.makespan
    assert measure(body, threads=1024).blocks_at_once == 1  # 64 registers a thread
    assert measure(body, declarations=".shared .align 4 .b8 much[100000];").blocks_at_once == 2


def test_pipes_bound_what_many_warps_can_do():
    body = "".join(f"add.rn.f64 %x{k}, %y, %y;" for k in range(100))
    cost = measure(body, threads=1024, grid=(264, 1, 1))
    assert cost.fp64_instructions == 100 * 32 * 264 and cost.instructions > cost.fp64_instructions
    assert cost.throughput_bound == pytest.approx(2 * cost.fp64_instructions / (4 * H200.multiprocessors), rel=0.01)


def test_a_block_is_no_faster_than_its_multiprocessor():
    """Warps alone wait for nothing; 32 of them want one pipe."""
    body = "".join(f"add.rn.f64 %x{k}, %y, %y;" for k in range(100))
    alone, many = (measure(body, threads=threads) for threads in (32, 1024))
    assert alone.longest_block < 150 and many.longest_block == 2 * many.fp64_instructions / 4


def test_memory_bounds_what_moves_much():
    """Each sector counts once a launch, however many blocks read it."""
    values = aligned_words(64 * 8)
    read = "mad.wide.u32 %e, %t, 32, %a0; ld.global.u32 %x, [%e];"
    costs = [measure(read, values, grid=(grid, 1, 1)) for grid in (1, 50)]
    assert [cost.bytes for cost in costs] == [32 * 32] * 2
    assert costs[0].memory_bound == 1024 / H200.bytes_per_cycle
    stored = measure(read + "st.global.u32 [%e+1024], %x; st.global.u32 [%e], %x;", values)
    assert stored.bytes == 64 * 32
    slow = machine(bytes_per_cycle=1)
    bound = measure(read, values, on=slow)
    assert bound.bound == 1024 and bound.microseconds == 1024 / slow.megahertz


def test_a_rtx_4090_has_little_float64():
    """A chain waits longer for each; many warps wait for the pipe."""
    chain = "fma.rn.f64 %x, %x, %x, %x;" * 10 + "mov.b64 %y, %x;"
    assert cycles(chain, on=RTX_4090) - cycles(chain) == 10 * RTX_4090.fp64_wait
    many = [measure(chain, threads=1024, on=on, grid=(264, 1, 1)) for on in (H200, RTX_4090)]
    assert many[1].throughput_bound / many[0].throughput_bound == pytest.approx(32 * 132 / 128)
    converted = [measure("cvt.f64.f32 %x, %y;" * 20, threads=1024, on=on).longest_block for on in (H200, RTX_4090)]
    assert converted[1] == 8 * converted[0]
    assert [cost.blocks_at_once for cost in many] == [1, 1]
    assert [measure("", threads=256, on=on).blocks_at_once for on in (H200, RTX_4090)] == [4, 4]
    assert [measure("", threads=32, on=on).blocks_at_once for on in (H200, RTX_4090)] == [32, 24]


def test_several_machines_are_measured_in_one_run():
    body = "div.rn.f64 %x, %x, %x; mov.b64 %y, %x;"
    with simulator().measured(H200, RTX_4090, asks_ptxas=False) as costs:
        run(body)
    ((_, both),) = costs
    alone = [measure(body, on=on) for on in (H200, RTX_4090)]
    assert [cost.makespan for cost in both] == [cost.makespan for cost in alone]
    assert both[0].makespan < both[1].makespan


def test_a_cost_does_not_depend_on_the_seed():
    """Blocks take a number each, and what they do next depends on it."""
    body = (
        """setp.eq.u32 %p, %t, 0; @!%p bra END; atom.global.add.u32 %x, [%a0], 1; setp.lt.u32 %p, %x, 5;
    @%p bra END; mov.u32 %c, %ctaid.x; setp.lt.u32 %p, %c, 9; @%p bra END;"""
        + "div.rn.f32 %y, %y, %y;" * 9
        + "END:"
    )
    found = [measure(body, numpy.zeros(1, "u4"), grid=(20, 1, 1), seed=seed) for seed in range(4)]
    assert len({(cost.makespan, cost.mean_block, cost.instructions) for cost in found}) == 1


def test_without_measuring_nothing_is_told():
    with simulator().measured() as costs:
        pass
    run("mov.u32 %x, 1;")
    assert costs == []


@pytest.mark.parametrize(
    ("opcode", "cost"),
    [
        ("add.rn.f32", Cost(1, 4)),
        ("fma.rn.f64", Cost(1, 8, 0, 1)),
        ("mul.lo.s32", Cost(1, 5)),
        ("shl.b64", Cost(2, 6, 4)),
        ("cvt.rn.f32.f64", Cost(1, 20, 0, 0, 1)),
    ],
)
def test_costs_by_opcode(opcode, cost):
    assert cost_of(parse_instruction(1, f"{opcode} %x, %y, %z")) == cost


def test_registers_are_those_that_ptxas_gives():
    ptx = """.version 8.0
.target sm_90
.address_size 64
.visible .entry modest(.param .u64 p0)
{
.reg .b64 %a; .reg .b32 %r<4>;
ld.param.u64 %a, [p0];
mov.u32 %r0, %tid.x;
st.global.u32 [%a], %r0;
ret;
}
"""
    (name,) = simulator().load(ptx)
    place = numpy.zeros(1, "u4")
    with KnownMemory([(place.ctypes.data, 4)]), simulator().measured() as costs:
        simulator().launch(name, (1, 1, 1), 1, place.ctypes.data.to_bytes(8, "little"))
    assert 0 < simulator().registers[name] < 32 and costs[0][1][0].blocks_at_once == 32
