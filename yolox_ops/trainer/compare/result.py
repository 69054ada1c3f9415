"""What a run of a comparison leaves."""

from typing import NamedTuple


class Result(NamedTuple):
    """The numbers of one run.

    Attributes:
        assigner, seed: which it is.
        ap, ap50: COCO's, at the end, of the averaged weights.
        assignment_ms, step_ms: median milliseconds of a call of the assigner, and of a step with all that is in it, the
            making of its batch too where no other process makes it.
        seconds: of the run, evaluations included.
        epoch_ap, epoch_ap50: of each epoch, None where it was not evaluated.
        positives_per_gt: of each epoch: all positives by all ground truths.
    """

    assigner: str
    seed: int
    ap: float
    ap50: float
    assignment_ms: float
    step_ms: float
    seconds: float
    epoch_ap: list[float | None]
    epoch_ap50: list[float | None]
    positives_per_gt: list[float]

    @property
    def share(self) -> float:
        """Of the assigner in a step."""
        return self.assignment_ms / self.step_ms

    def __str__(self) -> str:
        time = f"{self.assignment_ms:.2f} of {self.step_ms:.0f} ms to assign, {self.seconds:.0f} s"
        positives = f"{self.positives_per_gt[-1]:.1f} positives per gt"
        return f"{self.assigner}, seed {self.seed}: AP {self.ap:.3f}, AP50 {self.ap50:.3f}, {positives}, {time}"
