"""Augmentation: every image of a batch on its own, repeatable, and nothing but what was set."""

import inspect
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from toprung.trainables.recipe import transforms
from toprung.trainables.recipe.augmentation_settings import AugmentationSettings
from toprung.trainables.recipe.augmenter import Augmenter
from toprung.trainables.recipe.auto_augment import (
    OPERATIONS,
    AutoAugment,
    rand_augment_limits,
    trivial_augment_limits,
)
from toprung.trainables.system.typed_settings import ConfigError, Settings, parse

WITHOUT_STRENGTH = {"_identity", "_auto_contrast", "_equalize"}
VARIED: dict[str, dict[str, Any]] = {
    "rotation": {"degrees": 40},
    "affine": {"degrees": 20, "translate": 0.2, "scale": [0.8, 1.2], "shear": 10},
    "crop": {"size": 9},
    "resized_crop": {"scale": [0.2, 0.6]},
    "perspective": {},
    "brightness": {"factor": 0.5},
    "contrast": {"factor": 0.5},
    "saturation": {"factor": 0.5},
    "hue": {"shift": 0.3},
    "erasing": {},
    "trivial_augment": {},
    "rand_augment": {},
}
"""Transforms whose effect is drawn for each image."""
FIXED: dict[str, dict[str, Any]] = {
    "horizontal_flip": {},
    "vertical_flip": {},
    "sharpness": {"factor": 2.0},
    "grayscale": {},
}
"""Transforms that do one thing, or leave the image alone."""
EVERY = VARIED | FIXED
NEED_COLOUR = {"saturation", "hue", "grayscale"}
SHAPE = (3, 12, 14)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        yield


def some_images(num_images: int = 16, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    return torch.rand(num_images, *shape)


def settings_of(*transforms: dict[str, Any], **settings: Any) -> AugmentationSettings:
    values = {"transforms": list(transforms), **settings}
    return parse(AugmentationSettings, values, "augmentation")


def augmented(
    images_BCHW: Tensor, *transforms: dict[str, Any], seed: int = 1, **settings: Any
) -> Tensor:
    _, channels, height, width = images_BCHW.shape
    augment = Augmenter(settings_of(*transforms, **settings), (channels, height, width), 3)
    torch.manual_seed(seed)
    images, _ = augment(images_BCHW, torch.zeros(len(images_BCHW), dtype=torch.int64))
    return images


def changed(before_BCHW: Tensor, after_BCHW: Tensor) -> Tensor:
    """Which images are not the same."""
    return (before_BCHW != after_BCHW).flatten(1).any(1)


def test_every_transform_can_be_chosen_and_is_tested_here() -> None:
    variants = set(get_args(get_args(transforms.Transform)[0]))
    written = {
        thing
        for _, thing in inspect.getmembers(transforms, inspect.isclass)
        if issubclass(thing, Settings) and "name" in thing.model_fields
    }
    assert written == variants
    assert {variant.model_fields["name"].default for variant in variants} == set(EVERY)


@pytest.mark.parametrize("name", EVERY)
class TestEveryTransform:
    def test_keeps_shape_and_range(self, name: str) -> None:
        images = some_images()
        result = augmented(images, {"name": name, "p": 1, **EVERY[name]})
        assert result.shape == images.shape
        assert result.dtype == images.dtype
        assert result.min() >= -1e-6
        assert result.max() <= 1 + 1e-6

    def test_leaves_its_input_as_it_was(self, name: str) -> None:
        images = some_images()
        before = images.clone()
        augmented(images, {"name": name, "p": 0.5, **EVERY[name]})
        assert torch.equal(images, before)

    def test_touches_some_images_of_a_batch_with_p_in_between(self, name: str) -> None:
        images = some_images(64)
        result = augmented(images, {"name": name, "p": 0.5, **EVERY[name]})
        assert 10 < changed(images, result).sum() < 54

    def test_the_same_seed_gives_the_same_images(self, name: str) -> None:
        images = some_images()
        transform = {"name": name, "p": 0.5, **EVERY[name]}
        first = augmented(images, transform, seed=5)
        assert torch.equal(first, augmented(images, transform, seed=5))
        assert not torch.equal(first, augmented(images, transform, seed=6))

    def test_a_batch_of_one_image(self, name: str) -> None:
        images = some_images(1)
        assert augmented(images, {"name": name, "p": 1, **EVERY[name]}).shape == images.shape
        assert augmented(images, {"name": name, **EVERY[name], "p": 1e-9}).equal(images)

    def test_on_grey_images_works_or_is_refused(self, name: str) -> None:
        settings = settings_of({"name": name, "p": 1, **EVERY[name]})
        if name not in NEED_COLOUR:
            images = some_images(40, (1, 12, 14))
            assert Augmenter(settings, (1, 12, 14), 3)(images, torch.zeros(40))[0].shape[1] == 1
            return
        with pytest.raises(ConfigError, match=rf"transforms/0 \({name}\): needs colour: 3 chan"):
            Augmenter(settings, (1, 12, 14), 3)


@pytest.mark.parametrize("name", VARIED)
def test_equal_images_of_one_batch_become_different(name: str) -> None:
    images = some_images(1).repeat(16, 1, 1, 1)
    result = augmented(images, {"name": name, "p": 1, **VARIED[name]})
    # A crop may be at the same place twice, an operation may do nothing or the same twice.
    assert len({tuple(image.flatten().tolist()) for image in result}) >= 10


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"trivial_augment", "rand_augment"}))
def test_with_p_1_every_image_is_touched(name: str) -> None:
    images = some_images()
    assert changed(images, augmented(images, {"name": name, "p": 1, **EVERY[name]})).all()


class TestWhatTransformsDo:
    def test_flips(self) -> None:
        images = some_images()
        flipped = augmented(images, {"name": "horizontal_flip", "p": 1})
        assert torch.equal(flipped, images.flip(3))
        flipped = augmented(images, {"name": "vertical_flip", "p": 1})
        assert torch.equal(flipped, images.flip(2))

    def test_a_crop_of_the_whole_image_is_the_image(self) -> None:
        images = some_images(shape=(3, 12, 12))
        torch.testing.assert_close(augmented(images, {"name": "crop", "size": 12}), images)

    def test_a_crop_enlarges_what_is_left(self) -> None:
        ramp = torch.arange(12.0).expand(8, 3, 12, 12) / 12
        widths = augmented(ramp, {"name": "crop", "size": 6})
        spread = widths.amax((1, 2, 3)) - widths.amin((1, 2, 3))
        torch.testing.assert_close(spread, torch.full((8,), 5 / 12))

    def test_rotation_stays_within_its_degrees(self) -> None:
        images = torch.zeros(200, 3, 41, 41)
        images[:, :, 20, 40] = 1
        rotated = augmented(images, {"name": "rotation", "degrees": 30})
        rows = rotated[:, 0].amax(2).argmax(1) - 20
        angles = torch.rad2deg(torch.asin(rows / 20))
        assert angles.abs().max() <= 32
        assert angles.min() < -20
        assert angles.max() > 20

    def test_brightness_draws_its_factor_around_1(self) -> None:
        images = torch.full((200, 3, 4, 4), 0.4)
        factors = augmented(images, {"name": "brightness", "factor": 0.5})[:, 0, 0, 0] / 0.4
        assert 0.5 <= factors.min() < 0.6
        assert 1.4 < factors.max() <= 1.5

    def test_grayscale_has_equal_channels(self) -> None:
        grey = augmented(some_images(), {"name": "grayscale", "p": 1})
        assert torch.equal(grey[:, 0], grey[:, 1])
        assert torch.equal(grey[:, 0], grey[:, 2])

    def test_erasing_makes_a_rectangle_grey(self) -> None:
        images = torch.zeros(64, 3, 40, 40)
        erased = augmented(images, {"name": "erasing", "p": 1, "scale": [0.1, 0.2]})
        areas = (erased[:, 0] == 0.5).float().mean((1, 2))
        assert 0.08 < areas.min() <= areas.max() < 0.22

    def test_they_follow_each_other_in_order(self) -> None:
        images = some_images()
        erase = {"name": "erasing", "p": 1}
        darken = {"name": "brightness", "factor": 1e-6}
        after = augmented(images, darken, erase)
        assert (after == 0.5).flatten(1).any(1).all()
        before = augmented(images, erase, {"name": "sharpness", "p": 1, "factor": 0})
        assert not torch.equal(before, after)


class TestAugmenter:
    def test_nothing_to_do_gives_the_same_tensors_and_draws_nothing(self) -> None:
        images, targets = some_images(), torch.arange(16)
        state = torch.get_rng_state()
        result = Augmenter(AugmentationSettings(), SHAPE, 16)(images, targets)
        assert result[0] is images
        assert result[1] is targets
        assert torch.equal(torch.get_rng_state(), state)

    def test_the_probability_is_that_of_the_whole_list_for_each_image(self) -> None:
        images = some_images(400)
        flips = [{"name": "horizontal_flip", "p": 1}, {"name": "vertical_flip", "p": 1}]
        result = augmented(images, *flips, probability=0.25)
        touched = changed(images, result)
        assert torch.equal(result[touched], images[touched].flip(2, 3))
        assert 70 < touched.sum() < 130

    def test_targets_stay_without_mixing(self) -> None:
        targets = torch.arange(16)
        augment = Augmenter(settings_of({"name": "horizontal_flip"}), SHAPE, 16)
        assert augment(some_images(), targets)[1] is targets

    def test_no_gradients_are_kept(self) -> None:
        images = some_images().requires_grad_()
        assert not augmented(images, {"name": "rotation", "degrees": 10}).requires_grad


def mixed(mix: str, num_images: int = 8, **settings: Any) -> tuple[Tensor, Tensor]:
    """One-coloured images of their own class each, mixed; the shares found in the pixels."""
    images = torch.arange(num_images).float()[:, None, None, None].expand(-1, 1, 10, 10)
    augment = Augmenter(settings_of(mix=mix, **settings), (1, 10, 10), num_images)
    return augment(images / num_images, torch.arange(num_images))


class TestMixing:
    @pytest.mark.parametrize("mix", ["mixup", "cutmix"])
    def test_targets_are_the_shares_of_the_pixels(self, mix: str) -> None:
        seen = set()
        for _ in range(20):
            images, targets_BK = mixed(mix, mix_alpha=1)
            assert targets_BK.shape == (8, 8)
            torch.testing.assert_close(targets_BK.sum(1), torch.ones(8))
            expected = targets_BK @ torch.arange(8.0) / 8
            torch.testing.assert_close(images.mean((1, 2, 3)), expected)
            seen.add(round(targets_BK.diagonal().min().item(), 3))
        assert len(seen) > 5

    def test_mixup_blends_everywhere_and_cutmix_a_rectangle(self) -> None:
        torch.manual_seed(2)
        assert all(len(image.unique()) == 1 for image in mixed("mixup", mix_alpha=1)[0])
        images, targets_BK = mixed("cutmix")
        partners = (targets_BK - torch.diag(targets_BK.diagonal())).argmax(1)
        pasted = images[:, 0] != (torch.arange(8) / 8)[:, None, None]
        for number, where in enumerate(pasted):
            assert (images[number, 0][where] == partners[number] / 8).all()
            rows, columns = where.any(1).sum(), where.any(0).sum()
            assert where.sum() == rows * columns

    def test_mix_alpha_says_how_much(self) -> None:
        def largest_shares(**settings: Any) -> float:
            shares = [mixed("mixup", **settings)[1].max().item() for _ in range(60)]
            return float(np.mean(shares))

        assert largest_shares(mix_alpha=0.05) > 0.93
        # A pair of the same image keeps its share of 1.
        assert largest_shares(mix_alpha=50) < 0.85

    @pytest.mark.parametrize(("mix", "alpha"), [("mixup", 0.2), ("cutmix", 1.0)])
    def test_alpha_without_being_set_is_the_papers(self, mix: str, alpha: float) -> None:
        assert settings_of(mix=mix).share_alpha == alpha

    @pytest.mark.parametrize("mix", ["mixup", "cutmix"])
    def test_one_image_stays_itself(self, mix: str) -> None:
        images, targets_BK = mixed(mix, num_images=1)
        assert torch.equal(images, torch.zeros(1, 1, 10, 10))
        torch.testing.assert_close(targets_BK, torch.ones(1, 1))

    def test_the_same_seed_mixes_the_same(self) -> None:
        results = []
        for _ in range(2):
            torch.manual_seed(3)
            results.append(mixed("cutmix"))
        assert torch.equal(results[0][0], results[1][0])
        assert torch.equal(results[0][1], results[1][1])


class TestAutoAugment:
    @pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: op.__name__)
    def test_strength_is_that_of_each_image(self, operation: Any) -> None:
        image = some_images(1)
        limits = trivial_augment_limits()
        strengths = torch.tensor([0.9, 0.1, 0.9])
        result = operation(image.repeat(3, 1, 1, 1), strengths, limits)
        assert result.shape == (3, *SHAPE)
        torch.testing.assert_close(result[0], result[2])
        if operation.__name__ not in WITHOUT_STRENGTH:
            assert not torch.equal(result[0], result[1])

    def test_strength_0_changes_nothing(self) -> None:
        images = (some_images() * 255).round() / 255
        for operation in OPERATIONS:
            if operation.__name__ not in WITHOUT_STRENGTH:
                result = operation(images, torch.zeros(16), trivial_augment_limits())
                torch.testing.assert_close(result, images, atol=0.003, rtol=0)

    def test_auto_contrast_leaves_an_image_of_one_colour(self) -> None:
        images = torch.full((1, 3, 4, 4), 0.3)
        (auto_contrast,) = (op for op in OPERATIONS if op.__name__ == "_auto_contrast")
        assert torch.equal(auto_contrast(images, torch.ones(1), trivial_augment_limits()), images)

    def test_translation_is_in_pixels(self) -> None:
        (move,) = (op for op in OPERATIONS if op.__name__ == "_translate_x")
        images = some_images(1, (3, 40, 80))
        result = move(images, torch.ones(1), trivial_augment_limits())
        torch.testing.assert_close(result[..., 32:], images[..., :48])
        assert rand_augment_limits((3, 40, 331)).translation_xy == pytest.approx((150, 18.13), 1e-3)

    def test_magnitude_of_rand_augment_is_the_strength_of_all(self) -> None:
        strengths = AutoAugment(SHAPE, trivial_augment_limits(), 1, 12)._strengths(200)
        torch.testing.assert_close(strengths.abs(), torch.full((200,), 0.4))
        assert {-1, 1} == set(strengths.sign().tolist())

    def test_more_operations_change_more(self) -> None:
        images = some_images(200)
        one, many = (
            changed(images, augmented(images, {"name": "rand_augment", "num_ops": num_ops}))
            for num_ops in (1, 6)
        )
        assert one.sum() < many.sum()


class TestSettings:
    def test_what_has_no_effect_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"mix_alpha = 0\.3 has no effect: mix = 'none'"):
            settings_of(mix_alpha=0.3)
        with pytest.raises(ConfigError, match=r"probability = 0\.5 has no effect: transforms is"):
            settings_of(probability=0.5)
        flip = {"name": "horizontal_flip"}
        with pytest.raises(ConfigError, match="probability = 0: must be greater than 0"):
            settings_of(flip, probability=0)
        with pytest.raises(ConfigError, match="transforms/0/p = 0: must be greater than 0"):
            settings_of(flip | {"p": 0})
        with pytest.raises(ConfigError, match="transforms/0/degrees = 0: must be greater than 0"):
            settings_of({"name": "rotation", "degrees": 0})

    def test_an_affine_transform_must_do_something(self) -> None:
        with pytest.raises(ConfigError, match="transforms/0: affine has no effect: set at least"):
            settings_of({"name": "affine", "scale": [1, 1]})
        for part in ({"degrees": 1}, {"translate": 0.1}, {"shear": 1}, {"scale": [1, 2]}):
            settings_of({"name": "affine", **part})

    def test_a_mistake_in_a_transform_is_reported_with_its_place(self) -> None:
        with pytest.raises(ConfigError) as raised:
            settings_of(
                {"name": "horizontal_flip"},
                {"name": "rotate", "degrees": 3},
                {"name": "hue", "shift": 0.7},
                {"name": "rotation"},
                {"name": "resized_crop", "scale": [0.9, 0.2]},
            )
        message = str(raised.value)
        assert "transforms/1/name = 'rotate': choose from horizontal_flip" in message
        assert "nearest: rotation" in message
        assert "transforms/2/shift = 0.7" in message
        assert "transforms/3/degrees: is missing" in message
        assert "transforms/4/scale = [0.9, 0.2]: must be (lowest, highest)" in message

    def test_check_names_every_transform_that_does_not_fit(self) -> None:
        settings = settings_of(
            {"name": "crop", "size": 13}, {"name": "hue", "shift": 0.1}, {"name": "horizontal_flip"}
        )
        with pytest.raises(ConfigError) as raised:
            settings.check((1, 12, 14))
        assert str(raised.value).splitlines() == [
            "augmentation/transforms/0 (crop): size = 13: must be at most 12, "
            "because the images are 12x14",
            "  augmentation/transforms/1 (hue): needs colour: 3 channels, but the images have 1",
        ]
        with pytest.raises(ConfigError, match="at least 3x3 pixels; these are 2x9"):
            settings_of({"name": "sharpness", "factor": 2}).check((3, 2, 9))

    def test_settings_and_checks_of_it_and_of_losses_load_no_torch(self) -> None:
        code = (
            "import sys; "
            "from toprung.trainables.recipe import augmentation_settings; "
            "A = augmentation_settings.AugmentationSettings; "
            "A(transforms=[{'name': 'crop', 'size': 3}], mix='mixup').check((3, 4, 4)); "
            "from toprung.trainables.recipe.losses import Center, Triplet; Center(), Triplet(); "
            "sys.exit(bool({'torch', 'kornia', 'pytorch_metric_learning'} & set(sys.modules)))"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
