"""The benchmarks' pieces, at tiny sizes and without timings."""

import argparse
import inspect
import sys
from importlib import import_module
from pathlib import Path
from subprocess import CalledProcessError

import numpy as np
import optuna
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models

from benchmarks import fixed_space, small_sweep
from benchmarks.__main__ import BENCHMARKS, Benchmark
from benchmarks.data_store import first_images, stored_images, table_rows
from benchmarks.frozen_sweep import SPACE
from benchmarks.peers import frozen_ray_tune, plain_ray_tune
from benchmarks.peers.bare_loop import BareLoop
from benchmarks.peers.torch_dataset import load_images
from benchmarks.tables import command_seconds, in_turn, print_table, ratios
from toprung.search.proposals import Proposals
from toprung.search_spaces import load
from toprung.settings import resolve
from toprung.trainables.config import TrialConfig
from toprung.trainables.data import DataSettings
from toprung.trainables.networks.build import build_network

SIZE = 32


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of three noisy pictures."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(6):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def peer(images: Path, tmp_path_factory: pytest.TempPathFactory) -> argparse.Namespace:
    """What the frozen sweep's peer is given."""
    folder = tmp_path_factory.mktemp("peer")
    torch.save(models.squeezenet1_0().state_dict(), folder / "weights.pth")
    names = sorted(path.relative_to(images) for path in images.rglob("*.png"))
    splits = ["train", "validation", "test"] * 2
    lines = [f"{name},{name.parent},{s}" for name, s in zip(names, splits, strict=True)]
    (folder / "splits.csv").write_text("\n".join(["image,label,split", *lines]))
    return argparse.Namespace(
        images=images,
        weights=folder / "weights.pth",
        splits=folder / "splits.csv",
        architecture="squeezenet1_0",
        image_size=SIZE,
        first_trained=None,
    )


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda benchmark: benchmark.name)
def test_each_benchmark_has_the_options_that_it_is_run_with(
    benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {name: Path("anywhere") for name in benchmark.needs}
    _, _, module, *options = benchmark.command(paths, quick=True)
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as ended:
        import_module(module).main()
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert not [option for option in options if option.partition("=")[0] not in text]


def test_a_benchmark_says_what_it_needs_and_does_not_have() -> None:
    assert Benchmark("any", (), needs=("images", "weights")).missing(["images"]) == ["--weights"]
    without_gpu = Benchmark("any", (), needs_gpu=True).missing([]) == ["a CUDA GPU"]
    assert without_gpu == (not torch.cuda.is_available())


def test_two_things_are_measured_in_turn() -> None:
    calls: list[str] = []

    def measurement(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    peer, ours = in_turn(lambda: measurement("peer"), lambda: measurement("ours"), 2)
    assert calls == ["peer", "ours"] * 2
    assert (peer, ours) == ([1, 3], [2, 4])
    assert ratios(ours, peer) == [2, 4 / 3]


def test_a_table_shows_each_row_and_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("things", {"Toprung, s": [1.0, 3.0, 1234.5]})
    text = capsys.readouterr().out
    row = next(line for line in text.splitlines() if "Toprung" in line)
    assert row.replace("│", " ").split() == ["Toprung,", "s", "3", "1", "1,234", "3"]
    assert torch.__version__.partition("+")[0] in text
    assert "CPUs" in text


def test_a_command_that_fails_is_told_with_what_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CalledProcessError):
        command_seconds(["sh", "-c", "echo $WORD >&2; exit 3"], tmp_path, {"WORD": "because"})
    assert "because" in capsys.readouterr().out


def test_both_sides_of_the_data_store_have_the_same_pixels(images: Path, tmp_path: Path) -> None:
    settings = DataSettings(source=str(images), image_size=SIZE, test_fraction=0)
    first = first_images(settings, tmp_path)
    theirs_NCHW, _ = load_images(images, SIZE, num_workers=0)
    assert np.array_equal(first, theirs_NCHW.permute(0, 2, 3, 1).numpy())
    assert np.array_equal(stored_images(settings, tmp_path), first)


def test_the_data_store_sets_its_figures_beside_the_peers() -> None:
    rows = table_rows([{"first: plain PyTorch, s": 2.0, "first: Toprung, s": 1.0}], num_images=10)
    assert rows["first: ratio"] == [0.5]
    assert rows["first: Toprung, images/s"] == [10]


@pytest.mark.parametrize("policy", ["head_only", "head_and_stage:features.12"])
def test_the_frozen_sweep_searches_what_its_peer_gives_to_sgd(policy: str, images: Path) -> None:
    space = load(str(SPACE))
    overrides = {"data/source": str(images), "model/freeze_policy": policy}
    rehearsal = Proposals(space, resolve(space.defaults, {}), overrides).rehearsal
    names = {path.removeprefix("optimizer/") for path in rehearsal.parameters}
    assert names <= set(inspect.signature(torch.optim.SGD).parameters)
    assert rehearsal.configs[0].training.batch_size == frozen_ray_tune.BATCH_SIZE


@pytest.mark.parametrize(("first_trained", "num_trained"), [(None, 2), ("features.12", 8)])
def test_the_frozen_sweeps_peer_trains_what_it_should(
    peer: argparse.Namespace, first_trained: str | None, num_trained: int
) -> None:
    given = argparse.Namespace(**{**vars(peer), "first_trained": first_trained})
    frozen, trained = frozen_ray_tune.build(given, num_classes=2)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert sum(parameter.requires_grad for parameter in trained.parameters()) == num_trained


def test_the_peers_own_cache_changes_no_logits(peer: argparse.Namespace) -> None:
    data = frozen_ray_tune.load(peer)
    cached = frozen_ray_tune.with_features(data, peer)
    frozen, _ = frozen_ray_tune.build(peer, num_classes=2)
    outputs = [frozen_ray_tune.frozen_outputs(frozen, of["x_train"]) for of in (data, cached)]
    assert data["x_train"].dtype == np.uint8
    torch.testing.assert_close(*outputs)


@pytest.fixture(scope="module")
def fixed_configs() -> dict[int, TrialConfig]:
    """The config that Toprung tries for each number in the list of fixed configs."""
    space = load(str(small_sweep.SPACE))
    proposals = Proposals(space, resolve(space.defaults, {}), {})
    study = optuna.create_study()
    for parameters in proposals.grid():
        study.enqueue_trial(parameters)
    configs = [proposals.config(study.ask()) for _ in range(fixed_space.NUM_CONFIGS)]
    return {int(config.labels["config"]): config for config in configs}


def test_the_fixed_sweep_tries_each_config_in_full(fixed_configs: dict[int, TrialConfig]) -> None:
    assert sorted(fixed_configs) == list(range(plain_ray_tune.TRIALS))
    for number, config in fixed_configs.items():
        assert config.training.epochs == plain_ray_tune.EPOCHS
        assert config.training.patience_epochs is None
        assert config.training.precision == "fp32"
        assert config.training.batch_size == fixed_space.CONFIGS[number]["batch_size"]


@pytest.mark.parametrize("number", range(0, fixed_space.NUM_CONFIGS, 4))
def test_the_fixed_sweeps_network_and_optimizer_are_its_peers(
    number: int, fixed_configs: dict[int, TrialConfig]
) -> None:
    given, config = fixed_space.CONFIGS[number], fixed_configs[number]
    theirs = plain_ray_tune.build(given)
    ours = build_network(config.model, config.image_shape, 10).network
    weights = zip(theirs.state_dict(), ours.state_dict().values(), strict=True)
    theirs.load_state_dict(dict(weights))
    images_BCHW = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(theirs.eval()(images_BCHW), ours.eval()(images_BCHW))
    dropouts = [[m.p for m in net.modules() if isinstance(m, nn.Dropout)] for net in (theirs, ours)]
    assert dropouts == [[given["dropout"]]] * 2
    adamw = torch.optim.AdamW(theirs.parameters(), given["lr"], weight_decay=given["wd"])
    their_settings, our_settings = (
        {name: value for name, value in optimizer.defaults.items() if name != "fused"}
        for optimizer in (adamw, config.optimizer.build(ours.parameters()))
    )
    assert our_settings == their_settings


def test_the_tuned_bare_loop_trains_as_the_plain_one() -> None:
    images_NCHW, labels_N = torch.randn(12, 3, 8, 8), torch.arange(12) % 4
    trained = []
    for tuned in (False, True):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4))
        loop = BareLoop(network, images_NCHW, labels_N, 4, tuned=tuned)
        assert loop.images_per_second() > 0
        trained.append(network(images_NCHW))
    torch.testing.assert_close(*trained, rtol=1e-3, atol=1e-4)
