"""One step: which losses there are, what each gradient reaches, and that all of it is one backward."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from art2real.config.tree import Networks, Objective, Schedule
from art2real.core.contextual import contextual_loss
from art2real.core.estimators import Cells, make_estimator
from art2real.core.patches import extract
from art2real.core.scale import Scale
from art2real.training.contextual import ContextualPull
from art2real.training.step import OPTIMISED, CycleGAN, build_networks

SIZES = Networks(generator_width=4, generator_blocks=1, discriminator_width=4)
SCALES = (Scale(8, 5), Scale(4, 4))


class TensorSource:
    """A bank's scale in memory; counts how often it is asked."""

    missing = 0

    def __init__(self, real: torch.Tensor) -> None:
        self.real = real
        self.rows = len(real)
        self.mean = real.mean(0)
        self.asked = 0

    def nearest(self, patches, k):
        self.asked += 1
        assert not patches.requires_grad
        a, b = (torch.nn.functional.normalize(rows - self.mean, dim=1) for rows in (patches, self.real))
        return (a @ b.T).topk(k).indices

    def fetch(self, rows):
        return self.real[rows]

    def cells(self):
        return Cells(
            torch.nn.functional.normalize(self.real - self.mean, dim=1),
            torch.ones(self.rows, dtype=torch.int64),
        )

    def draw(self, cells, random):
        return cells

    def blocks(self):
        yield self.real


def batch(count=1, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 32, 32, generator=random) * 2 - 1


def sources(seed=5):
    random = torch.Generator().manual_seed(seed)
    return {
        scale: TensorSource(torch.rand(40, scale.dimension, generator=random) * 2 - 1) for scale in SCALES
    }


def model(objective=None, pool_size=2, **settings):
    networks = build_networks(SIZES, 3)
    return CycleGAN(networks, objective or Objective(), Schedule(pool_size=pool_size), **settings)


def weights(model):
    return {
        name: torch.cat([weight.detach().flatten() for weight in network.parameters()])
        for name, network in model.networks.items()
    }


CYCLEGAN = {"adversarial_G", "adversarial_F", "cycle_X", "cycle_Y", "identity_X", "identity_Y", "D_X", "D_Y"}


def test_a_step_trains_all_four_networks_and_names_its_losses():
    trained = model()
    before = weights(trained)
    losses = trained.step(batch(seed=1), batch(seed=2), 0)
    assert set(losses) == CYCLEGAN
    assert all(
        loss.dtype == torch.float32 and loss.isfinite() and not loss.requires_grad for loss in losses.values()
    )
    after = weights(trained)
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_the_losses_are_those_of_the_paper():
    """Against the equations written out with the networks as they are before the step."""
    trained = model()
    x, y = batch(2, seed=1), batch(2, seed=2)
    with torch.no_grad():
        g, f, d_x, d_y = (trained.networks[name] for name in ("G", "F", "D_X", "D_Y"))
        expected = {
            "adversarial_G": (d_y(g(x)) - 1).square().mean(),
            "adversarial_F": (d_x(f(y)) - 1).square().mean(),
            "cycle_X": (f(g(x)) - x).abs().mean(),
            "cycle_Y": (g(f(y)) - y).abs().mean(),
            "identity_X": (f(x) - x).abs().mean(),
            "identity_Y": (g(y) - y).abs().mean(),
            # The pools are empty, so the discriminators see the images just made.
            "D_X": 0.5 * ((d_x(x) - 1).square().mean() + d_x(f(y)).square().mean()),
            "D_Y": 0.5 * ((d_y(y) - 1).square().mean() + d_y(g(x)).square().mean()),
        }
    losses = trained.step(x, y, 0)
    for name, value in expected.items():
        assert losses[name] == pytest.approx(float(value), rel=1e-4), name


def test_the_generators_gradient_is_of_the_weighted_sum():
    """Gradients of the one backward against separate backwards, loss by loss."""
    objective = Objective(cycle_weight=7.0, identity_weight=0.3)
    trained, reference = model(objective), model(objective)
    x, y = batch(seed=1), batch(seed=2)
    g, f, d_x, d_y = (reference.networks[name] for name in ("G", "F", "D_X", "D_Y"))
    for loss in (
        (d_y(g(x)) - 1).square().mean(),
        (d_x(f(y)) - 1).square().mean(),
        7.0 * (f(g(x)) - x).abs().mean(),
        7.0 * (g(f(y)) - y).abs().mean(),
        2.1 * (f(x) - x).abs().mean(),
        2.1 * (g(y) - y).abs().mean(),
    ):
        loss.backward()
    trained.step(x, y, 0)
    for name in ("G", "F"):
        for mine, theirs in zip(
            trained.networks[name].parameters(), reference.networks[name].parameters(), strict=True
        ):
            assert torch.allclose(mine.grad, theirs.grad, rtol=1e-3, atol=1e-5), name


def test_losses_of_weight_0_are_not_computed():
    assert set(model(Objective(cycle_weight=0)).step(batch(), batch(), 0)) == {
        "adversarial_G",
        "adversarial_F",
        "D_X",
        "D_Y",
    }
    losses = model(Objective(identity_weight=0)).step(batch(), batch(), 0)
    assert set(losses) == CYCLEGAN - {"identity_X", "identity_Y"}


def test_the_contextual_pull_is_the_sum_over_scales_and_the_mean_over_images():
    bank = sources()
    pull = ContextualPull(bank, make_estimator("exact"), seed=0)
    images = batch(2, seed=9)
    pending = pull.start(images, 0)
    expected = sum(
        float(contextual_loss(rows, bank[scale].real, bank[scale].mean)) / 2
        for scale in SCALES
        for rows in extract(images, scale.size, scale.stride)
    )
    assert float(pending.collect()) == pytest.approx(expected, rel=1e-5)
    pull.close()


@pytest.mark.parametrize("estimator", ["exact", "union", "sparse", "sampled"])
def test_the_contextual_loss_reaches_only_g(estimator):
    def gradients(weight):
        pull = ContextualPull(sources(), make_estimator(estimator, neighbours=3, draws=20), seed=0)
        trained = model(contextual=(pull, weight))
        losses = trained.step(batch(seed=1), batch(seed=2), 0)
        pull.close()
        assert 0 < float(losses["contextual"]) < 20
        return {
            name: torch.cat([weight.grad.flatten() for weight in network.parameters()])
            for name, network in trained.networks.items()
        }

    little, much = gradients(0.1), gradients(10.0)
    assert not torch.allclose(little["G"], much["G"], rtol=1e-2)
    assert torch.equal(little["F"], much["F"])
    assert torch.equal(little["D_X"], much["D_X"])


def test_a_scale_whose_shards_are_all_lost_is_done_without():
    class Lost(TensorSource):
        missing = 9

        def nearest(self, patches, k):
            return torch.full((len(patches), k), -1)

    images = batch().requires_grad_()
    known = sources()
    lost = {**known, SCALES[1]: Lost(known[SCALES[1]].real)}
    estimator = make_estimator("sampled", neighbours=3, draws=8)
    alone = ContextualPull({SCALES[0]: known[SCALES[0]]}, estimator, seed=0).start(images, 0).collect()
    assert torch.equal(ContextualPull(lost, estimator, seed=0).start(images, 0).collect(), alone)
    broken = torch.full_like(images, torch.nan)
    assert ContextualPull(lost, estimator, seed=0).start(broken, 0).collect().isnan()


def test_retrieval_runs_while_the_other_networks_do():
    """The queries are sent once G(x) exists: when F first runs, they are under way."""
    bank = sources()
    pull = ContextualPull(bank, make_estimator("union"), seed=0)
    trained = model(contextual=(pull, 0.1))
    started = []
    real_start = pull.start
    pull.start = lambda images, step: started.append(list(calls)) or real_start(images, step)
    calls: list[str] = []
    for name, network in trained.networks.items():
        network.register_forward_hook(lambda *_, name=name: calls.append(name))
    trained.step(batch(), batch(), 0)
    assert started == [["G"]]
    assert calls[:2] == ["G", "F"]
    assert all(source.asked == 1 for source in bank.values())
    assert trained.retrieval_seconds > 0
    pull.close()


def test_the_draws_depend_on_the_step_and_the_image_alone():
    def loss(step, rank=0):
        pull = ContextualPull(sources(), make_estimator("sampled", neighbours=2, draws=8), seed=4, rank=rank)
        value = float(pull.start(batch(2), step).collect())
        pull.close()
        return value

    assert loss(3) == loss(3)
    assert len({loss(3), loss(4), loss(3, rank=1)}) == 3


def test_in_bfloat16_the_losses_stay_float32_and_near():
    plain, fast = model(), model(bfloat16=True)
    a, b = plain.step(batch(), batch(seed=1), 0), fast.step(batch(), batch(seed=1), 0)
    assert all(loss.dtype == torch.float32 for loss in b.values())
    assert any(float(a[name]) != float(b[name]) for name in a)
    for name in a:
        assert float(b[name]) == pytest.approx(float(a[name]), rel=0.05), name


def test_discriminators_see_pooled_images():
    trained = model(pool_size=2)
    for step in range(4):
        trained.step(batch(seed=step), batch(seed=10 + step), step)
    assert trained.pools["X"].images.shape == trained.pools["Y"].images.shape == (2, 3, 32, 32)


def test_the_same_seed_gives_the_same_networks():
    one, other, third = build_networks(SIZES, 1), build_networks(SIZES, 1), build_networks(SIZES, 2)
    first = next(one["G"].parameters())
    assert torch.equal(first, next(other["G"].parameters()))
    assert not torch.equal(first, next(third["G"].parameters()))
    assert not torch.equal(first, next(one["F"].parameters()))
    assert abs(np.std(first.detach().numpy()) - 0.02) < 0.004


def trained(steps=1, **schedule):
    model = CycleGAN(build_networks(SIZES, 0), Objective(), Schedule(pool_size=0, **schedule))
    for step in range(steps):
        model.step(batch(seed=step), batch(seed=9 + step), step)
    return model


def length_of_gradient(model, names):
    weights = [weight for name in names for weight in model.networks[name].parameters()]
    return float(torch.cat([weight.grad.flatten() for weight in weights]).norm())


def test_the_length_of_each_gradient_is_told():
    model = trained()
    for optimiser, names in OPTIMISED.items():
        length = length_of_gradient(model, names)
        assert float(model.gradient_norms[optimiser]) == pytest.approx(length, rel=1e-5)


def test_clipping_shortens_a_longer_gradient_and_leaves_a_shorter_one():
    free = trained()
    lengths = {name: float(norm) for name, norm in free.gradient_norms.items()}
    limit = sum(lengths.values()) / 2  # one is longer, one is shorter
    clipped = trained(clip_norm=limit)
    for optimiser, names in OPTIMISED.items():
        assert float(clipped.gradient_norms[optimiser]) == pytest.approx(lengths[optimiser])
        assert length_of_gradient(clipped, names) == pytest.approx(min(lengths[optimiser], limit), rel=1e-4)


def test_the_average_follows_the_generators():
    model = CycleGAN(build_networks(SIZES, 0), Objective(), Schedule(pool_size=0, ema_decay=0.3))
    assert set(model.averages) == {"G", "F"}
    expected = {name: value.clone() for name, value in model.networks["G"].state_dict().items()}
    for step in range(6):
        model.step(batch(seed=step), batch(seed=9 + step), step)
        kept = min(0.3, (1 + step) / (10 + step))
        for name, value in model.networks["G"].state_dict().items():
            expected[name] = kept * expected[name] + (1 - kept) * value
    for name, value in model.averages["G"].state_dict().items():
        torch.testing.assert_close(value, expected[name])
    images = batch(seed=3)
    with torch.no_grad():
        torch.testing.assert_close(model.translate(images, "G"), model.averages["G"](images))
        assert not torch.equal(model.translate(images, "G"), model.networks["G"](images))


def test_an_average_changes_nothing_that_is_trained():
    plain, averaged = trained(3), trained(3, ema_decay=0.9)
    for name, network in plain.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, averaged.networks[name].state_dict()[key])
