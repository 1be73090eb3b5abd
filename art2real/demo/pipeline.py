"""The demo: the real path from photos to a report, at a small size."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from art2real.config.load import load_config
from art2real.config.tree import TrainingConfig
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.corpus import list_images
from art2real.data.manifest import BankSettings
from art2real.demo.finished import Finished, Stage, load_triples, measure
from art2real.demo.picture import spread, write_picture
from art2real.demo.report import write_report
from art2real.demo.samples import Samples, make_samples, take_images
from art2real.distributed.cluster import cores, session
from art2real.errors import UsageError, UserError
from art2real.index.matches import find_matches
from art2real.index.picture import draw_matches
from art2real.index.retriever import open_retriever
from art2real.training.plan import claimed_cpus, plan_run
from art2real.training.run_folder import RunFolder
from art2real.translation.translate import plan_translation, run_plan

if TYPE_CHECKING:
    from art2real.distributed.train_job import TrainingResult

# The jobs are imported where they are started: Ray reads how it authenticates at its first import, and
# `session` decides that.

OnStage = Callable[[str, str], None]
OnProgress = Callable[[float, float], None]


@dataclass
class _Clock:
    """Times the stages and tells the reader which one has begun."""

    announce: OnStage
    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        self.announce(name, what)
        begun = time.perf_counter()
        yield
        self.stages.append(Stage(name, what, time.perf_counter() - begun))


def run_demo(
    out: Path,
    *,
    paintings: Path | None = None,
    photos: Path | None = None,
    steps: int | None = None,
    address: str | None = None,
    on_stage: OnStage = lambda name, what: None,
    on_progress: OnProgress = lambda done, total: None,
) -> Finished:
    """Runs every stage and writes `report.html`, `report.json` and `demo.png` into `out`.

    Args:
        out: folder of everything the demo makes, new or empty.
        paintings, photos: folders of a user's own images; both or none.
        steps: training steps; None: those of configs/demo.yaml.
        address: Ray cluster; None: a local one.
        on_stage: called when a stage begins, with its name and what it does.
        on_progress: called with units done and all units of the stage.

    Raises:
        UsageError: only one of `paintings` and `photos`.
        UserError: images or the folder cannot be used, or a stage failed.
    """
    if (paintings is None) != (photos is None):
        raise UsageError(
            "--paintings and --photos belong together: give both folders, or none for the samples"
        )
    for folder in (paintings, photos):
        if folder is not None:
            list_images(folder)  # what is wrong with a folder is said before anything is begun
    out = out.absolute()
    config = _config(out, steps)
    clock = _Clock(on_stage)

    with clock.stage("images", "paint the samples" if paintings is None else "read the images"):
        samples = _samples(out / "samples", config, paintings, photos, on_progress)
    with ExitStack() as cluster:
        with clock.stage("cluster", "start Ray"):
            cluster.enter_context(session(address, cpus=_cpus(config)))
        with clock.stage("bank", "cut the photos into patches: Ray Data"):
            bank = _bank(samples, out / "bank", config, on_progress)
        with clock.stage("index", "index the patches: FAISS in Ray tasks"):
            index = _index(bank, on_progress)
        with clock.stage("training", "index actors and Ray Train"):
            run, result = _train(config, on_progress)
    if not result.finished:
        raise UserError(f"the demo was stopped at step {result.step} of {result.total}; start it again")
    with clock.stage("translation", "translate the paintings of the report"):
        plan = plan_translation(
            [str(samples.held_out)], {"demo": result.checkpoint}, out / "translations", overwrite=True
        )
        run_plan(plan, on_progress=on_progress)
    with clock.stage("distances", "compare with the true photos, find the patches behind an image"):
        triples = load_triples(samples, out / "translations")
        distances = measure(triples)
        patches = _patches(bank, spread(triples, 2)[-1].translation)

    finished = Finished(
        out=out,
        samples=samples,
        config=config,
        run=run.path,
        stats=run.stats(),
        versions=run.facts["versions"],
        bank=bank,
        index=index,
        stages=clock.stages,
        triples=triples,
        distances=distances,
    )
    write_picture(triples, out / "demo.png")
    write_report(finished, patches)
    return finished


def config_path() -> Path:
    """demo.yaml: inside of an installed package, or beside it in a checkout."""
    package = Path(str(files("art2real")))
    installed = package / "configs" / "demo.yaml"
    return installed if installed.is_file() else package.parent / "configs" / "demo.yaml"


def _config(out: Path, steps: int | None) -> TrainingConfig:
    values = load_config(config_path()).model_dump()
    values["runs"] = str(out / "runs")
    values["data"] |= {"paintings": str(out / "samples/paintings"), "photos": str(out / "samples/photos")}
    values["contextual"]["bank"] = str(out / "bank")
    if steps is not None:
        values["schedule"]["max_steps"] = steps
        values["logging"]["log_every"] = max(1, min(values["logging"]["log_every"], steps // 20))
    return TrainingConfig.model_validate(values)


def _samples(
    folder: Path, config: TrainingConfig, paintings: Path | None, photos: Path | None, on_progress: OnProgress
) -> Samples:
    size = config.data.crop_size
    try:
        if paintings is None or photos is None:
            return make_samples(folder, size, config.seed, on_progress)
        return take_images(folder, paintings, photos, size, on_progress)
    except UserError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be written: {error.strerror}") from None


def _cpus(config: TrainingConfig) -> float:
    """CPUs that training will claim; the bank is small, so that each scale has one index shard."""
    return claimed_cpus(config.cluster, len(_scales(config)), cores())


def _scales(config: TrainingConfig) -> tuple[Scale, ...]:
    return tuple(Scale.parse(scale) for scale in config.contextual.scales or ())


def _bank(samples: Samples, path: Path, config: TrainingConfig, on_progress: OnProgress) -> MemoryBank:
    from art2real.distributed.bank_job import write_on_cluster

    settings = BankSettings(image_size=samples.size, scales=_scales(config), photos_per_shard=128)
    build_bank(
        samples.photos,
        path,
        settings,
        write=write_on_cluster,
        on_progress=lambda done, total, skipped: on_progress(done, total),
    )
    return MemoryBank.open(path)


def _index(bank: MemoryBank, on_progress: OnProgress) -> list[dict[str, Any]]:
    from art2real.distributed.index_job import build_index

    return build_index(bank.path, on_progress=lambda done, total, note: on_progress(done, total or done))


def _train(config: TrainingConfig, on_progress: OnProgress) -> tuple[RunFolder, TrainingResult]:
    from art2real.distributed.train_job import run_training

    plan = plan_run(config)
    run = RunFolder.create(config, plan.facts)
    result = run_training(config, run, plan, on_progress=lambda step, total, losses: on_progress(step, total))
    return run, result


def _patches(bank: MemoryBank, image: np.ndarray) -> Image.Image:
    """A few patches of an image with their nearest real patches."""
    retrievers = {scale: open_retriever(bank, scale) for scale in bank.scales}
    return draw_matches(bank, image, find_matches(bank, image, retrievers, patches=3, k=4))
