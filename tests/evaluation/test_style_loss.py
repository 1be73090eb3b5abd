"""The losses of style transfer against sums written out, and the descent."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from art2real.evaluation.style_loss import (
    CONTENT_LAYER,
    STYLE_LAYERS,
    NotFinite,
    StyleFeatures,
    TransferLoss,
    content_loss,
    descend,
    gram,
    layer_loss,
    style_grams,
    style_loss,
)
from art2real.evaluation.stylist import style_features
from art2real.evaluation.weights import read_weights
from tests.pictures import make_photo

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def weights(style_weights):
    return style_weights


@pytest.fixture
def features() -> StyleFeatures:
    """The network with a sixteenth of its filters."""
    generator = torch.Generator().manual_seed(0)
    layers: list[nn.Module] = []
    channels = 3
    for filters in (4, 4, 0, 8, 8, 0, 16, 16, 16, 16, 0, 32, 32, 32, 32, 0, 32):
        if not filters:
            layers.append(nn.MaxPool2d(2))
            continue
        convolution = nn.Conv2d(channels, filters, 3, padding=1)
        deviation = (2 / (9 * channels)) ** 0.5
        nn.init.normal_(convolution.weight, 0, deviation, generator=generator)
        nn.init.normal_(convolution.bias, 0, 0.05, generator=generator)
        layers += [convolution, nn.ReLU(inplace=True)]
        channels = filters
    return StyleFeatures(nn.Sequential(*layers))


def image(seed: int, height: int = 24, width: int = 24) -> torch.Tensor:
    return torch.from_numpy(make_photo(seed, height, width)).permute(2, 0, 1).contiguous() / 255


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_correlations_are_the_sums_of_the_paper():
    responses = drawn(0, 3, 5)
    expected = [[sum(float(responses[i, k] * responses[j, k]) for k in range(5)) / 5 for j in range(3)]
                for i in range(3)]  # fmt: skip
    torch.testing.assert_close(gram(responses), torch.tensor(expected, dtype=torch.float64))


def test_losses_are_the_sums_of_the_paper():
    ours, theirs = drawn(1, 3, 5), drawn(2, 3, 5)
    content = sum((float(ours[i, k]) - float(theirs[i, k])) ** 2 for i in range(3) for k in range(5)) / 2
    assert float(content_loss(ours, theirs)) == pytest.approx(content)
    # Eq. 4 with the correlations as eq. 3 has them, not divided by M.
    style = 0.0
    for i in range(3):
        for j in range(3):
            g, a = (sum(float(f[i, k] * f[j, k]) for k in range(5)) for f in (ours, theirs))
            style += (g - a) ** 2 / (4 * 3**2 * 5**2)
    assert float(layer_loss(gram(ours), gram(theirs))) == pytest.approx(style)


def test_layers_count_equally():
    ours = {layer: drawn(number, 4, 6) for number, layer in enumerate(STYLE_LAYERS)}
    theirs = {layer: drawn(number + 9, 4, 6) for number, layer in enumerate(STYLE_LAYERS)}
    expected = sum(float(layer_loss(gram(ours[each]), gram(theirs[each]))) / 5 for each in STYLE_LAYERS)
    assert float(style_loss(ours, style_grams(theirs))) == pytest.approx(expected)


def test_style_does_not_depend_on_the_size_of_the_image():
    once = {layer: drawn(number, 4, 6) for number, layer in enumerate(STYLE_LAYERS)}
    twice = {layer: torch.cat([each, each], 1) for layer, each in once.items()}
    assert float(style_loss(twice, style_grams(once))) == pytest.approx(0, abs=1e-20)


def test_responses_are_those_of_the_named_layers(weights):
    """Every convolution by its name in the paper, from the order in which the file has them."""
    tensors = read_weights(weights)
    numbers = sorted({int(name.split(".")[1]) for name in tensors})
    names = [
        f"conv{block}_{layer}"
        for block, count in enumerate((2, 2, 4, 4, 1), 1)
        for layer in range(1, count + 1)
    ]
    assert len(names) == len(numbers)
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
    values = (image(0, 32, 40)[None] - mean) / deviation
    expected = {}
    for name, number in zip(names, numbers, strict=True):
        if name.endswith("_1") and name != "conv1_1":
            values = F.avg_pool2d(values, 2)
        weight, bias = tensors[f"features.{number}.weight"], tensors[f"features.{number}.bias"]
        values = F.relu(F.conv2d(values, weight, bias, padding=1))
        expected[name] = values[0].flatten(1)
    features = style_features(weights)
    found = features(image(0, 32, 40))
    assert set(found) == {CONTENT_LAYER, *STYLE_LAYERS}
    for layer, responses in found.items():
        torch.testing.assert_close(responses, expected[layer], rtol=1e-4, atol=1e-5)
    assert not any(isinstance(each, nn.MaxPool2d) for each in features.modules())


def test_gradient_agrees_with_differences(features):
    features.double()
    content, style = image(0, 16, 16).double(), image(1, 16, 16).double()
    loss = TransferLoss(features, content, style_grams(features(style)), 1e3)
    place = (0.8 * content + 0.1).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(place), place)
    for seed in range(3):
        direction = drawn(seed, *place.shape) - 0.5
        step = 1e-6
        with torch.no_grad():
            difference = (loss(place + step * direction) - loss(place - step * direction)) / (2 * step)
        assert float((gradient * direction).sum()) == pytest.approx(float(difference), rel=1e-5)


def test_descent_takes_over_the_style(features):
    content, style = image(0), image(1)
    grams = style_grams(features(style))
    loss = TransferLoss(features, content, grams, 1e5)
    result = descend(loss, content, 25)
    assert float(loss(result)) < float(loss(content)) / 5
    assert float(style_loss(features(result), grams)) < float(style_loss(features(content), grams)) / 10
    assert float(result.min()) >= 0
    assert float(result.max()) <= 1


def test_the_weight_is_that_of_the_style(features):
    content, grams = image(0), style_grams(features(image(1)))
    (kept, far), (lost, near) = (
        map(float, loss.parts(descend(loss, content, 25)))
        for loss in (TransferLoss(features, content, grams, weight) for weight in (1.0, 1e5))
    )
    assert kept < lost / 10
    assert near < far / 2


def test_more_steps_never_lose(features):
    content = image(0)
    loss = TransferLoss(features, content, style_grams(features(image(1))), 1e4)
    losses = [float(loss(descend(loss, content, steps))) for steps in (1, 2, 4, 8)]
    # A result is rounded to float32: the loss of it as well.
    assert all(after <= before * (1 + 1e-5) for before, after in pairwise(losses))
    assert losses[-1] < losses[0]


def test_without_a_style_the_content_comes_back(features):
    content = image(0)
    loss = TransferLoss(features, content, style_grams(features(image(1))), 0.0)
    assert torch.equal(descend(loss, content, 5), content)
    noise = 0.1 * (torch.rand(content.shape, generator=torch.Generator().manual_seed(0)) - 0.5)
    start = (content + noise).clamp(0, 1)
    result = descend(loss, start, 40)
    assert float(loss(result)) < float(loss(start)) / 50


def test_descent_stops_at_the_borders_of_the_range():
    target = torch.tensor([[[-0.5, 0.25, 1.5]]])
    scale = torch.tensor([1.0, 30.0, 900.0])
    result = descend(lambda x: (scale * (x - target).square()).sum(), torch.full((1, 1, 3), 0.5), 30)
    torch.testing.assert_close(result, torch.tensor([[[0.0, 0.25, 1.0]]]))


@pytest.mark.parametrize("power", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_said(power):
    with pytest.raises(NotFinite):
        descend(lambda x: x.sum() * power, torch.full((3, 2, 2), 0.5), 5)


def test_a_gradient_that_is_no_number_is_said():
    with pytest.raises(NotFinite):
        descend(lambda x: x.sqrt().sum(), torch.zeros(3, 2, 2), 5)
