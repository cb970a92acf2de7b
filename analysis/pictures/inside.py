"""Inside the winner: its filters, its activations for an image, and what excites its neurons."""

from matplotlib.figure import Figure

from toprung.analysis.drawing.picture import picture
from toprung.analysis.findings.results import Results
from toprung.analysis.inside_model.figures import (
    NUM_NEURONS,
    Shown,
    activations_figure,
    filters_figure,
    guided_figure,
)
from toprung.analysis.pictures.data import training_data_of
from toprung.trainables.system.typed_settings import ConfigError

_WEIGHTS = "trials/*/checkpoint_*/checkpoint.pt"
_IMAGE = "test_predictions/*.npz"


@picture(
    title="First-layer filters",
    caption=(
        "The weights of the first convolution, each filter on its own scale from its smallest to "
        "its largest weight; in colour if the convolution has three input channels, else grey. At "
        "most 128 filters are shown."
    ),
    sources=[_WEIGHTS],
)
def first_filters(results: Results) -> Figure | None:
    """The first convolution's filters; None for a network without convolutions."""
    layers = _convolutions(results)
    return filters_figure(results.model, layers[0]) if layers else None


@picture(
    title="First convolution: activation maps",
    caption=(
        "The outputs of the first 16 filters of the first convolution for an image, row by row, "
        "before and after the activation function that follows. Each map is on its own scale, "
        "from dark (smallest) to bright (largest)."
    ),
    sources=[_WEIGHTS, _IMAGE],
)
def first_activations(results: Results) -> Figure | None:
    """The maps of the first convolution; None without convolutions or without an image."""
    layers, image = _convolutions(results), image_of(results)
    return activations_figure(results.model, image, layers[0]) if layers and image else None


@picture(
    title="Last convolution: activation maps",
    caption=(
        "The outputs of the last convolution before the output layer, for the same image and with "
        "the same scales: coarse maps of where the network detected which feature."
    ),
    sources=[_WEIGHTS, _IMAGE],
)
def last_activations(results: Results) -> Figure | None:
    """The maps of the last convolution; None if there is only one, or without an image."""
    layers, image = _convolutions(results), image_of(results)
    return activations_figure(results.model, image, layers[-1]) if layers[1:] and image else None


@picture(
    title="Last convolution: guided backpropagation",
    caption=(
        "Which pixels excite the 10 channels of the last convolution that respond most strongly "
        "to the image, each at the position of its strongest response: the gradient with respect "
        "to the image, with negative gradients set to zero at each ReLU (Springenberg et al., "
        "2015; computed with captum). Grey means no influence; each picture is on its own scale."
    ),
    sources=[_WEIGHTS, _IMAGE],
)
def guided_neurons(results: Results) -> Figure | None:
    """Guided gradients; None without convolutions, without an image, or without a ReLU."""
    from toprung.analysis.inside_model.guided_backprop import strongest_neurons

    layers, image = _convolutions(results), image_of(results)
    if not layers or image is None:
        return None
    neurons = strongest_neurons(results.model, image.pixels_HWC, layers[-1], NUM_NEURONS)
    try:
        return guided_figure(results.model, image, layers[-1], neurons)
    except ConfigError:  # no ReLU: a transformer, or a CNN with another activation function
        return None


def _convolutions(results: Results) -> tuple[str, ...]:
    from toprung.analysis.inside_model.layers import convolutions

    return convolutions(results.model) if results.winner else ()


def image_of(results: Results) -> Shown | None:
    """The first randomly drawn test image; the first validation image while the set is sealed."""
    if results.test is not None:
        index = int(results.test.random[0])
        return Shown(results.test.names[index], results.test.pixels_of(index))
    data = training_data_of(results)
    if data is None:
        return None
    return Shown("a validation image", data.images_NHWC[data.validation_indices[0]])
