"""The training loop: YOLOX's recipe on this package's model, loss and ops."""

import dataclasses
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn
from tqdm import tqdm

from yolox_ops._arguments import check_count
from yolox_ops._files import remove_unfinished
from yolox_ops.assignment import Assignment
from yolox_ops.trainer.data.sample import Batch, Dataset
from yolox_ops.trainer.evaluate import AveragePrecision, average_precision, predict_records
from yolox_ops.trainer.train.batches import Plan, train_loader
from yolox_ops.trainer.train.learner import Learner
from yolox_ops.trainer.train.log import Log
from yolox_ops.trainer.train.means import LOSSES, Sums
from yolox_ops.trainer.train.ranks import Ranks
from yolox_ops.trainer.train.recipe import Recipe
from yolox_ops.trainer.train.skips import give_up, named
from yolox_ops.trainer.train.state import LAST, PREVIOUS, Saved, save_atomically, weights
from yolox_ops.yolox.model import YOLOX

LOG_EVERY = 10  # steps, and before a checkpoint


class Trainer:
    """One run in one folder, which nobody else may write to: whoever asks for a run does so while it has it `held`.

    The folder gets last.pt (all that `resume` needs), previous.pt (the one before it), best.pt (averaged weights of the
    best AP), steps.csv, epochs.csv and TensorBoard's files. A run that is killed, and resumed, ends as it would have
    without; SIGTERM and ctrl-C are such kills too.

    A step whose loss or gradient is NaN or infinite, in whatever process, is skipped in all of them: weights, momentum,
    averages and the norms' statistics stay as they are. It counts as a step, and in the column "skipped" of steps.csv.
    Under fp16 this goes by the loss alone; a gradient that its scale makes infinite is the scaler's to skip.

    A run that cannot write its folder (full disk, read-only) ends with an OSError that names the file: to go on would
    put more and more steps at stake. last.pt is the one before, whole, and `resume` goes on from it.

    Args:
        recipe: the numbers of the run.
        train, val: data sets of the same classes.
        folder: where the run is kept; made if need be.
        ranks: this process among those of the run, from `joined`.
        workers: processes that make batches, for each process of the run; 0: none but itself.
        resume: what to go on from, by `last_saved`: last.pt, or where its checksums tell that this is not whole,
            previous.pt, which is said; None: a new run.
        save_every: steps between checkpoints beside those at the end of each epoch; None: no others.
        assigner: of yolox_loss, in place of the recipe's; last.pt keeps the recipe's name alone.
        about: plain values kept in the checkpoint, such as where the data came from.
        max_nan_steps: so many skipped steps in a row end the run with a FloatingPointError, once each process has left
            its share of the last batch, and the weights, in nan_batch_<rank>.pt for a report.

    Raises:
        ValueError: a value does not fit, the data sets differ in classes, or what is gone on from is of another recipe
            or model, or of another step than in another process.
    """

    def __init__(
        self,
        recipe: Recipe,
        train: Dataset,
        val: Dataset,
        folder: Path,
        *,
        ranks: Ranks,
        workers: int = 2,
        resume: Saved | None = None,
        save_every: int | None = None,
        assigner: Callable[..., Assignment] | None = None,
        about: dict[str, Any] | None = None,
        max_nan_steps: int = 10,
    ) -> None:
        if tuple(train.class_names) != tuple(val.class_names):
            raise ValueError(f"train and val must have the same classes, got {train.class_names} and {val.class_names}")
        check_count("max_nan_steps", max_nan_steps, 1)
        self.recipe, self.train_set, self.val_set, self.folder, self.ranks = recipe, train, val, folder, ranks
        self.workers, self.save_every, self.about = workers, save_every, about or {}
        self.max_nan_steps = max_nan_steps
        self.step, self.evaluated, self.best = 0, 0, -math.inf
        self.sums = Sums(ranks)
        self.learner = Learner(recipe, len(train.class_names), ranks, assigner)
        self.resumed = resume is not None
        self.saved: int | None = None  # the step of last.pt, where that is this run's, and whole
        self.steps_an_epoch = Plan(recipe, len(train), ranks=ranks.ranks).steps_an_epoch
        self.steps = recipe.epochs * self.steps_an_epoch
        if resume is not None:
            self.load(resume)

    def run(self, *, progress: bool = True) -> None:
        """Trains to the end."""
        self.log = None
        if self.ranks.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_unfinished(self.folder)
            if not self.resumed:
                (self.folder / PREVIOUS).unlink(missing_ok=True)  # of another run
            self.log = Log(self.folder, self.step, self.evaluated)
        self.learner.set_mode()
        parallel = self.ranks.parallel(self.learner.model)
        if self.step > self.evaluated and self.step % self.steps_an_epoch == 0:
            self.end_epoch()  # which was interrupted
        plan = Plan(self.recipe, len(self.train_set), start=self.step, rank=self.ranks.rank, ranks=self.ranks.ranks)
        batches = train_loader(self.train_set, self.recipe, plan, workers=self.workers, device=self.ranks.device)
        bar = tqdm(
            total=self.steps,
            initial=self.step,
            unit="step",
            mininterval=0.1 if sys.stderr.isatty() else 10,  # seconds; a log file wants fewer
            disable=not (progress and self.ranks.first),
        )
        start, since = time.perf_counter(), self.step
        with bar:
            for batch in batches:
                sums = self.one_step(parallel, batch)
                self.step += 1
                self.count(sums)
                ends = self.step % self.steps_an_epoch == 0
                saves = ends or (self.save_every and self.step % self.save_every == 0)
                stops = self.learner.nan_steps >= self.max_nan_steps
                if saves or stops or self.step % LOG_EVERY == 0:
                    self.report((time.perf_counter() - start) / (self.step - since), bar)
                    start, since = time.perf_counter(), self.step
                bar.update()
                if stops:
                    give_up(self.folder, self.ranks, batch, sums, self.facts())
                if saves:
                    self.save()
                if ends:
                    self.end_epoch()
                    start = time.perf_counter()
        if self.learner.nan_steps and self.ranks.first:
            tqdm.write(f"the last {self.learner.nan_steps} steps were skipped: these are the weights from before them")
        if self.log is not None:
            self.log.close()

    def one_step(self, model: nn.Module, batch: Batch) -> Tensor:
        """Learner.step at the rate and with the losses that are due."""
        lr = self.recipe.learning_rate((self.step + 1) / self.steps_an_epoch)
        return self.learner.step(model, batch, lr=lr, l1=not self.recipe.augmented(self.step // self.steps_an_epoch))

    def count(self, sums: Tensor) -> None:
        """Adds a step to the means of the next report, or says aloud that it was skipped."""
        skipped = self.learner.nan_steps
        if not skipped:
            self.sums.add(sums)
            return
        self.sums.skipped += 1
        if self.ranks.first:
            words = f"{skipped} in a row of {self.max_nan_steps}; {named(sums)}"
            tqdm.write(f"step {self.step} is skipped, its loss or gradient is not finite: {words}")

    def facts(self) -> dict[str, Any]:
        """What a report of a skipped batch needs beside it. The weights are those that it met: they have not moved."""
        found = {"model": weights(self.learner.model), "settings": self.settings(), "skipped": self.learner.nan_steps}
        return found | {"recipe": dataclasses.asdict(self.recipe), "step": self.step}

    def report(self, seconds: float, bar: tqdm) -> None:
        """Writes the mean losses of all processes since the last report; `seconds` is what a step took."""
        losses, positives_per_gt, skipped = self.sums.take()
        if self.log is None:
            return
        epoch, lr = self.step / self.steps_an_epoch, self.learner.optimizer.param_groups[0]["lr"]
        self.log.add(self.log.steps, self.step, epoch, lr, *losses, positives_per_gt, seconds, skipped)
        shown = " ".join(f"{name} {loss:.2f}" for name, loss in zip(LOSSES, losses, strict=True) if loss)
        bar.set_postfix_str(f"epoch {epoch:.1f}, {shown}, {positives_per_gt:.1f} positives/gt", refresh=False)

    def end_epoch(self) -> None:
        """Evaluates the averaged weights, if it is time, and notes in last.pt that it is done."""
        epoch = self.step // self.steps_an_epoch - 1
        if self.recipe.evaluated(epoch):
            ap = self.evaluate()
            if self.log is not None and ap is not None:
                self.log.add(self.log.epochs, self.step, epoch + 1, *ap[:6])
                tqdm.write(f"epoch {epoch + 1}: AP {ap.ap:.4f}, AP50 {ap.ap50:.4f}, AP75 {ap.ap75:.4f}")
                if ap.ap > self.best:
                    self.best = ap.ap
                    content = {"model": weights(self.learner.average.module), "settings": self.settings()}
                    save_atomically(content | {"AP": ap.ap}, self.folder / "best.pt")
        self.evaluated = self.step
        self.save()

    def evaluate(self) -> AveragePrecision | None:
        """COCO's numbers for the averaged weights in the first process, None in the others."""
        self.ranks.share_first(self.learner.average)
        mine = range(self.ranks.rank, len(self.val_set), self.ranks.ranks)
        options: dict[str, Any] = {"height": self.recipe.height, "width": self.recipe.width}
        options |= {"amp": self.recipe.amp != "off", "workers": self.workers}
        model = cast(YOLOX, self.learner.average.module.eval())
        records = predict_records(model, self.val_set, mine, **options)
        gathered = self.ranks.gather(records["hard"])
        if gathered is None:
            return None
        return average_precision(self.val_set.coco(), [record for share in gathered for record in share])

    def settings(self) -> dict[str, Any]:
        """What `open_model` needs beside weights."""
        recipe, names = self.recipe, list(self.train_set.class_names)
        return {"model": recipe.model, "class_names": names, "height": recipe.height, "width": recipe.width}

    def save(self) -> None:
        """Writes last.pt, and makes previous.pt of the one of an earlier step. Not while steps are being skipped, but
        for the run's last: the update before may have ruined the weights."""
        if not self.ranks.first or (self.learner.nan_steps and self.step < self.steps):
            return
        content = self.learner.state() | {
            "settings": self.settings(),
            "step": self.step,
            "evaluated": self.evaluated,
            "best": self.best,
            "recipe": dataclasses.asdict(self.recipe),
            "about": self.about,
        }
        keeps = self.saved not in (None, self.step)
        save_atomically(content, self.folder / LAST, previous=self.folder / PREVIOUS if keeps else None)
        self.saved = self.step

    def load(self, saved: Saved) -> None:
        """Goes on from there, in all processes from the same step, or raises a ValueError."""
        if saved.recipe != self.recipe:
            raise ValueError(f"{saved.path} must be of this recipe, got {saved.recipe}")
        if saved.content["step"] > self.steps:
            raise ValueError(f"step in {saved.path} must be one of {self.steps}, got {saved.content['step']}")
        self.learner.load(saved)
        self.step, self.evaluated, self.best = (saved.content[name] for name in ("step", "evaluated", "best"))
        self.saved = None if saved.complaint else self.step
        if saved.complaint and self.ranks.first:
            print(saved.complaint, file=sys.stderr, flush=True)
        self.ranks.agree("step", self.step)
