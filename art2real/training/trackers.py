"""Where a run shows its log lines and pictures besides its own folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from art2real.config.load import flat
from art2real.config.tree import TrainingConfig
from art2real.errors import UserError
from art2real.training.board import Board
from art2real.training.run_folder import RunFolder

log = logging.getLogger(__name__)

PROJECT = "art2real"
"""The experiment (MLflow) or project (Weights & Biases) of all runs."""


class Tracker(Protocol):
    """One of these places."""

    def log(self, line: Mapping[str, Any]) -> None:
        """The figures of a line of stats.jsonl."""

    def show(self, name: str, picture: np.ndarray, step: int) -> None:
        """A picture, uint8 `[H, W, 3]`."""

    def close(self, *, finished: bool) -> None:
        """Nothing more will come; `finished`: because the run is done."""


def open_trackers(config: TrainingConfig, run: RunFolder, step: int) -> list[Tracker]:
    """TensorBoard, and what else the configuration asks for, for a run that has done `step` steps.

    Raises:
        UserError: a service does not take a new run. One that does not take it back is done without.
    """
    trackers: list[Tracker] = [Board(run.path, step)]
    for wanted, kind in ((config.logging.mlflow, MLflow), (config.logging.wandb, WeightsAndBiases)):
        if wanted:
            try:
                trackers.append(kind(config, run.path))
            except Exception as error:  # whatever those packages raise
                if step == 0:
                    trackers[0].close(finished=False)
                    raise UserError(f"{kind.__name__} does not take the run: {error}") from error
                log.warning("%s does not take the run back: %s", kind.__name__, error)
    return trackers


class MLflow:
    """An MLflow run, of the server or folder that MLFLOW_TRACKING_URI names; resumed with the run's
    folder."""

    def __init__(self, config: TrainingConfig, run: Path) -> None:
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient()
        self._metric = Metric
        remembered = run / "mlflow.txt"
        if remembered.exists():
            self._run = remembered.read_text(encoding="utf-8")
            self._client.update_run(self._run, status="RUNNING")
            return
        experiment = self._client.get_experiment_by_name(PROJECT)
        number = self._client.create_experiment(PROJECT) if experiment is None else experiment.experiment_id
        self._run = self._client.create_run(number, run_name=run.name).info.run_id
        settings = flat(config.model_dump(mode="json"))
        self._client.log_batch(self._run, params=[Param(key, str(value)) for key, value in settings.items()])
        remembered.write_text(self._run, encoding="utf-8")

    def log(self, line: Mapping[str, Any]) -> None:
        now = int(time.time() * 1000)
        metrics = [self._metric(key, value, now, line["step"]) for key, value in flat(line, "/").items()]
        self._client.log_batch(self._run, metrics)

    def show(self, name: str, picture: np.ndarray, step: int) -> None:
        self._client.log_image(self._run, Image.fromarray(picture), key=name, step=step)

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self._run, status="FINISHED" if finished else "KILLED")


class WeightsAndBiases:
    """A Weights & Biases run; WANDB_MODE=offline keeps it in the run's folder."""

    def __init__(self, config: TrainingConfig, run: Path) -> None:
        import wandb

        remembered = run / "wandb.txt"
        known = remembered.read_text(encoding="utf-8") if remembered.exists() else None
        self._wandb = wandb
        self._run = wandb.init(
            project=PROJECT,
            name=run.name,
            id=known,
            resume="allow",
            dir=str(run),
            config=config.model_dump(mode="json"),
        )
        remembered.write_text(self._run.id, encoding="utf-8")

    def log(self, line: Mapping[str, Any]) -> None:
        self._run.log(flat(line, "/"), step=line["step"])

    def show(self, name: str, picture: np.ndarray, step: int) -> None:
        self._run.log({name: self._wandb.Image(picture)}, step=step)

    def close(self, *, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)
