"""Sentences about openings of a test set, for the terminal, the report and the model card."""

from collections.abc import Sequence

from toprung.analysis.seal.ledger import Earlier
from toprung.analysis.seal.openings import TestResult
from toprung.analysis.seal.optimism import optimism

_MOST_NAMES = 5


def reuse_in_words(result: TestResult) -> str:
    """Earlier openings of a result's test images; empty if there were none, or if unknown."""
    earlier = result.earlier
    if earlier is None or not earlier.openings:
        return ""
    openings = f"{earlier_in_words(earlier)} before"
    if not earlier.models:
        return f"{openings}, for this model only"
    return f"{openings}; {optimism_in_words(result.accuracy, result.num_images, result.num_models)}"


def earlier_in_words(earlier: Earlier, images: str = "test images") -> str:
    """How often, for how many other models, and by which sweeps images were opened.

    Args:
        earlier: what is known about earlier openings.
        images: the word for the images.
    """
    models = f", for {count(earlier.models, 'other model')}" if earlier.models else ""
    return (
        f"{earlier.images:,} of the {earlier.of_images:,} {images} were opened "
        f"{count(earlier.openings, 'time')}{models} (by {_listed(earlier.sweeps)})"
    )


def optimism_in_words(accuracy: float, num_images: int, num_models: int) -> str:
    """By how much the best of `num_models` models is expected to be optimistic."""
    return (
        f"the best of {num_models} models on them is expected to be optimistic by up to "
        f"{optimism(accuracy, num_images, num_models):.4f}"
    )


def count(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    shown = [*names[:_MOST_NAMES], *([f"{more} more"] if more > 0 else [])]
    return f"{'sweep' if len(names) == 1 else 'sweeps'} {', '.join(shown)}"
