"""Every setting of a training run: one tree of frozen, documented fields.

The defaults are the published settings (Zhu et al., "Unpaired Image-to-Image Translation using
Cycle-Consistent Adversarial Networks", ICCV 2017; Tomei et al., "What was Monet seeing while painting?",
2018). `art2real.config.load` reads the tree from YAML and names what is wrong in it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from art2real.core.scale import Scale


class Section(BaseModel):
    """A part of the tree: frozen, and strict about keys and types."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class Data(Section):
    """The two unpaired sets of images and how crops are cut out of them."""

    paintings: str = Field(
        description="paintings, domain X: a folder, pattern, list, table or .tar shard, here or at s3:// or gs://"
    )
    photos: str = Field(description="photos, domain Y: the same kinds of places")
    anonymous: bool = Field(False, description="ask object stores without credentials")
    load_size: int = Field(286, ge=32, description="shorter side that images are resized to, pixels")
    crop_size: int = Field(
        256, ge=32, description="side of the random crop that is trained on, pixels; divisible by 4"
    )
    flip: bool = Field(True, description="mirror every second image at random")

    @model_validator(mode="after")
    def _crop_fits(self) -> Data:
        if self.crop_size > self.load_size:
            raise ValueError(f"crop_size {self.crop_size} is larger than load_size {self.load_size}")
        if self.crop_size % 4:
            raise ValueError(f"crop_size {self.crop_size} is not divisible by 4")
        return self


class Networks(Section):
    """Sizes of the two generators and the two discriminators."""

    generator_width: int = Field(64, ge=1, description="channels after the generator's first layer")
    generator_blocks: int = Field(9, ge=0, description="residual blocks of the generator")
    discriminator_width: int = Field(64, ge=1, description="channels after the discriminator's first layer")


class Objective(Section):
    """Weights of the CycleGAN losses, relative to the adversarial loss at 1."""

    cycle_weight: float = Field(10.0, ge=0, description="weight of both cycle losses")
    identity_weight: float = Field(0.5, ge=0, description="weight of the identity losses, times cycle_weight")


class Contextual(Section):
    """The pull towards real patches of a memory bank."""

    bank: str | None = Field(None, description="folder of the memory bank; none: plain CycleGAN")
    estimator: Literal["exact", "union", "sparse", "sampled"] = Field(
        "sampled", description="which columns of the affinity matrix are worked with"
    )
    weight: float | None = Field(
        None, ge=0, description="weight of the loss; none: the estimator's own; 0: plain CycleGAN"
    )
    neighbours: int | None = Field(
        None, ge=1, description="k, rows retrieved for each patch; none: the estimator's own"
    )
    draws: int = Field(4096, ge=0, description="M, far rows that `sampled` draws for an image and scale")
    scales: tuple[str, ...] | None = Field(
        None, description="SIZE:STRIDE of each scale to use; none: all scales of the bank"
    )
    bandwidth: float = Field(1.0, gt=0, description="h of the softmax")
    epsilon: float = Field(1e-5, gt=0, description="added to the least distance of each patch")
    reduction: Literal["log_of_mean", "mean_of_log"] = Field(
        "log_of_mean",
        description="from patches to the loss: -log of the mean affinity, as published, or the mean of -log, "
        "in which every patch has the same say",
    )

    @model_validator(mode="after")
    def _scales_parse(self) -> Contextual:
        for scale in self.scales or ():
            Scale.parse(scale)
        return self


class Schedule(Section):
    """How long and how fast the networks learn. A step is one optimiser step over all workers."""

    epochs: int = Field(100, ge=0, description="epochs (passes over the larger folder) at the full rate")
    decay_epochs: int = Field(100, ge=0, description="epochs after them over which the rate falls to 0")
    max_steps: int | None = Field(
        None, ge=1, description="end after so many steps, with the rate falling over the same share of them"
    )
    batch_size: int = Field(1, ge=1, description="images of each domain, a worker and step")
    learning_rate: float = Field(2e-4, gt=0, description="Adam's rate for all networks")
    warmup_steps: int = Field(0, ge=0, description="steps over which the rate rises from 0 to its full value")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's first moment")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second moment")
    clip_norm: float | None = Field(
        None, gt=0, description="greatest length of the gradient of each optimiser; none: not clipped"
    )
    ema_decay: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="share that a moving average of the generators keeps of itself at a step, for example "
        "0.999; it is what translates then; none: no average",
    )
    pool_size: int = Field(50, ge=0, description="generated images that the discriminators are shown again")

    @model_validator(mode="after")
    def _some_epochs(self) -> Schedule:
        if self.epochs + self.decay_epochs == 0:
            raise ValueError("epochs and decay_epochs are both 0: nothing would be trained")
        return self


class Logging(Section):
    """What a run writes down, in steps."""

    log_every: int = Field(50, ge=1, description="steps between lines of stats.jsonl")
    sample_every: int = Field(1000, ge=1, description="steps between grids of sample paintings")
    checkpoint_every: int = Field(1000, ge=1, description="steps between checkpoints: what a crash can cost")
    keep_checkpoints: int = Field(3, ge=1, description="checkpoints kept, the newest ones")
    best_by: Literal["objective", "contextual", "cycle_X", "cycle_Y"] | None = Field(
        "objective",
        description="the checkpoint with the least mean of it over the steps since the one before is kept; "
        "objective: all losses of the generators, weighted; none: only the newest ones",
    )
    mlflow: bool = Field(False, description="also log to MLflow, where its environment variables say")
    wandb: bool = Field(
        False, description="also log to Weights & Biases, where its environment variables say"
    )


class Compute(Section):
    """How the networks are computed: what makes a run faster, and what makes it repeatable."""

    channels_last: bool | None = Field(
        None, description="keep the channels of a pixel together in memory; none: on GPUs"
    )
    compile: bool | None = Field(
        None, description="torch.compile the networks, which takes a minute at the start; none: on GPUs"
    )
    cuda_graphs: bool = Field(
        False, description="replay the compiled networks as CUDA graphs: for small crops and batches"
    )
    deterministic: bool = Field(
        False, description="only algorithms that give the same bits each time, also on GPUs; slower there"
    )


class Cluster(Section):
    """Workers of the run and the processes that hold the index."""

    workers: int = Field(1, ge=1, description="training workers; each trains on batch_size images a step")
    min_workers: int | None = Field(
        None,
        ge=1,
        description="go on with as few workers as this while nodes are missing; none: wait for all",
    )
    cpus_per_worker: float | None = Field(
        None, gt=0, description="CPUs a training worker claims; none: its share of what index actors leave"
    )
    use_gpu: bool | None = Field(None, description="a GPU for each worker; none: where the cluster has them")
    index_cpus: float = Field(0.5, ge=0, description="CPUs that an index actor claims")
    index_gpus: float = Field(
        0.0, ge=0, description="share of a GPU that an index actor claims: 0 for none, to 1 for a whole one"
    )
    index_actors: int | None = Field(
        None, ge=1, description="index actors of each scale, which share its shards; none: one a shard"
    )
    index_replicas: int = Field(
        1, ge=1, description="processes that hold the same shards, on different nodes where there are several"
    )
    index_label: str | None = Field(
        None,
        pattern=r"^[^=\s]+=[^=\s]+$",
        description="KEY=VALUE: a label of the nodes that index actors may be on; none: all nodes",
    )
    query_timeout: float = Field(
        120.0,
        gt=0,
        description="seconds an index actor has for an answer, its restart included; then another replica is "
        "asked, or the shard is lost",
    )
    on_missing_shard: Literal["error", "skip"] = Field(
        "error", description="what a lost index shard means: the run ends, or goes on without its rows"
    )
    patches_from: Literal["auto", "bank", "owners"] = Field(
        "auto",
        description="where workers get patches: the bank's files, or the index actors that own them; "
        "auto: owners on several nodes",
    )
    max_failures: int = Field(3, ge=-1, description="restarts of the worker group; -1: without end")

    @model_validator(mode="after")
    def _fewest(self) -> Cluster:
        if self.min_workers is not None and self.min_workers > self.workers:
            raise ValueError(f"min_workers {self.min_workers} is larger than workers {self.workers}")
        return self

    @model_validator(mode="after")
    def _share_of_one_gpu(self) -> Cluster:
        # Ray counts in ten-thousandths.
        if self.index_gpus > 1 or 0 < self.index_gpus < 1e-4:
            raise ValueError(
                f"index_gpus {self.index_gpus:g} is no share of one GPU, and an index actor uses no more; "
                "write 0, 1, or a share such as 0.5 or 0.25"
            )
        return self

    def actors_of(self, shards: int) -> int:
        """Index actors that hold a scale of so many shards, replicas included."""
        return self.index_replicas * min(self.index_actors or shards, shards)


class TrainingConfig(Section):
    """A training run: `art2real-cli train --config FILE`."""

    name: str = Field(
        description="the run's name; its folder is RUNS/NNNN-name", pattern=r"^[A-Za-z0-9._-]+$"
    )
    runs: str = Field("runs", description="folder that holds the run folders")
    seed: int = Field(0, ge=0, description="seed of all random choices")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the networks; auto: bfloat16 where the device computes in it"
    )
    data: Data
    networks: Networks = Networks()
    objective: Objective = Objective()
    contextual: Contextual = Contextual()
    schedule: Schedule = Schedule()
    compute: Compute = Compute()
    logging: Logging = Logging()
    cluster: Cluster = Cluster()
