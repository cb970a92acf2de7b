"""Fast dropout is dropout."""

import pytest
import torch
from torch import nn

from toprung.trainables.networks.dropout import FastDropout, use_fast_dropout


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_it_drops_that_share_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(0)
    ones = torch.ones(101, 7, 31, 33)
    out = FastDropout(p)(ones)
    assert (out == 0).float().mean().item() == pytest.approx(p, abs=2e-3)
    assert out.mean().item() == pytest.approx(1, abs=1e-2)
    assert len(out.unique()) == 2


def test_each_value_is_drawn_on_its_own() -> None:
    torch.manual_seed(0)
    kept = (FastDropout(0.5)(torch.ones(40_000)) != 0).double()
    for distance in range(1, 9):  # four values share a draw of the generator
        pairs = torch.stack([kept[:-distance], kept[distance:]])
        assert abs(torch.corrcoef(pairs)[0, 1].item()) < 0.02


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_passes_where_values_were_kept(dtype: torch.dtype) -> None:
    values = torch.ones(3, 4, 5, 5, dtype=dtype).to(memory_format=torch.channels_last)
    values.requires_grad_()
    out = FastDropout(0.5)(values)
    out.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, out.detach())
    assert out.stride() == values.stride()
    assert out.dtype == dtype


def test_it_draws_from_torchs_generator_and_only_in_training() -> None:
    dropout, ones = FastDropout(0.5), torch.ones(1000)
    outs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outs.append(dropout(ones))
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])
    state = torch.get_rng_state()
    assert dropout.eval()(ones) is ones
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("p", "left"), [(0.0, 1.0), (1.0, 0.0)])
def test_all_or_nothing(p: float, left: float) -> None:
    assert torch.equal(FastDropout(p)(torch.ones(9)), torch.full((9,), left))


def test_it_replaces_torchs_everywhere() -> None:
    network = nn.Sequential(nn.Sequential(nn.Dropout(0.3)), nn.Dropout2d(0.2), nn.Dropout(0.4))
    use_fast_dropout(network.eval())
    kinds = {path: (type(m).__name__, m.training) for path, m in network.named_modules() if path}
    assert kinds == {
        "0": ("Sequential", False),
        "0.0": ("FastDropout", False),
        "1": ("Dropout2d", False),
        "2": ("FastDropout", False),
    }
    assert network.get_submodule("0.0").p == 0.3
