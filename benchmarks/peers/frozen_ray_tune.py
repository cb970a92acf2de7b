"""Fine-tuning part of a pretrained network as an expert writes it by hand with Ray Tune: a peer.

The images are decoded once, by all CPUs, and shared through the object store as uint8. The frozen
part is in eval mode and runs without a graph; the network is channels_last (2.3 times as fast on a
CPU). Two trials at a time, with one CPU and one thread each, actors reused; a checkpoint of what
trains after each epoch. The best one is tested at the end.

With `--cache-features` the script also does what some would for this one case: the driver runs the
frozen part once over all images and shares what comes out.

It is given the splits and the configs to try, so that it does the work that another sweep did. It
writes a JSON file: its best validation accuracy, the test accuracy, and how many seconds its trials
took together.

Shape letters: N images, B batch, C channels, H height, W width.
"""

import argparse
import csv
import json
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"

import numpy as np
import ray
import torch
from PIL import Image
from ray import tune
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision import models

BATCH_SIZE = 32
CONCURRENCY = 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Arrays = dict[str, np.ndarray[Any, Any]]


def load(given: argparse.Namespace) -> Arrays:
    """The images of each split, x (uint8, NHWC), and their classes, y."""
    with given.splits.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = sorted({row["label"] for row in rows})
    size = given.image_size

    def pixels(row: dict[str, str]) -> np.ndarray[Any, Any]:
        image = Image.open(given.images / row["image"]).convert("RGB")
        return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))

    arrays: Arrays = {}
    with ThreadPoolExecutor() as pool:
        for split in ("train", "validation", "test"):
            chosen = [row for row in rows if row["split"] == split]
            arrays[f"x_{split}"] = np.stack(list(pool.map(pixels, chosen)))
            arrays[f"y_{split}"] = np.array([names.index(row["label"]) for row in chosen])
    return arrays


def build(given: argparse.Namespace, num_classes: int) -> tuple[nn.Sequential, nn.Sequential]:
    """The frozen part of the network, and the part that trains, with its new head."""
    network = models.get_model(given.architecture)
    network.load_state_dict(torch.load(given.weights, weights_only=True))
    if given.architecture.startswith("squeezenet"):
        head = nn.Conv2d(512, num_classes, 1)
        layers = dict(network.features.named_children())
        layers = {f"features.{name}": layer for name, layer in layers.items()}
        layers |= {"dropout": nn.Dropout(), "head": head, "pool": nn.AdaptiveAvgPool2d(1)}
        layers["flatten"] = nn.Flatten()
        first_of_head = "dropout"
    elif given.architecture.startswith("resnet"):
        layers = dict(network.named_children())
        layers["fc"] = nn.Linear(layers["fc"].in_features, num_classes)
        layers["avgpool"] = nn.Sequential(layers["avgpool"], nn.Flatten())
        first_of_head = "fc"
    else:
        raise SystemExit(f"{given.architecture}: only SqueezeNets and ResNets are written here")
    cut = list(layers).index(given.first_trained or first_of_head)
    parts = list(layers.values())
    frozen, trained = nn.Sequential(*parts[:cut]), nn.Sequential(*parts[cut:])
    frozen.requires_grad_(False).eval()
    return frozen.to(memory_format=torch.channels_last), trained.to(
        memory_format=torch.channels_last
    )


def normalised(images_BHWC: np.ndarray[Any, Any]) -> Tensor:
    """images_BCHW, channels_last."""
    images = torch.from_numpy(images_BHWC).permute(0, 3, 1, 2).float().div_(255)
    return images.sub_(torch.tensor(MEAN)[:, None, None]).div_(torch.tensor(STD)[:, None, None])


@torch.no_grad()
def frozen_outputs(frozen: nn.Module, values: np.ndarray[Any, Any]) -> Tensor:
    """What the frozen part gives for a batch: of images, or of its outputs computed before."""
    if values.dtype != np.uint8:
        return torch.from_numpy(values)
    features: Tensor = frozen(normalised(values))
    return features


def batches(order: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """The indices in this order, batch by batch."""
    for start in range(0, len(order), BATCH_SIZE):
        yield order[start : start + BATCH_SIZE]


@torch.no_grad()
def accuracy(frozen: nn.Module, trained: nn.Module, data: Arrays, split: str) -> float:
    """The share of a split's images that are classified rightly."""
    trained.eval()
    x, y = data[f"x_{split}"], data[f"y_{split}"]
    correct = 0
    for batch in batches(np.arange(len(x))):
        predicted = trained(frozen_outputs(frozen, x[batch])).argmax(1)
        correct += int((predicted == torch.from_numpy(y[batch])).sum())
    return correct / len(x)


def train(config: dict[str, Any], data: Arrays, given: argparse.Namespace) -> None:
    """One trial."""
    started = time.monotonic()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    frozen, trained = build(given, int(data["y_train"].max()) + 1)
    optimizer = torch.optim.SGD(trained.parameters(), **config["optimizer"])
    for _ in range(given.epochs):
        trained.train()
        for batch in batches(rng.permutation(len(data["x_train"]))):
            features = frozen_outputs(frozen, data["x_train"][batch])
            optimizer.zero_grad()
            loss = cross_entropy(trained(features), torch.from_numpy(data["y_train"][batch]))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        figures = {"accuracy": accuracy(frozen, trained, data, "validation")}
        figures["seconds"] = time.monotonic() - started
        with tempfile.TemporaryDirectory() as folder:
            torch.save(trained.state_dict(), Path(folder) / "trained.pt")
            tune.report(figures, checkpoint=tune.Checkpoint.from_directory(folder))


def with_features(data: Arrays, given: argparse.Namespace) -> Arrays:
    """The data with the frozen part's outputs in the place of the images."""
    frozen, _ = build(given, int(data["y_train"].max()) + 1)
    cached = dict(data)
    for split in ("train", "validation", "test"):
        images = data[f"x_{split}"]
        outputs = [
            frozen_outputs(frozen, images[b]).numpy() for b in batches(np.arange(len(images)))
        ]
        cached[f"x_{split}"] = np.concatenate(outputs)
    return cached


def parsed() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="a folder of class folders")
    parser.add_argument("--weights", type=Path, required=True, help="a torchvision state dict")
    parser.add_argument("--splits", type=Path, required=True, help="CSV: image, label, split")
    parser.add_argument("--configs", type=Path, required=True, help="JSON: a list of SGD settings")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file that it writes")
    parser.add_argument("--architecture", default="squeezenet1_0", help="torchvision's name")
    parser.add_argument("--image-size", type=int, default=112, help="pixels of a side")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--first-trained", help="the first part that trains (default: the head)")
    parser.add_argument("--cache-features", action="store_true", help="run the frozen part once")
    return parser.parse_args()


def main() -> None:
    """Run the sweep and test its best trial."""
    given = parsed()
    data = load(given)
    if given.cache_features:
        data = with_features(data, given)
    configs = json.loads(given.configs.read_text())
    ray.init(
        num_cpus=CONCURRENCY,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    with tempfile.TemporaryDirectory() as storage:
        tuner = tune.Tuner(
            tune.with_parameters(tune.with_resources(train, {"CPU": 1}), data=data, given=given),
            param_space={"optimizer": tune.grid_search(configs)},
            tune_config=tune.TuneConfig(metric="accuracy", mode="max", reuse_actors=True),
            run_config=tune.RunConfig(storage_path=storage, verbose=0),
        )
        results = tuner.fit()
        best = results.get_best_result(scope="all")
        checkpoint = best.get_best_checkpoint("accuracy", "max")
        frozen, trained = build(given, int(data["y_train"].max()) + 1)
        trained.load_state_dict(torch.load(Path(checkpoint.path) / "trained.pt"))
        figures = {
            "val_accuracy": float(results.get_dataframe("accuracy", "max")["accuracy"].max()),
            "test_accuracy": accuracy(frozen, trained, data, "test"),
            "trial_seconds": sum(result.metrics["seconds"] for result in results),
        }
    ray.shutdown()
    given.out.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
