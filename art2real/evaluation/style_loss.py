"""Image style transfer as a minimisation over pixels: its losses and the descent.

Gatys, Ecker and Bethge, "Image style transfer using convolutional neural networks", CVPR 2016; the numbers of
equations are theirs. F^l are the responses of layer l after its ReLU, N_l its filters, M_l its positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy.optimize import Bounds, minimize
from torch import nn

CONTENT_LAYER = "conv4_2"
STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
"""With equal weights, w_l = 1/5."""

# Where torchvision's `vgg19().features` has the ReLU of each layer.
_PLACES = {1: "conv1_1", 6: "conv2_1", 11: "conv3_1", 20: "conv4_1", 22: "conv4_2", 29: "conv5_1"}
DEPTH = max(_PLACES) + 1
"""Layers of torchvision's `features` that are needed."""

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


class NotFinite(Exception):  # noqa: N818 - reads as what it is: a loss that is not finite
    """The loss or its gradient is no finite number."""


class StyleFeatures(nn.Module):
    """VGG-19 up to conv5_1, with average pooling in the place of max pooling, as the paper recommends."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, features: nn.Sequential) -> None:
        """
        Args:
            features: the first `DEPTH` layers of torchvision's `vgg19().features`, with their weights.
        """
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.AvgPool2d(2) if isinstance(each, nn.MaxPool2d) else each for each in features)
        )
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(3, 1, 1))
        self.requires_grad_(False)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Responses F^l `[N_l, M_l]` by layer, of an image `[3, H, W]` in [0, 1]; H and W at least 16."""
        values = ((image - self.mean) / self.deviation)[None]
        responses = {}
        for place, layer in enumerate(self.layers):
            values = layer(values)
            if place in _PLACES:
                responses[_PLACES[place]] = values[0].flatten(1)
        return responses


def content_loss(responses: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Half of the squared differences between two images' responses `[N, M]` (eq. 1)."""
    return 0.5 * (responses - target).square().sum()


def gram(responses: torch.Tensor) -> torch.Tensor:
    """Correlations of the filters `[N, N]`: G_ij = sum_k F_ik F_jk / M (eq. 3, and M of eq. 4).

    The paper divides by M in the loss, for two images of one size; so it holds for images of different sizes.
    """
    return responses @ responses.T / responses.shape[1]


def layer_loss(correlations: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """E_l, the distance of two images' correlations `[N, N]` in one layer (eq. 4)."""
    return (correlations - target).square().sum() / (4 * len(target) ** 2)


def style_grams(responses: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The correlations of the style layers: all that is known of a style."""
    return {layer: gram(responses[layer]) for layer in STYLE_LAYERS}


def style_loss(responses: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Mean of E_l over the style layers (eq. 5), of responses and the `style_grams` of a style."""
    losses = [layer_loss(gram(responses[layer]), target[layer]) for layer in STYLE_LAYERS]
    return torch.stack(losses).mean()


class TransferLoss:
    """The loss of an image: L_content + style_weight * L_style (eq. 7 with alpha = 1)."""

    def __init__(
        self,
        features: StyleFeatures,
        content: torch.Tensor,
        style: Mapping[str, torch.Tensor],
        style_weight: float,
    ) -> None:
        """
        Args:
            features: the network.
            content: the image whose content is wanted, `[3, H, W]` in [0, 1].
            style: `style_grams` of the image whose style is wanted.
            style_weight: beta / alpha.
        """
        self._features = features
        self._style = style
        self._style_weight = style_weight
        with torch.no_grad():
            self._content = features(content)[CONTENT_LAYER]

    def parts(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """L_content and L_style of an image `[3, H, W]` in [0, 1]."""
        responses = self._features(image)
        content = content_loss(responses[CONTENT_LAYER], self._content)
        return content, style_loss(responses, self._style)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        content, style = self.parts(image)
        return content + self._style_weight * style


def descend(loss: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor, steps: int) -> torch.Tensor:
    """Minimises a loss over the pixels of an image by L-BFGS.

    Its form with bounds (Zhu et al., 1997; SciPy's L-BFGS-B) keeps the pixels in [0, 1]: free ones leave that
    range in places, and clipping them at the end takes away a part of what was reached. The search along each
    direction never ends above where it began.

    Args:
        loss: differentiable, of an image `[3, H, W]`.
        start: an image in [0, 1].
        steps: iterations; nearly all of them compute the loss once.

    Returns:
        An image in [0, 1], with the type and on the device of `start`.

    Raises:
        NotFinite: the loss or its gradient is not finite somewhere on the way.
    """

    def to_image(values: np.ndarray) -> torch.Tensor:
        return torch.tensor(values, dtype=start.dtype, device=start.device).view(start.shape)

    def value_and_gradient(values: np.ndarray) -> tuple[float, np.ndarray]:
        image = to_image(values).requires_grad_()
        value = loss(image)
        (gradient,) = torch.autograd.grad(value, image)
        result = value.item(), gradient.double().cpu().numpy().ravel()
        if not (np.isfinite(result[0]) and np.isfinite(result[1]).all()):
            raise NotFinite
        return result

    # Without thresholds: it ends after so many steps, or where no step downwards can be told from rounding.
    options = {"maxiter": steps, "maxfun": 100 * steps, "ftol": 0.0, "gtol": 0.0}
    first = start.double().cpu().numpy().ravel()
    found = minimize(
        value_and_gradient, first, jac=True, method="L-BFGS-B", bounds=Bounds(0, 1), options=options
    )
    return to_image(found.x)
