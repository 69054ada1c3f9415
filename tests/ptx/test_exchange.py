"""What lanes tell each other: shuffles, votes, reductions, barriers with a result, and matrices."""

import numpy
import pytest

from tests.ptx.simulator import SimulationError
from tests.ptx.small_kernels import load, run, store

LANES = numpy.arange(32)
VALUES = (LANES * 7919 + 5).astype("u4")


def shuffled(mode: str, by: int, limits: int, mask: int = 0xFFFFFFFF) -> tuple[numpy.ndarray, numpy.ndarray]:
    """What lanes took, and whether from their segment."""
    taken, inside = numpy.zeros(32, "u4"), numpy.zeros(32, "u4")
    body = f"{load(0, 'b32')} shfl.sync.{mode}.b32 %x|%p, %v0, {by}, {limits}, {mask};"
    run(body + store(1, "b32", "%x") + store(2, "pred", "%p"), VALUES.copy(), taken, inside)
    return taken, inside


@pytest.mark.parametrize("step", [1, 2, 16])
@pytest.mark.parametrize("segment", [32, 8])
def test_shuffles(step, segment):
    """As __shfl_up_sync and its kin with a width: lanes of a segment exchange, and who finds nobody keeps its own."""
    first = LANES // segment * segment
    limits = (32 - segment) << 8
    for mode, source, inside, clamp in [
        ("up", LANES - step, LANES - step >= first, 0),
        ("down", LANES + step, LANES + step < first + segment, 31),
        ("bfly", LANES ^ step, (LANES ^ step) < first + segment, 31),
        ("idx", first + step % segment, LANES >= 0, 31),
    ]:
        taken, is_inside = shuffled(mode, step, limits | clamp)
        assert (taken == VALUES[numpy.where(inside, source, LANES)]).all(), mode
        assert (is_inside == inside).all(), mode


def test_a_lane_that_takes_no_part_has_nothing_to_give():
    body = f"{load(0, 'b32')} setp.ge.u32 %p, %t, 16; @%p bra END; shfl.sync.bfly.b32 %x, %v0, 16, 31, 0xffff;\nEND:"
    with pytest.raises(
        SimulationError, match=r"line .*shfl.sync.bfly.b32: thread 0 of block 0 takes the value of lane 16"
    ):
        run(body, VALUES.copy())


def test_halves_of_a_warp_exchange_apart():
    """Each half its own mask, in a branch of its own."""
    found = numpy.zeros(32, "u4")
    body = f"""{load(0, "b32")}
    setp.ge.u32 %p, %t, 16;
    @%p bra UPPER;
    shfl.sync.bfly.b32 %x, %v0, 1, 31, 0x0000ffff;
    bra END;
    UPPER: shfl.sync.bfly.b32 %x, %v0, 2, 31, 0xffff0000;
    END: """
    run(body + store(1, "b32", "%x"), VALUES.copy(), found)
    assert (found == VALUES[numpy.where(LANES < 16, LANES ^ 1, LANES ^ 2)]).all()


def test_lanes_wait_for_those_of_their_mask():
    """The upper half comes late to the instruction that the lower half waits at."""
    found = numpy.zeros(32, "u4")
    body = f"""{load(0, "b32")}
    setp.ge.u32 %p, %t, 16;
    mov.u32 %n, 0;
    @!%p bra MEET;
    LOOP: add.s32 %n, %n, 1; setp.lt.s32 %q, %n, %t; @%q bra LOOP;
    MEET: shfl.sync.bfly.b32 %x, %v0, 31, 31, 0xffffffff;
    """
    run(body + store(1, "b32", "%x"), VALUES.copy(), found)
    assert (found == VALUES[::-1]).all()


VOTES = {"ballot.b32": lambda yes: sum(1 << k for k in range(32) if yes[k]), "any.pred": any, "all.pred": all}
VOTES |= {"uni.pred": lambda yes: all(yes) or not any(yes)}


@pytest.mark.parametrize("mode", VOTES)
@pytest.mark.parametrize("least", [0, 5, 99])
@pytest.mark.parametrize("sign", ["", "!"])
def test_votes(mode, least, sign):
    found = numpy.zeros(32, "u4")
    kind = mode.split(".")[1]
    body = f"setp.ge.u32 %p, %t, {least}; vote.sync.{mode} %x, {sign}%p, 0xffffffff;"
    run(body + store(0, kind, "%x"), found)
    yes = (least <= LANES) != (sign == "!")
    assert (found == VOTES[mode](yes)).all()


REDUCTIONS = {"add": numpy.add, "min": numpy.minimum, "max": numpy.maximum, "and": numpy.bitwise_and}
REDUCTIONS |= {"or": numpy.bitwise_or, "xor": numpy.bitwise_xor}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("kind", ["s32", "u32"])
def test_reductions_of_a_warp(name, kind):
    kind = kind if name in ("add", "min", "max") else "b32"
    values = (VALUES * 2654435761).astype("u4").view("i4" if kind == "s32" else "u4")
    found = numpy.zeros_like(values)
    run(f"{load(0, kind)} redux.sync.{name}.{kind} %x, %v0, 0xffffffff;{store(1, kind, '%x')}", values, found)
    assert (found == REDUCTIONS[name].reduce(values, dtype=values.dtype)).all()


def test_lanes_that_are_active():
    found = numpy.zeros(32, "u4")
    run(f"setp.lt.u32 %p, %t, 3; @%p bra IN; ret; IN: activemask.b32 %x;{store(0, 'b32', '%x')}", found)
    assert found[:4].tolist() == [7, 7, 7, 0]


@pytest.mark.parametrize("sign", ["", "!"])
def test_barriers_with_a_result(sign):
    """Of 80 threads, two and a half warps."""
    yes = (numpy.arange(80) % 3 == 0) != (sign == "!")
    count, some, every = (numpy.zeros(80, "u4") for _ in range(3))
    body = f"""rem.u32 %m, %t, 3; setp.eq.u32 %p, %m, 0;
    bar.red.popc.u32 %x, 0, {sign}%p;
    bar.red.or.pred %q, 0, {sign}%p;
    bar.red.and.pred %s, 0, {sign}%p;"""
    run(body + store(0, "b32", "%x") + store(1, "pred", "%q") + store(2, "pred", "%s"), count, some, every, threads=80)
    assert (count == yes.sum()).all() and (some == 1).all() and (every == 0).all()


@pytest.mark.parametrize("transposed", [False, True])
def test_matrices(transposed):
    """Four of 8 x 8: lane k of a store has row k % 8 of matrix k / 8, and its registers two elements of each."""
    mode = ".trans" if transposed else ""
    elements = numpy.arange(256, dtype="u2")
    held, moved, back = (numpy.zeros(256, "u2") for _ in range(3))
    held[:] = elements
    body = f"""mad.wide.u32 %e, %t, 16, %a0;
    ld.global.v4.b32 {{%r0, %r1, %r2, %r3}}, [%e];
    mov.u32 %s, matrices; shl.b32 %o, %t, 4; add.s32 %s, %s, %o;
    stmatrix.sync.aligned.m8n8.x4{mode}.shared.b16 [%s], {{%r0, %r1, %r2, %r3}};
    bar.sync 0;
    ld.shared.v4.b32 {{%q0, %q1, %q2, %q3}}, [%s];
    mad.wide.u32 %f, %t, 16, %a1;
    st.global.v4.b32 [%f], {{%q0, %q1, %q2, %q3}};
    ldmatrix.sync.aligned.m8n8.x4{mode}.shared.b16 {{%b0, %b1, %b2, %b3}}, [%s];
    mad.wide.u32 %g, %t, 16, %a2;
    st.global.v4.b32 [%g], {{%b0, %b1, %b2, %b3}};"""
    run(body, held, moved, back, declarations=".shared .align 16 .b8 matrices[512];")
    fragments = held.reshape(32, 4, 2).transpose(1, 0, 2)  # matrix, lane, half
    matrices = fragments.reshape(4, 8, 8)
    assert (moved.reshape(4, 8, 8) == (matrices.transpose(0, 2, 1) if transposed else matrices)).all()
    assert (back == held).all()


@pytest.mark.parametrize("written", ["%l", "%t"])
def test_two_warps_may_store_the_same_matrix(written):
    """As Triton's warps do where there are more of them than of its matrices; another one is a race."""
    body = f"""mov.u32 %s, matrices; and.b32 %l, %t, 31; and.b32 %o, %t, 7; shl.b32 %o, %o, 4; add.s32 %s, %s, %o;
    stmatrix.sync.aligned.m8n8.x1.shared.b16 [%s], {{{written}}};"""
    if written == "%l":
        run(body, threads=64, declarations=".shared .align 16 .b8 matrices[128];")
        return
    with pytest.raises(SimulationError, match="nothing orders them: a race"):
        run(body, threads=64, declarations=".shared .align 16 .b8 matrices[128];")
