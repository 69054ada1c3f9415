"""What all runs of a comparison share, so that results can be kept and compared."""

import dataclasses
import json
import os
import platform
from pathlib import Path

import torch

from yolox_ops._files import written_whole


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options of the command but for assigners and seeds, and where it runs."""

    epochs: int
    count: int
    val_count: int
    size: str
    model: str
    batch: int
    lr: float
    device: str
    workers: int
    threads: int
    torch: str
    machine: str

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width."""
        height, width = map(int, self.size.split("x"))
        return height, width

    def command(self, assigners: list[str], seeds: list[int]) -> str:
        """The words that repeat the comparison."""
        options = {"assigners": " ".join(assigners), "seeds": " ".join(map(str, seeds))} | dataclasses.asdict(self)
        del options["torch"], options["machine"]
        return " ".join(["yolox-ops compare-assigners", *(f"--{k.replace('_', '-')} {v}" for k, v in options.items())])

    def hold(self, path: Path) -> None:
        """Writes the settings into a file, which may be there with the same ones.

        Raises:
            ValueError: it has others, whose results are no part of this comparison.
        """
        mine = dataclasses.asdict(self)
        if not path.exists():
            with written_whole(path) as temporary:
                temporary.write_text(json.dumps(mine, indent=2) + "\n")
            return
        held = json.loads(path.read_text())
        differing = [name for name in {**mine, **held} if mine.get(name) != held.get(name)]
        if differing:
            there, here = (", ".join(f"{name} {of.get(name)}" for name in differing) for of in (held, mine))
            raise ValueError(
                f"{path.parent} must hold a comparison with {here}, got {there}: --out names another folder"
            )


def machine(device: torch.device) -> str:
    """The device's name, and for a CPU how many cores this process may use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(os.sched_getaffinity(0))} cores of {names[0] if names else platform.machine()}"
