"""Files that are there whole or not at all, and what becomes of checkpoints that are broken all the same."""

import errno
import os

import pytest
import torch
from runs import checkpoint, equal, trainer

from yolox_ops._files import UNFINISHED, remove_unfinished, written_whole
from yolox_ops.trainer.train.state import last_saved, save_atomically
from yolox_ops.yolox import load_checkpoint, yolox_nano
from yolox_ops.yolox.checkpoint_file import SEAL, read_checkpoint


def test_what_killed_writers_leave_is_removed(tmp_path):
    path = tmp_path / "file"
    with written_whole(path) as temporary:
        temporary.write_text("whole")
        left = tmp_path / f"{UNFINISHED}left"
        left.mkdir()
        (left / "file").touch()
        remove_unfinished(tmp_path)
        assert temporary.exists() and not left.exists()
    assert os.listdir(tmp_path) == ["file"] and path.read_text() == "whole"


@pytest.mark.parametrize("links", [True, False])
def test_the_previous_file_is_kept(tmp_path, monkeypatch, links):
    if not links:  # as on file systems that have none

        def refuse(*_):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refuse)
    path, previous = tmp_path / "file", tmp_path / "previous"
    replace, there = os.replace, []

    def watched(old, new):
        replace(old, new)
        there.append(path.exists())

    monkeypatch.setattr(os, "replace", watched)
    for text in ("one", "two", "three"):
        with written_whole(path, previous=previous) as temporary:
            temporary.write_text(text)
    assert (path.read_text(), previous.read_text()) == ("three", "two")
    assert there == [True, links, True, links, True]  # by a link the file is there at every moment
    assert sorted(os.listdir(tmp_path)) == ["file", "previous"]


CONTENT = {"model": {f"weight{i}": torch.arange(40.0) + i for i in range(3)}, "names": ["a", "b"], "step": 7}


def test_flipped_bits_are_refused(tmp_path):
    """A bit of every fifth byte, but for those that announce a checksum: without it the content is the same."""
    path = tmp_path / "last.pt"
    save_atomically(CONTENT, path)
    data, passed = path.read_bytes(), []
    for position in range(0, len(data), 5):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        try:
            content = read_checkpoint(path)
        except ValueError as error:
            assert str(error).startswith(f"{path} must be a whole file of torch.save, got "), error
        else:
            assert equal(content, CONTENT)
            passed.append(position)
    seal = data.index(SEAL)
    assert passed == [i for i in range(seal, seal + len(SEAL)) if i % 5 == 0]


@pytest.mark.parametrize("place", [b"PK\x01\x02", b"PK\x03\x04", b"weight1", b"\x00\x00\x24\x42"])
def test_flipped_bits_of_files_without_a_checksum(tmp_path, place):
    """As another trainer's: torch.save's own checksums of records are looked at."""
    path = tmp_path / "other.pth"
    torch.save(CONTENT, path)
    assert equal(read_checkpoint(path), CONTENT)
    data = bytearray(path.read_bytes())
    data[data.index(place) + 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"other\.pth must be a whole file of torch\.save, got \w+: "):
        load_checkpoint(path, yolox_nano())


def test_truncated_files_are_refused(tmp_path):
    path = tmp_path / "last.pt"
    save_atomically(CONTENT, path)
    data = path.read_bytes()
    for size in range(0, data.index(SEAL), 31):
        path.write_bytes(data[:size])
        with pytest.raises(
            ValueError, match=r"last\.pt must be a whole file of torch\.save, got \w+(: .*[^.])?$"
        ) as error:
            read_checkpoint(path)
        assert len(str(error.value)) < len(str(path)) + 150  # torch goes on about what may have happened


@pytest.fixture
def saved_twice(tmp_path):
    """A run's folder with checkpoints of steps 1 and 2."""
    run = trainer(tmp_path)
    for run.step in (1, 2):
        run.save()
    return tmp_path


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


@pytest.mark.parametrize("fault", ["flipped", "truncated", "empty", "of something else", "gone"])
def test_a_broken_checkpoint_is_passed_over(saved_twice, capsys, fault):
    last, previous = saved_twice / "last.pt", saved_twice / "previous.pt"
    if fault == "flipped":
        flip(last)
    elif fault == "gone":
        last.unlink()
    elif fault == "of something else":
        torch.save({"model": {}}, last)
    else:
        os.truncate(last, 1_000_000 if fault == "truncated" else 0)
    run = trainer(saved_twice, resume=True)
    said = capsys.readouterr().err
    assert run.step == 1 and str(last) in said and f"going on from {previous}, at step 1" in said
    if fault == "flipped":
        assert "must be a whole file of torch.save, got ValueError: another content than its checksum is of;" in said
    run.step = 5
    run.save()
    assert checkpoint(saved_twice)["step"] == 5 and checkpoint(saved_twice, "previous.pt")["step"] == 1
    trainer(saved_twice, resume=True)
    assert capsys.readouterr().err == ""


def test_a_checkpoint_that_does_not_fit_into_memory_is_not_given_up(saved_twice, monkeypatch):
    def load(*_, **__):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(MemoryError, match=rf"{saved_twice}/last\.pt must fit into memory"):
        last_saved(saved_twice)


def test_a_checkpoint_that_is_a_link_keeps_its_file(saved_twice):
    (saved_twice / "last.pt").replace(saved_twice / "kept.pt")
    (saved_twice / "last.pt").symlink_to("kept.pt")
    run = trainer(saved_twice, resume=True)
    run.step = 3
    run.save()
    assert checkpoint(saved_twice)["step"] == 3
    assert checkpoint(saved_twice, "previous.pt")["step"] == checkpoint(saved_twice, "kept.pt")["step"] == 2


def test_two_broken_checkpoints_are_refused(saved_twice):
    flip(saved_twice / "last.pt")
    os.truncate(saved_twice / "previous.pt", 7)
    words = r"must hold a whole last\.pt or previous\.pt, got neither: .*/last\.pt must .*; .*/previous\.pt must "
    with pytest.raises(ValueError, match=words):
        last_saved(saved_twice)


def test_a_new_run_forgets_the_checkpoints_of_another(saved_twice):
    def interrupt(*_):
        raise KeyboardInterrupt

    run = trainer(saved_twice, assigner=interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.run(progress=False)
    run.save()
    assert {"last.pt", "previous.pt"} & set(os.listdir(saved_twice)) == {"last.pt"}
