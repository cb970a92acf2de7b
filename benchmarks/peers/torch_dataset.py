"""A folder of images in memory, as an expert loads it by hand with torchvision: a peer.

`ImageFolder`, `Resize` and a `DataLoader` with a worker for each CPU decode every image once into
one uint8 tensor, from which a trial then takes its batches. Each process that trains does so.

Shape letters: N images, B batch, C channels, H height, W width.
"""

from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, PILToTensor, Resize


def load_images(folder: Path, image_size: int, num_workers: int) -> tuple[Tensor, Tensor]:
    """images_NCHW (uint8, squashed to a square) and labels_N (int64) of class folders."""
    dataset = ImageFolder(
        folder, transform=Compose([Resize((image_size, image_size)), PILToTensor()])
    )
    images_NCHW = torch.empty(len(dataset), 3, image_size, image_size, dtype=torch.uint8)
    labels_N = torch.tensor(dataset.targets)
    start = 0
    for images_BCHW, _ in DataLoader(dataset, batch_size=64, num_workers=num_workers):
        images_NCHW[start : start + len(images_BCHW)] = images_BCHW
        start += len(images_BCHW)
    return images_NCHW, labels_N
