"""One training step of CycleGAN with the contextual pull.

Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017, with
least-squares adversarial losses; Tomei et al., "What was Monet seeing while painting?" (2018).
X are paintings, Y are photos, G: X -> Y, F: Y -> X.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import nn

from art2real.config.tree import Compute, Networks, Objective, Schedule
from art2real.core.adversarial import cycle_loss, discriminator_loss, generator_loss, identity_loss
from art2real.core.networks import PatchDiscriminator, ResNetGenerator, initialise
from art2real.core.pool import ImagePool
from art2real.training.compute import Compiled, compiles, memory_format
from art2real.training.contextual import ContextualPull

CPU = torch.device("cpu")

_COMPUTE = Compute()

# First word of the seed of the pools' choices.
_POOLS = 2

Wrap = Callable[[nn.Module], nn.Module]
Call = Callable[[torch.Tensor], torch.Tensor]


def build_networks(sizes: Networks, seed: int) -> dict[str, nn.Module]:
    """G, F, D_X and D_Y with weights drawn from the seed, on the CPU."""
    random = torch.Generator().manual_seed(seed)
    networks: dict[str, nn.Module] = {
        "G": ResNetGenerator(sizes.generator_width, sizes.generator_blocks),
        "F": ResNetGenerator(sizes.generator_width, sizes.generator_blocks),
        "D_X": PatchDiscriminator(sizes.discriminator_width),
        "D_Y": PatchDiscriminator(sizes.discriminator_width),
    }
    for network in networks.values():
        initialise(network, random)
    return networks


class CycleGAN:
    """Four networks, their optimisers and their image pools, and the step that trains them.

    Args:
        networks: of `build_networks`; moved to `device`.
        objective: weights of the CycleGAN losses.
        schedule: Adam's settings, clipping, the average's decay and the size of the pools.
        compute: memory layout and compilation.
        contextual: the pull towards real patches and its weight; None: plain CycleGAN.
        seed, rank: of the pools' choices.
        device: where the networks compute.
        bfloat16: whether the networks compute in bfloat16; losses are always float32.
        wrap: put around each network for several workers (DistributedDataParallel).
    """

    def __init__(
        self,
        networks: dict[str, nn.Module],
        objective: Objective,
        schedule: Schedule,
        compute: Compute = _COMPUTE,
        *,
        contextual: tuple[ContextualPull, float] | None = None,
        seed: int = 0,
        rank: int = 0,
        device: torch.device = CPU,
        bfloat16: bool = False,
        wrap: Wrap = lambda network: network,
    ) -> None:
        self._format = memory_format(compute, device)
        self.networks = {
            name: network.to(device).to(memory_format=self._format) for name, network in networks.items()
        }
        self.optimisers = {
            name: torch.optim.Adam(
                [weight for part in parts for weight in self.networks[part].parameters()],
                lr=schedule.learning_rate,
                betas=(schedule.beta1, schedule.beta2),
                fused=True,
            )
            for name, parts in OPTIMISED.items()
        }
        self.pools = {"X": ImagePool(schedule.pool_size), "Y": ImagePool(schedule.pool_size)}
        self.averages: dict[str, nn.Module] = {}
        """Moving averages of the generators' weights, where the schedule asks for them."""
        if schedule.ema_decay is not None:
            for name in OPTIMISED["generators"]:
                self.averages[name] = copy.deepcopy(self.networks[name]).requires_grad_(False)
        self.gradient_norms: dict[str, torch.Tensor] = {}
        """By optimiser, the length of the last step's gradient before it was clipped."""
        self.device = device
        self.retrieval_seconds = 0.0
        self.retrieval_waited = 0.0
        self.affinity_seconds = 0.0
        self._schedule = schedule
        self._contextual = contextual
        self._weights = _weights(objective, 0.0 if contextual is None else contextual[1])
        self._seed = seed
        self._rank = rank
        self._bfloat16 = bfloat16
        self._cuda_graphs = compute.cuda_graphs and compiles(compute, device) and device.type == "cuda"

        def compiled(network: nn.Module) -> Call:
            if not compiles(compute, device):
                return network
            return Compiled(network, cuda_graphs=self._cuda_graphs)

        self._wrapped = {name: compiled(wrap(network)) for name, network in self.networks.items()}
        # Judges of the generators learn nothing, so their gradients need no other worker.
        self._judges = {name: compiled(self.networks[name]) for name in OPTIMISED["discriminators"]}

    def set_learning_rate(self, rate: float) -> None:
        """Sets the rate of all networks, from the next step on."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = rate

    def step(self, paintings: torch.Tensor, photos: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        """Trains all networks once.

        Args:
            paintings, photos: `[B, 3, H, W]` in [-1, 1] on the networks' device.
            step: number of the step, from 0; the seed of what is drawn in it.

        Returns:
            Each loss before its weight, a float32 scalar without graph: `adversarial_G`, `adversarial_F`,
            `cycle_X`, `cycle_Y`, `identity_X`, `identity_Y`, `contextual`, `D_X`, `D_Y`; those with weight 0
            are not computed and not there.
        """
        if self._cuda_graphs:
            torch.compiler.cudagraph_mark_step_begin()
        losses, fake_photos, fake_paintings = self._generator_step(paintings, photos, step)
        losses |= self._discriminator_step(paintings, photos, fake_paintings, fake_photos, step)
        self._average(step)
        return {name: loss.detach() for name, loss in losses.items()}

    def translate(self, images: torch.Tensor, network: str) -> torch.Tensor:
        """G or F, or its average, applied to `[B, 3, H, W]` in [-1, 1], without graph."""
        with torch.no_grad(), self._autocast():
            translating = self.averages.get(network, self.networks[network])
            return translating(images.to(self.device)).float()

    def objective(self, losses: Mapping[str, float]) -> float:
        """What the generators minimise: their losses, weighted."""
        return sum(weight * losses[name] for name, weight in self._weights.items() if weight)

    @property
    def missing(self) -> int:
        """Queries that were answered without the rows of a lost index shard."""
        return self._contextual[0].missing if self._contextual else 0

    def _generator_step(
        self, paintings: torch.Tensor, photos: torch.Tensor, step: int
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
        count = len(paintings)
        weights = self._weights
        identity = weights["identity_X"] > 0
        self._train_discriminators(False)
        # G sees paintings and, for the identity loss, photos. InstanceNorm works image by image, so that one
        # batch of both gives what two calls give.
        fake_photos, same_photos = self._forward("G", paintings, photos if identity else None)
        pull = self._contextual[0].start(fake_photos, step) if self._contextual else None
        fake_paintings, same_paintings = self._forward("F", photos, paintings if identity else None)

        losses = {
            "adversarial_G": generator_loss(self._judge(self._judges["D_Y"], fake_photos)),
            "adversarial_F": generator_loss(self._judge(self._judges["D_X"], fake_paintings)),
        }
        if weights["cycle_X"]:
            losses["cycle_X"] = cycle_loss(self._forward("F", fake_photos)[0], paintings)
            losses["cycle_Y"] = cycle_loss(self._forward("G", fake_paintings)[0], photos)
        if same_photos is not None and same_paintings is not None:
            losses["identity_X"] = identity_loss(same_paintings, paintings)
            losses["identity_Y"] = identity_loss(same_photos, photos)
        if pull is not None:
            losses["contextual"] = pull.collect()
            self.retrieval_seconds += pull.seconds
            self.retrieval_waited += pull.waited
            self.affinity_seconds += pull.computed

        # One backward over the sum: with DistributedDataParallel, two would each average over the workers
        # what the other has not yet added.
        self._descend(
            "generators", torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        )
        return losses, fake_photos.detach()[:count], fake_paintings.detach()

    def _discriminator_step(
        self,
        paintings: torch.Tensor,
        photos: torch.Tensor,
        fake_paintings: torch.Tensor,
        fake_photos: torch.Tensor,
        step: int,
    ) -> dict[str, torch.Tensor]:
        self._train_discriminators(True)
        losses = {}
        for number, (domain, real, fake) in enumerate(
            (("X", paintings, fake_paintings), ("Y", photos, fake_photos))
        ):
            random = np.random.default_rng([_POOLS, self._seed, step, self._rank, number])
            shown = self.pools[domain].query(fake, random)
            verdict = self._judge(self._wrapped[f"D_{domain}"], torch.cat([real, shown]))
            losses[f"D_{domain}"] = discriminator_loss(*verdict.split([len(real), len(shown)]))
        self._descend("discriminators", torch.stack(list(losses.values())).sum())
        return losses

    def _descend(self, name: str, loss: torch.Tensor) -> None:
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        weights = [weight for group in optimiser.param_groups for weight in group["params"]]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self._schedule.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(weights, self._schedule.clip_norm, norm)
        self.gradient_norms[name] = norm
        optimiser.step()

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Moves the averages; early ones keep less of themselves, as there is little behind them."""
        for name, average in self.averages.items():
            assert self._schedule.ema_decay is not None
            kept = min(self._schedule.ema_decay, (1 + step) / (10 + step))
            for mean, weight in zip(average.parameters(), self.networks[name].parameters(), strict=True):
                mean.lerp_(weight, 1 - kept)

    def _forward(
        self, name: str, images: torch.Tensor, more: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        both = images if more is None else torch.cat([images, more])
        with self._autocast():
            out = self._wrapped[name](both.contiguous(memory_format=self._format))
        out = out.float()
        return out[: len(images)], None if more is None else out[len(images) :]

    def _judge(self, discriminator: Call, images: torch.Tensor) -> torch.Tensor:
        with self._autocast():
            verdict = discriminator(images.contiguous(memory_format=self._format))
        return verdict.float()

    def _train_discriminators(self, train: bool) -> None:
        for name in OPTIMISED["discriminators"]:
            self.networks[name].requires_grad_(train)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._bfloat16)


def _weights(objective: Objective, contextual: float) -> dict[str, float]:
    """What each loss of the generators counts."""
    cycle, identity = objective.cycle_weight, objective.identity_weight * objective.cycle_weight
    return {
        "adversarial_G": 1.0,
        "adversarial_F": 1.0,
        "cycle_X": cycle,
        "cycle_Y": cycle,
        "identity_X": identity,
        "identity_Y": identity,
        "contextual": contextual,
    }


OPTIMISED = {"generators": ("G", "F"), "discriminators": ("D_X", "D_Y")}
"""Which networks each optimiser trains."""


def trainable(networks: Iterable[nn.Module]) -> int:
    """Parameters of the networks, together."""
    return sum(weight.numel() for network in networks for weight in network.parameters())
