"""Data sets known by name, with their official splits. To add one, add an entry below.

An entry names the function that finds the files below a root, the website where a user gets them,
and, if the files can be verified, the function that downloads them.
"""

from functools import partial

from toprung.trainables.data.named.caltech101 import download_caltech101, open_caltech101
from toprung.trainables.data.named.dogs_vs_cats import open_dogs_vs_cats
from toprung.trainables.data.named.inaturalist12k import open_inaturalist12k
from toprung.trainables.data.named.named_set import NamedSet
from toprung.trainables.data.named.pacs import open_pacs
from toprung.trainables.data.named.pixel_sets import (
    download_cifar10,
    download_stl10,
    open_cifar10,
    open_stl10,
)
from toprung.trainables.data.named.tiny_imagenet import download_tiny_imagenet, open_tiny_imagenet

_PACS = "https://dali-dl.github.io/project_iccv2017.html"

NAMED_SETS = {
    "cifar10": NamedSet(
        open=open_cifar10,
        website="https://www.cs.toronto.edu/~kriz/cifar.html",
        download=download_cifar10,
        folder="cifar-10-batches-py",
    ),
    "stl10": NamedSet(
        open=open_stl10,
        website="https://cs.stanford.edu/~acoates/stl10/",
        download=download_stl10,
        folder="stl10_binary",
    ),
    "caltech101": NamedSet(
        open=open_caltech101,
        website="https://data.caltech.edu/records/mzrjq-6wc02",
        download=download_caltech101,
        folder="caltech101",
    ),
    "pacs_art_painting": NamedSet(open=partial(open_pacs, "art_painting"), website=_PACS),
    "pacs_cartoon": NamedSet(open=partial(open_pacs, "cartoon"), website=_PACS),
    "pacs_photo": NamedSet(open=partial(open_pacs, "photo"), website=_PACS),
    "pacs_sketch": NamedSet(open=partial(open_pacs, "sketch"), website=_PACS),
    "inaturalist12k": NamedSet(
        open=open_inaturalist12k,
        website="https://storage.googleapis.com/wandb_datasets/nature_12K.zip",
    ),
    "tiny_imagenet": NamedSet(
        open=open_tiny_imagenet,
        website="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        download=download_tiny_imagenet,
        folder="tiny-imagenet-200",
    ),
    "dogs_vs_cats": NamedSet(
        open=open_dogs_vs_cats,
        website="https://www.kaggle.com/c/dogs-vs-cats/data",
    ),
}

__all__ = ["NAMED_SETS", "NamedSet"]
