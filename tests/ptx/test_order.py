"""What orders accesses and what does not; barriers and masks that are wrong; threads that wait in vain."""

import numpy
import pytest

from tests.ptx.simulator import SimulationError
from tests.ptx.small_kernels import element, run, store
from tests.ptx.test_memory import SHARED, fails

WIDE = ".shared .align 16 .b8 buffer[4096];"
# Each thread writes its word, of which all know that it was 0; then it reads that of its neighbour.
WRITE = "mov.u32 %b, buffer; mad.lo.s32 %s, %t, 4, %b; st.shared.u32 [%s], 0; bar.sync 0; st.shared.u32 [%s], %t;"
READ = "xor.b32 %n, %t, {distance}; mad.lo.s32 %s, %n, 4, %b; ld.shared.u32 %x, [%s];"


@pytest.mark.parametrize("distance", [1, 32, 63])
@pytest.mark.parametrize("barrier", ["bar.sync 0;", "barrier.sync 0;", ""])
def test_a_barrier_orders_a_block(distance, barrier):
    found = numpy.zeros(128, "u4")
    body = WRITE + barrier + READ.format(distance=distance) + store(0, "u32", "%x")
    if barrier:
        run(body, found, threads=128, declarations=WIDE)
        assert (found == numpy.arange(128) ^ distance).all()
        return
    with pytest.raises(SimulationError, match="nothing orders them: a race"):
        run(body, found, threads=128, declarations=WIDE)


@pytest.mark.parametrize("sync", ["bar.warp.sync 0xffffffff;", ""])
def test_a_warp_is_ordered_by_its_barrier_alone(sync):
    """Lanes that run side by side are no order: neither is a shuffle."""
    found = numpy.zeros(32, "u4")
    body = WRITE + sync + "shfl.sync.bfly.b32 %y, %t, 1, 31, 0xffffffff;" + READ.format(distance=1)
    if sync:
        run(body + store(0, "u32", "%x"), found, declarations=WIDE)
        assert (found == numpy.arange(32) ^ 1).all()
    else:
        fact = r"ld.shared.u32: thread 0 of block 0 reads what thread 1 of this block wrote at line \d+ .*a race"
        fails(fact, body + store(0, "u32", "%x"), found, declarations=WIDE)


def test_half_a_warp_orders_only_itself():
    sync = "shr.u32 %h, %t, 4; setp.eq.u32 %p, %h, 0; selp.b32 %m, 0x0000ffff, 0xffff0000, %p; bar.warp.sync %m;"
    found = numpy.zeros(32, "u4")
    run(WRITE + sync + READ.format(distance=3) + store(0, "u32", "%x"), found, declarations=WIDE)
    fails("ld.shared.u32: .*a race", WRITE + sync + READ.format(distance=16), declarations=WIDE)


def test_a_write_races_with_reads_before_it():
    """Of the same warp, of another warp, and of two."""
    begin = WRITE + "bar.sync 0; ld.shared.u32 %x, [%b];"
    for writer in (1, 40, 70):
        body = begin + f"setp.eq.u32 %p, %t, {writer}; @%p st.shared.u32 [%b], 9;"
        with pytest.raises(SimulationError, match="a race"):
            run(body, threads=96, declarations=WIDE)
    run(begin + "bar.sync 0; setp.eq.u32 %p, %t, 40; @%p st.shared.u32 [%b], 9;", threads=96, declarations=WIDE)


@pytest.mark.parametrize("seed", range(4))
def test_a_read_is_not_forgotten_for_a_later_one(seed):
    """Lane 0 of two warps reads, and thread 0 then writes: its own read, if it comes last, hides that of the other."""
    body = """mov.u32 %b, buffer; st.shared.u32 [%b], 0; bar.sync 0;
    and.b32 %m, %t, 31; setp.eq.u32 %p, %m, 0; @%p ld.shared.u32 %x, [%b];
    setp.eq.u32 %q, %t, 0; @%q st.shared.u32 [%b], 9;"""
    fails("(ld|st).shared.u32: .*a race", body, threads=64, declarations=SHARED, seed=seed)


def test_bytes_of_one_word_are_places_of_their_own():
    begin = "mov.u32 %b, buffer; add.s32 %s, %t, %b; st.shared.u8 [%s], 0; bar.sync 0; st.shared.u8 [%s], %t;"
    run(begin, threads=64, declarations=SHARED)
    fails("(ld.shared.u32|st.shared.u8): .*a race", begin + "ld.shared.u32 %x, [%b];", threads=64, declarations=SHARED)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_orders_blocks_but_atomics(seed):
    """Whichever block comes first: one writes, the other reads."""
    place = numpy.zeros(4, "u4")
    begin = "mov.u32 %c, %ctaid.x; setp.eq.u32 %p, %c, 0; setp.ne.u32 %q, %t, 0; @%q ret;"
    fact = (
        r"(ld|st).global.u32: thread 0 of block . (reads|writes) what thread 0 of another block (wrote|read) .*a race"
    )
    fails(fact, begin + "@%p st.global.u32 [%a0], 5; @!%p ld.global.u32 %x, [%a0];", place, grid=(2, 1, 1), seed=seed)
    strong = "@%p atom.global.exch.b32 %y, [%a0], 6; @!%p ld.relaxed.gpu.global.u32 %x, [%a0];"
    run(begin + strong, place, grid=(2, 1, 1), seed=seed)
    fails("atom.global.*a race|ld.global", begin + strong.replace("relaxed.gpu.", ""), place, grid=(2, 1, 1), seed=seed)


def test_writes_of_one_value_are_no_race():
    place = numpy.zeros(1, "u4")
    run("st.global.u32 [%a0], 7;", place, threads=64, grid=(3, 1, 1))
    assert place[0] == 7
    fails("st.global.u32: .*wrote.*a race", "st.global.u32 [%a0], %t;", place)


def test_launches_are_ordered():
    place = numpy.zeros(64, "u4")
    body = f"{element(0, 'u32')} ld.global.u32 %x, [%e0]; add.s32 %x, %x, 1; st.global.u32 [%e0], %x;"
    for _ in range(2):
        run(body, place, threads=64)
    assert (place == 2).all()


def test_a_barrier_that_half_a_block_never_reaches():
    fails(
        r"bar.sync: thread 32 of block 0 waits at this barrier, others of its block at line \d+",
        "setp.lt.u32 %p, %t, 32; @%p bra OTHER; bar.sync 0; ret; \nOTHER: bar.sync 0;",
        threads=64,
    )


def test_a_barrier_does_not_wait_for_a_thread_that_ended():
    run("setp.eq.u32 %p, %t, 3; @%p ret; bar.sync 0;", threads=64)


@pytest.mark.parametrize("rest", ["ret;", "bar.sync 0; ret;"])
def test_lanes_that_wait_in_vain(rest):
    """The mask names all, but the upper half goes elsewhere and stays alive at a barrier, or ends."""
    body = f"setp.ge.u32 %p, %t, 16; @%p bra AWAY; shfl.sync.bfly.b32 %x, %t, 1, 31, 0xffffffff; ret; AWAY: {rest}"
    if rest == "ret;":
        run(body)
    else:
        fails(r"shfl.sync.bfly.b32: thread 0 of block 0 waits for lanes that do not come, .*a deadlock", body)


def test_masks_that_are_wrong():
    fails("shfl.sync.idx.b32: thread 16 of block 0 is not in its own mask", "shfl.sync.idx.b32 %x, %t, 0, 31, 0xffff;")
    body = "setp.eq.u32 %p, %t, 0; selp.b32 %m, 3, 0xffffffff, %p; vote.sync.any.pred %q, %p, %m;"
    fails("vote.sync.any.pred: thread . of block 0 has another mask than a lane that its mask names", body)


def test_the_order_of_blocks_and_warps_is_drawn():
    """The same for one seed, another for others."""

    def order(seed: int) -> list[int]:
        place, turns = numpy.zeros(1, "u4"), numpy.zeros(64, "u4")
        body = """setp.ne.u32 %q, %t, 0; @%q ret; mov.u32 %c, %ctaid.x;
        atom.global.add.u32 %x, [%a0], 1; mad.wide.u32 %e, %c, 4, %a1; st.global.u32 [%e], %x;"""
        run(body, place, turns, grid=(64, 1, 1), seed=seed)
        return turns.tolist()

    assert order(1) == order(1) and order(1) != order(2) and sorted(order(2)) == list(range(64))
