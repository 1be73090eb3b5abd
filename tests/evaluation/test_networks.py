"""Features are those of the libraries' own modules with the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from art2real.errors import UserError
from art2real.evaluation.networks import NETWORKS, architecture, fold_batch_norms, load, make_network, stages
from art2real.evaluation.weights import Weights, read_weights
from tests.pictures import make_photo

CPU = torch.device("cpu")


def photos(count: int, size: int) -> np.ndarray:
    return np.stack([make_photo(seed, size, size) for seed in range(count)])


def assert_near(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Relative to each value, but for those that are nearly nothing beside the others."""
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert expected.std(0).max() > 1e-3 * np.abs(expected).max(), "the features do not depend on the image"
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).mean())


def test_inception_is_torch_fidelity_s(inception, inception_weights):
    module = architecture("inception")
    module.load_state_dict(read_weights(inception_weights), assign=True)
    levels = ["192", "768", "2048"]
    module.features_list = levels
    images = photos(3, 299)
    expected = module(torch.from_numpy(images).permute(0, 3, 1, 2))
    found = inception(images)
    assert {level: values.shape[1] for level, values in found.items()} == NETWORKS["inception"].levels
    for level, values in zip(levels, expected, strict=True):
        assert_near(found[level], values.numpy(), 1e-4)


@pytest.mark.parametrize("network", ["vgg19", "resnet152"])
def test_torchvision_s_networks_are_torchvision_s(request, network):
    import torchvision
    from torchvision.transforms.functional import normalize

    weights = request.getfixturevalue({"vgg19": "vgg_weights", "resnet152": "resnet_weights"}[network])
    with torch.device("meta"):
        module = getattr(torchvision.models, network)().eval()
    module.load_state_dict(read_weights(weights), assign=True)
    images = photos(2, 224)
    tensors = normalize(
        torch.from_numpy(images).permute(0, 3, 1, 2) / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    )
    # What the last linear layer sees.
    last = module.classifier[-1] if network == "vgg19" else module.fc
    seen = []
    last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        module(tensors)
    found = make_network(weights, CPU)(images)
    assert {level: values.shape[1] for level, values in found.items()} == NETWORKS[network].levels
    for values in found.values():
        assert_near(values, seen[0].numpy(), 1e-4)


def test_features_do_not_depend_on_the_batch(inception):
    images = photos(3, 299)
    pieces = [inception(piece) for piece in (images[:1], images[1:])]
    for level, values in inception(images).items():
        assert_near(np.concatenate([piece[level] for piece in pieces]), values, 1e-5)


@pytest.mark.parametrize(("network", "norms"), [("inception", 94), ("resnet152", 155)])
def test_all_batch_norms_are_folded(network, norms):
    module = architecture(network)
    before = [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
    assert len(before) == norms
    fold_batch_norms(module)
    assert not [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
    assert set(stages(network, module)) == set(NETWORKS[network].levels)


# Weights of something else


def changed(weights: Weights, **tensors: torch.Tensor | None) -> dict[str, torch.Tensor]:
    content = {**read_weights(weights), **{name.replace("__", "."): each for name, each in tensors.items()}}
    return {name: tensor for name, tensor in content.items() if tensor is not None}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"fc__bias": None}, r"inception\.safetensors: not weights of inception: fc\.bias is missing$"),
        ({"fc__bias": None, "fc__weight": None}, r"fc\.weight is missing, and 1 others$"),
        ({"head__weight": torch.ones(1)}, r"the network has no head\.weight$"),
        ({"fc__bias": torch.ones(1000)}, r"fc\.bias is \[1000\], not \[1008\]$"),
    ],
)
def test_weights_that_do_not_fit_are_refused(inception_weights, tensors, message):
    with pytest.raises(UserError, match=message):
        load(architecture("inception"), changed(inception_weights, **tensors), inception_weights)


def test_weights_of_another_network_are_refused(inception_weights):
    other = Weights("resnet152", inception_weights.path, inception_weights.sha256, False)
    with pytest.raises(UserError, match=r"not weights of resnet152: .* is missing, and 774 others") as error:
        make_network(other, CPU)
    assert "\n" not in str(error.value)


def test_counts_of_training_steps_may_be_missing(inception_weights):
    """Files of old do not have them."""
    tensors = read_weights(inception_weights)
    old = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    assert len(old) < len(tensors)
    load(architecture("inception"), old, inception_weights)
    module = architecture("resnet152")
    given = {
        name: torch.zeros(tensor.shape)
        for name, tensor in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    load(module, given, inception_weights)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_features_of_the_cpu(inception, inception_weights):
    """With TF32 they differ by 1e-3."""
    images = photos(3, 299)
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        found = make_network(inception_weights, torch.device("cuda"))(images)
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    for level, values in inception(images).items():
        assert_near(found[level], values, 1e-4)
