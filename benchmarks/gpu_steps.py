"""What each step of speeding up training on a GPU is worth, in images per second.

Command:  uv run python -m benchmarks.gpu_steps [--rounds 5] [--processes 1]
For a case of `train_loop` each row adds one step to the one above: images from the host, images
kept on the GPU, bf16 with channels last. (Adam is fused in all; the last row takes that away.)

Several trials on one GPU: run with `--processes 2` and 4, and add up what the processes print.
Ray's fractions of a GPU only place processes. What overlaps them is NVIDIA MPS; to compare, start
its daemon before (`nvidia-cuda-mps-control -d`) and stop it after
(`echo quit | nvidia-cuda-mps-control`).
"""

import argparse
import multiprocessing
import sys
from dataclasses import dataclass
from itertools import pairwise
from unittest.mock import patch

import torch

from benchmarks.tables import print_table
from benchmarks.train_loop import CASES, Case, random_data
from toprung.trainables.recipe.optimizers import Adam
from toprung.trainables.training import image_inputs
from toprung.trainables.training.fit import fit

EPOCH_FACTOR = 10
"""A GPU needs longer epochs than a CPU's to be timed."""


@dataclass(frozen=True)
class Step:
    """A way to train: with images kept on the GPU or not, and so on."""

    name: str
    resident: bool
    precision: str
    fused: bool = True


STEPS = (
    Step("images from the host, fp32", resident=False, precision="fp32"),
    Step("+ images on the GPU", resident=True, precision="fp32"),
    Step("+ bf16, channels last", resident=True, precision="auto"),
    Step("the same without the fused optimizer", resident=True, precision="auto", fused=False),
)


def speeds(case: Case, step: Step, num_rounds: int) -> list[float]:
    """Images per second of each epoch after the first."""
    data = random_data(case)
    seconds: list[float] = []
    with (
        patch.object(
            image_inputs, "RESIDENT_SHARE", image_inputs.RESIDENT_SHARE if step.resident else 0
        ),
        patch.object(Adam, "has_fused_step", step.fused),
    ):
        for validation in fit(case.config(step.precision), data, torch.device("cuda")):
            seconds.append(validation.record.seconds)
            if len(seconds) > num_rounds:
                break
    epochs = [after - before for before, after in pairwise(seconds)]
    return [case.num_images / epoch for epoch in epochs]


def measure(num_rounds: int) -> None:
    """Print a table for each case, the steps in the order of `STEPS`."""
    for case in CASES:
        longer = Case(case.name, case.model, case.shape_HWC, case.num_images * EPOCH_FACTOR)
        rows = {step.name: speeds(longer, step, num_rounds) for step in STEPS}
        print_table(f"Training on a GPU, {case.name}, images/s", rows)


def main() -> None:
    """Measure in so many processes at once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each step")
    parser.add_argument("--processes", type=int, default=1, help="how many measure at once")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("gpu_steps: torch sees no CUDA GPU on this machine; nothing was measured")
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=measure, args=(options.rounds,)) for _ in range(options.processes)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode != 0 for process in processes):
        sys.exit("gpu_steps: a process failed; its error is above")


if __name__ == "__main__":
    main()
