"""The Python code on a model card: reading an image and building the network without Toprung."""

from toprung.analysis.models.model import TrainedModel
from toprung.trainables.data import DataSettings
from toprung.trainables.data.settings import IMAGENET_MEAN, IMAGENET_STD
from toprung.trainables.networks.torchvision_settings import TorchvisionSettings

_OWN_OPTIONS = ("googlenet", "inception_v3", "maxvit_t")
"""Architectures for which torchvision's defaults build a network other than the trained one."""
_SQUEEZENET = "network.classifier[2] = torch.nn.Identity()  # its last ReLU was left out"


class Code(str):
    """Text that is inserted into a card without escaping."""

    __slots__ = ()


def image_code(data: DataSettings) -> Code:
    """Code that reads an image file as the pixels that the network expects."""
    mode, method = ("RGB" if data.channels == 3 else "L"), data.interpolation.upper()
    height, width = data.height_width
    size, method = f"({width}, {height})", f"Image.Resampling.{method}"
    side = round(2 * max(height, width) / data.crop_fraction)  # as `decode` has it
    lines = [
        'image = Image.open("image.jpg")',
        f"image.draft(None, ({side}, {side}))  # a large JPEG is decoded smaller, as in training",
        f'image = ImageOps.exif_transpose(image).convert("{mode}")',
    ]
    match data.resize:
        case "squash":
            lines.append(f"image = image.resize({size}, {method})")
        case "centre_crop":
            bleed = (1 - data.crop_fraction) / 2
            lines.append(f"image = ImageOps.fit(image, {size}, {method}, bleed={bleed!r})")
        case "letterbox":
            lines += [
                f"inner = ImageOps.contain(image, {size}, {method})",
                f'image = Image.new("{mode}", {size})',
                f"corner = ({width} - inner.width) // 2, ({height} - inner.height) // 2",
                "image.paste(inner, corner)",
            ]
    return Code("\n".join(lines))


def network_code(model: TrainedModel) -> Code | None:
    """Code that builds the network; None if it is not a plain network of torchvision."""
    settings = model.config.model
    if not isinstance(settings, TorchvisionSettings) or model.config.data.channels == 1:
        return None
    weights, name = settings.offered_weights, settings.architecture
    renormalises = weights and (weights.mean, weights.std) != (IMAGENET_MEAN, IMAGENET_STD)
    has_own_head = settings.head_hidden is not None or settings.head_dropout
    if renormalises or has_own_head or name in _OWN_OPTIONS:
        return None
    options = f"num_classes={len(model.class_names)}"
    if name.startswith("vit_"):
        options += f", image_size={model.config.data.height_width[0]}"
    lines = [f'network = get_model("{name}", {options})']
    return Code("\n".join([*lines, *([_SQUEEZENET] if name.startswith("squeezenet") else [])]))
