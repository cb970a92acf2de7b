"""Openings of a test set, in sentences for the terminal, the page and the card."""

from collections.abc import Sequence

from toprung.analysis.seal.ledger import Earlier
from toprung.analysis.seal.openings import TestResult
from toprung.analysis.seal.optimism import optimism

_MOST_NAMES = 5


def reuse_in_words(result: TestResult) -> str:
    """What had been opened of a result's images before; empty if nothing, or if it is not known."""
    earlier = result.earlier
    if earlier is None or not earlier.openings:
        return ""
    told = f"{earlier_in_words(earlier)} before"
    if not earlier.models:
        return f"{told}, for this model only"
    return f"{told}; {optimism_in_words(result.accuracy, result.num_images, result.num_models)}"


def earlier_in_words(earlier: Earlier, images: str = "test images") -> str:
    """How often, for how many other models, and by which sweeps images were opened.

    Args:
        earlier: what is known of their openings.
        images: what they are called.
    """
    models = f", for {count(earlier.models, 'other model')}" if earlier.models else ""
    return (
        f"{earlier.images:,} of the {earlier.of_images:,} {images} were opened "
        f"{count(earlier.openings, 'time')}{models} (by {_listed(earlier.sweeps)})"
    )


def optimism_in_words(accuracy: float, num_images: int, num_models: int) -> str:
    """By how much the best of so many models is expected to look too good."""
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
