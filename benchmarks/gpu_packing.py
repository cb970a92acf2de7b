"""How much of a GPU trials need, as predicted and really; and what packing them is worth.

Command:  uv run python -m benchmarks.gpu_packing [--rounds 5] [--most 8]
For each of three cases of `train_loop`:

- Memory: what `--gpus-per-trial auto` measures by a dry step (`memory_estimate`), what it takes
  it for with its margin, and what a trial of several epochs really takes at its peak.
- Throughput: images per second of 1, 2, 4 … trials that train at a time on one GPU, summed, as many
  as the measurement lets on it. The trials begin together and are timed after their first epoch.

Everything that touches the GPU runs in a process of its own, because CUDA gives its memory back
only when a process ends.
"""

import argparse
import multiprocessing
import sys
from itertools import pairwise
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import Any

import torch

from benchmarks.gpu_steps import EPOCH_FACTOR
from benchmarks.tables import print_table
from benchmarks.train_loop import CASES, NUM_CLASSES, NUM_VALIDATION, Case, random_data
from toprung.cluster.placement.packing import MARGIN, fitting
from toprung.trainables.training.fit import fit
from toprung.trainables.training.memory_estimate import DataSize, MemoryNeeded, measure

MEASURED = CASES[1:]
_MIB = 2**20
_CONTEXT = multiprocessing.get_context("spawn")


def predict(case: Case, answers: "Queue[Any]") -> None:
    """In a process of its own: what a sweep would find out before it begins."""
    size = DataSize(case.num_images, NUM_VALIDATION, NUM_CLASSES)
    answers.put(measure(case.config("auto"), size))


def train(case: Case, num_epochs: int, together: Barrier, answers: "Queue[Any]") -> None:
    """In a process of its own: the trial's peak in bytes, CUDA's own, images/s of each epoch."""
    device, seconds = torch.device("cuda"), []
    for validation in fit(case.config("auto"), random_data(case), device):
        seconds.append(validation.record.seconds)
        if len(seconds) == 1:
            together.wait()
        if len(seconds) > num_epochs:
            break
    free, whole = torch.cuda.mem_get_info(device)
    speeds = [case.num_images / (after - before) for before, after in pairwise(seconds)]
    own = whole - free - torch.cuda.memory_reserved(device)
    answers.put((torch.cuda.max_memory_reserved(device), own, speeds))


def in_processes(function: Any, number: int, *arguments: Any) -> list[Any]:
    """What so many processes at a time answer."""
    answers: Queue[Any] = _CONTEXT.Queue()
    processes = [
        _CONTEXT.Process(target=function, args=(*arguments, answers)) for _ in range(number)
    ]
    for process in processes:
        process.start()
    found = [answers.get(timeout=1800) for _ in processes]
    for process in processes:
        process.join()
    return found


def report(case: Case, num_epochs: int, most: int) -> None:
    """Print both tables for a case."""
    (needed,) = in_processes(predict, 1, case)
    assert isinstance(needed, MemoryNeeded)
    numbers = [number for number in (1, 2, 4, 8, 16, 32) if number <= min(most, fitting(needed))]
    speeds: dict[str, list[float]] = {}
    for number in numbers:
        trials = in_processes(train, number, case, num_epochs, _CONTEXT.Barrier(number))
        if number == 1:
            peak, own, _ = trials[0]
            memory = {
                "predicted, torch's": [needed.trial / _MIB],
                f"… with the margin of {MARGIN:g}": [needed.trial * MARGIN / _MIB],
                "really, torch's peak": [peak / _MIB],
                "predicted, CUDA's own": [needed.cuda / _MIB],
                "really, CUDA's own": [own / _MIB],
            }
            print_table(f"Memory of a trial, {case.name}, MiB", memory)
        epochs = zip(*(speed for _, _, speed in trials), strict=True)
        speeds[f"{number} at a time"] = [sum(epoch) for epoch in epochs]
    fit_on = f"{fitting(needed)} fit on {needed.gpu / 2**30:.1f} GiB"
    print_table(f"Trials on one GPU together, {case.name} ({fit_on}), images/s", speeds)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each trial")
    parser.add_argument("--most", type=int, default=8, help="trials at a time, at the most")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("gpu_packing: torch sees no CUDA GPU on this machine; nothing was measured")
    for case in MEASURED:
        longer = Case(case.name, case.model, case.shape_HWC, case.num_images * EPOCH_FACTOR)
        report(longer, options.rounds, options.most)


if __name__ == "__main__":
    main()
