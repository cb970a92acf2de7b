"""All benchmarks, one after another.

Command:  uv run python -m benchmarks --images FOLDER --weights FILE [--quick]

FOLDER has a folder for each class, FILE is SqueezeNet 1.0's state dict as torchvision names it.
Without a path, the benchmarks that need it are left out, and it says which; so are `gpu_steps` and
`gpu_packing` where torch sees no CUDA GPU. Each can also be run by itself, with options of its own:
`uv run python -m benchmarks.small_sweep --help`.
"""

import argparse
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Benchmark:
    """One of the benchmarks.

    Attributes:
        name: of its module.
        quick: the options that make it smallest.
        needs: the paths that it takes, each by an option of this name.
        options: those that it is always run with.
        needs_gpu: it can run only where torch sees a CUDA GPU.
    """

    name: str
    quick: tuple[str, ...]
    needs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    needs_gpu: bool = False

    def missing(self, paths: Collection[str]) -> list[str]:
        """What it needs and does not have, where paths of these names are given."""
        found = [f"--{name}" for name in self.needs if name not in paths]
        return found + ["a CUDA GPU"] * (self.needs_gpu and not torch.cuda.is_available())

    def command(self, paths: dict[str, Path], *, quick: bool) -> list[str]:
        """How it is run."""
        given = [*self.options, *(f"--{name}={paths[name]}" for name in self.needs)]
        return [sys.executable, "-m", f"benchmarks.{self.name}", *given, *self.quick * quick]


BENCHMARKS = (
    Benchmark("data_store", ("--image-size=32", "--pairs=1"), needs=("images",)),
    Benchmark("pixel_hashes", ("--image-size=32", "--rounds=1"), needs=("images",)),
    Benchmark("train_loop", ("--rounds=1",)),
    Benchmark("small_sweep", ("--pairs=1",)),
    Benchmark("small_sweep", ("--pairs=1",), options=("--fixed",)),
    Benchmark("overhead", ("--counts=100",)),
    Benchmark("cluster_scale", ("--trials=40", "--places=2", "--study-sizes=100")),
    Benchmark(
        "frozen_sweep",
        ("--image-size=32", "--trials=2", "--epochs=1", "--pairs=1"),
        needs=("images", "weights"),
    ),
    Benchmark("gpu_steps", ("--rounds=1",), needs_gpu=True),
    Benchmark("gpu_packing", ("--rounds=1", "--most=2"), needs_gpu=True),
)


def main() -> None:
    """Run them; the exit code is 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="a folder of class folders")
    parser.add_argument("--weights", type=Path, help="squeezenet1_0's state dict")
    parser.add_argument("--quick", action="store_true", help="each at its smallest size")
    given = parser.parse_args()
    paths = {name: path for name in ("images", "weights") if (path := getattr(given, name))}
    failed = []
    for benchmark in BENCHMARKS:
        if missing := benchmark.missing(paths):
            print(f"{benchmark.name}: left out, needs {' and '.join(missing)}\n", flush=True)
            continue
        print(" ".join([benchmark.name, *benchmark.options]) + ":", flush=True)
        if subprocess.run(benchmark.command(paths, quick=given.quick)).returncode != 0:
            failed.append(benchmark.name)
        print(flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
