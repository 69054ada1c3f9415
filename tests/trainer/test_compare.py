"""`yolox-ops compare-assigners`: from words to runs, and from runs to tables and a picture."""

import csv
import json
import re
import shutil
import statistics

import pytest
import torch
from matplotlib.image import imread
from scenes import random_scene

from yolox_ops import simota
from yolox_ops.cli import main
from yolox_ops.trainer.compare.plot import STYLES, draw_comparison
from yolox_ops.trainer.compare.result import Result
from yolox_ops.trainer.compare.runs import Run
from yolox_ops.trainer.compare.settings import Settings, machine
from yolox_ops.trainer.compare.tables import write_tables
from yolox_ops.trainer.evaluate import AveragePrecision
from yolox_ops.trainer.train import trainer
from yolox_ops.trainer.train.log import read
from yolox_ops.trainer.train.recipe import digits_recipe
from yolox_ops.trainer.train.trainer import Trainer
from yolox_ops.trainer.train.watch import Watched
from yolox_ops.yolox.assigners import center

# Six epochs of two steps, every second one evaluated.
WORDS = (
    *("--size", "64", "--count", "4", "--val-count", "4", "--epochs", "6", "--batch", "2", "--lr", "0.02"),
    *("--threads", "1", "--no-progress"),
)
BOTH = ("--assigners", "simota", "center", "--seeds", "3", "5")
CPU = torch.device("cpu")
SETTINGS = Settings(6, 8, 4, "64x96", "yolox_nano", 4, 0.02, "cpu", 0, 2, "2.11.0", "4 cores of a machine")


def compare(out, *words):
    """The command, without what takes the longest in a short run: evaluations and checkpoints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "evaluate", precision)
        patch.setattr(trainer, "save_atomically", lambda content, path, **_: path.touch())
        assert main(["compare-assigners", "--out", str(out), *WORDS, *words]) == 0


def precision(run):
    """AP and AP50 that tell the run and its epoch."""
    ap = run.step / 100 + run.recipe.seed / 1000 + (0.5 if run.recipe.assigner == "center" else 0)
    return AveragePrecision(ap, ap + 0.25, *[0.0] * 10)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(row):
    return {name: float(value) for name, value in row.items() if name != "assigner"}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a comparison. Tests leave it as it is."""
    out = tmp_path_factory.mktemp("compared")
    threads = torch.get_num_threads()
    compare(out, *BOTH)
    torch.set_num_threads(threads)
    return out


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_row_for_each_run(done):
    found = [numbers(row) | {"assigner": row["assigner"]} for row in rows(done / "assigners.csv")]
    assert [(row["assigner"], row["seed"]) for row in found] == [
        ("simota", 3),
        ("simota", 5),
        ("center", 3),
        ("center", 5),
    ]
    assert [row["AP"] for row in found] == pytest.approx([0.123, 0.125, 0.623, 0.625])
    for row in found:
        assert row["AP50"] == pytest.approx(row["AP"] + 0.25)
        steps = read(done / "runs" / f"{row['assigner']}-{row['seed']:.0f}" / "steps.csv")
        # By the trainer's own count, which it makes at the end of each epoch and at step 10, the end of the fifth.
        assert [step["step"] for step in steps] == [2, 4, 6, 8, 10, 12]
        ends = steps[0]["positives_per_gt"], steps[-1]["positives_per_gt"]
        assert (row["positives_per_gt_first"], row["positives_per_gt_last"]) == pytest.approx(ends)
        step = statistics.median(step["seconds_per_step"] for step in steps)
        assert row["ms_per_step"] == pytest.approx(1e3 * step)
        assert row["share_of_step"] == pytest.approx(row["ms_per_assignment"] / row["ms_per_step"])
        assert 0.001 < row["ms_per_assignment"] < row["ms_per_step"] and 12 * step / 2 < row["seconds"] < 60
    assert all(0 < row["positives_per_gt_last"] <= 1 for row in found[2:])


def test_one_row_for_each_run_and_epoch(done):
    found = rows(done / "epochs.csv")
    assert len(found) == 24 and [int(row["epoch"]) for row in found] == 4 * [1, 2, 3, 4, 5, 6]
    for row in found:
        folder = done / "runs" / f"{row['assigner']}-{row['seed']}"
        step = read(folder / "steps.csv")[int(row["epoch"]) - 1]
        assert float(row["positives_per_gt"]) == pytest.approx(step["positives_per_gt"])
        kept = {epoch["epoch"]: epoch for epoch in read(folder / "epochs.csv")}
        assert set(kept) == {2, 4, 6}
        for name in ("AP", "AP50"):
            expected = format(kept[int(row["epoch"])][name], ".9g") if int(row["epoch"]) in kept else ""
            assert row[name] == expected


def test_assigners_take_turns_and_leave_these_files(done, tmp_path, capsys):
    (tmp_path / "again").symlink_to(done)
    compare(tmp_path / "again", *BOTH)
    lines = [line.partition(":")[0:3:2] for line in capsys.readouterr().out.splitlines() if " of 4:" in line]
    assert [words.split(":")[0] for _, words in lines] == [
        " simota, seed 3",
        " center, seed 3",
        " simota, seed 5",
        " center, seed 5",
    ]
    files = {"assigners.csv", "assigners.md", "assigners.png", "epochs.csv", "settings.json", "runs"}
    assert {path.name for path in done.iterdir()} == files
    kept = {path.name for path in (done / "runs" / "center-5").iterdir()}
    assert kept == {"best.pt", "epochs.csv", "result.json", "steps.csv", "tensorboard"}
    picture = imread(done / "assigners.png")
    assert picture.shape == (418, 1430, 4) and picture.std() > 0.1


def test_finished_runs_are_not_repeated(done, tmp_path, monkeypatch):
    """Of a comparison that was cut short in its third run, that one and the fourth are trained."""
    done = shutil.copytree(done, tmp_path / "done")
    before = contents(done)
    monkeypatch.setattr(Trainer, "run", None)
    compare(done, *BOTH)
    assert {p: b for p, b in contents(done).items() if p.suffix != ".png"} == {
        p: b for p, b in before.items() if p.suffix != ".png"
    }
    compare(done, "--assigners", "center", "--seeds", "5")
    assert [(row["assigner"], row["seed"]) for row in rows(done / "assigners.csv")] == [("center", "5")]
    compare(done, *BOTH)
    monkeypatch.undo()

    cut = tmp_path / "cut"
    for path, content in before.items():
        if path.parts[:2] not in {("runs", "center-5"), ("runs", "simota-5")} or path.name == "steps.csv":
            (cut / path).parent.mkdir(parents=True, exist_ok=True)
            (cut / path).write_bytes(content)
    trained = []
    run = Trainer.run
    monkeypatch.setattr(Trainer, "run", lambda self, **kw: trained.append(self.recipe) or run(self, **kw))
    compare(cut, *BOTH)
    assert [(recipe.assigner, recipe.seed) for recipe in trained] == [("simota", 5), ("center", 5)]
    timed = ("ms_per_assignment", "ms_per_step", "share_of_step", "seconds")
    for name in ("assigners.csv", "epochs.csv"):
        same = [
            [{k: v for k, v in row.items() if k not in timed} for row in rows(folder / name)] for folder in (cut, done)
        ]
        assert same[0] == same[1]


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda text: text[:40], "got "),
        (lambda text: "[]", "got .* must be a mapping"),
        (lambda text: text.replace('"seed"', '"sead"'), "got .* unexpected keyword argument 'sead'"),
        (lambda text: re.sub('"ap": [^,]*', '"ap": "high"', text), "got Unknown format code 'f'"),
        (lambda text: re.sub('"step_ms": [^,]*', '"step_ms": null', text), "got unsupported format string"),
    ],
    ids=["cut", "list", "name", "text", "null"],
)
def test_a_damaged_result_is_refused(done, tmp_path, change, fact):
    done = shutil.copytree(done, tmp_path / "done")
    path = done / "runs" / "center-5" / "result.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(SystemExit, match=rf"^yolox-ops: {path} must be the result of a run, .* {fact}"):
        compare(done, *BOTH)


def test_other_settings_are_refused(done, monkeypatch):
    monkeypatch.setattr(Trainer, "run", None)
    words = (
        r"compared.* must hold a comparison with epochs 7, lr 0\.1, got epochs 6, lr 0\.02: --out names another folder"
    )
    with pytest.raises(SystemExit, match=words):
        compare(done, *BOTH, "--epochs", "7", "--lr", "0.1")
    held = json.loads((done / "settings.json").read_text())
    assert held["threads"] == 1 and held["torch"] == torch.__version__ and held["machine"] == machine(CPU)
    assert held["size"] == "64x64" and "cores of " in held["machine"]


def test_runs_differ_by_assigner_and_seed_alone():
    runs = [Run.of(SETTINGS, name, seed) for name in ("simota", "center") for seed in (3, 5)]
    for run, (name, seed) in zip(runs, [("simota", 3), ("simota", 5), ("center", 3), ("center", 5)], strict=True):
        options = {"model": "yolox_nano", "height": 64, "width": 96, "batch": 4, "lr": 0.02}
        assert run.recipe == digits_recipe(epochs=6, seed=seed, assigner=name, **options)
        assert (run.train.split, len(run.train), run.val.split, len(run.val)) == ("train", 8, "val", 4)
        assert (run.train.height, run.train.width, run.train.seed, run.val.seed) == (64, 96, seed, seed)


def result(assigner, seed, ap, positives, assignment_ms=2.0):
    return Result(assigner, seed, ap, ap + 0.1, assignment_ms, 50.0, 9.0, [None, ap], [None, ap + 0.1], positives)


def test_tables(tmp_path):
    results = [
        result("ota", 0, 0.5, [8.0, 6.0]),
        result("center", 0, 0.25, [1.0, 1.0], 0.5),
        result("ota", 1, 0.75, [9.0, 4.0], 6.0),
        result("ota", 2, 0.7, [10.0, 5.0], 3.0),
    ]
    table = write_tables(tmp_path, results, SETTINGS, SETTINGS.command(["ota", "center"], [0, 1, 2]))
    assert table.splitlines()[2:] == [
        "| ota | 0.650 (0.500 to 0.750) | 0.750 | 9.00 → 5.00 | 3 | 6.00% |",
        "| center | 0.250 (0.250 to 0.250) | 0.350 | 1.00 → 1.00 | 0.5 | 1.00% |",
    ]
    text = (tmp_path / "assigners.md").read_text()
    assert text.startswith(table + "\n\nAP and AP50")
    assert text.endswith(
        "```\nyolox-ops compare-assigners --assigners ota center --seeds 0 1 2 --epochs 6 --count 8 --val-count 4 "
        "--size 64x96 --model yolox_nano --batch 4 --lr 0.02 --device cpu --workers 0 --threads 2\n```\n\n"
        "torch 2.11.0, 4 cores of a machine, 2 threads; seeds 0, 1, 2.\n"
    )


def test_the_picture_tells_assigners_apart(tmp_path):
    """Each has its colour, also where a run has one epoch and one seed."""
    assert len({color for color, _, _ in STYLES.values()}) == len({marker for _, marker, _ in STYLES.values()}) == 4
    draw_comparison(tmp_path, [result(name, 0, 0.5 + i / 10, [i + 1.0]) for i, name in enumerate(STYLES)])
    picture = (imread(tmp_path / "assigners.png")[..., :3] * 255).round().astype(int)
    for color, _, _ in STYLES.values():
        rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert (picture == rgb).all(-1).sum() > 500, color


def test_watched_counts_positives_and_seconds():
    watched, scenes = Watched(simota), [random_scene(counts, seed=3) for counts in ((3, 0), (5, 1), (0, 0), (0, 0))]
    for scene in scenes:
        torch.testing.assert_close(watched(*scene), simota(*scene), rtol=0, atol=0)
    positives = [int(simota(*scene).num_fg.sum()) for scene in scenes]
    assert len(watched.seconds) == 4 and min(watched.seconds) > 0
    assert watched.positives_per_gt(2) == [sum(positives) / 9, 0]
    assert watched.positives_per_gt(4) == [positives[0] / 3, positives[1] / 6, 0, 0]
    once = Watched(center)
    once(*scenes[0])
    assert [count.tolist() for count in once.counts] == [[int(center(*scenes[0]).num_fg.sum()), 3]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lr", "-1"], "yolox-ops: lr must be at least 0, got -1.0"),
        (["--seeds", "-1"], "argument --seeds: must be an integer of at least 0, got '-1'"),
        (["--size", "32"], "yolox-ops: height must be at least 64, got 32"),
        (["--assigners", "atss"], "argument --assigners: invalid choice: 'atss'"),
        (["--threads", "0"], "argument --threads: must be a positive integer, got '0'"),
    ],
)
def test_user_errors_end_with_a_message(words, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        main(["compare-assigners", "--out", str(tmp_path / "out"), *words])
    assert message in str(error.value) + capsys.readouterr().err and not (tmp_path / "out").exists()
