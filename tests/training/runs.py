"""Tiny runs for the tests: a few pictures, networks of a few channels, a handful of steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from art2real.config.load import config_from_dict
from art2real.config.tree import TrainingConfig
from tests.pictures import write_photos


def write_domains(folder: Path, paintings: int = 3, photos: int = 5) -> None:
    """Two folders of pictures, 64 x 48 pixels, `paintings` and `photos`."""
    write_photos(folder / "paintings", paintings, height=48, width=64)
    write_photos(folder / "photos", photos, height=64, width=48, seed=100)


def tiny_values(folder: Path, steps: int = 6, **sections: Any) -> dict[str, Any]:
    """Settings of a run over `write_domains(folder)`; `sections` change single keys of them."""
    values: dict[str, Any] = {
        "name": "tiny",
        "runs": str(folder / "runs"),
        "precision": "float32",
        "data": {
            "paintings": str(folder / "paintings"),
            "photos": str(folder / "photos"),
            "load_size": 36,
            "crop_size": 32,
        },
        "networks": {"generator_width": 4, "generator_blocks": 1, "discriminator_width": 4},
        "schedule": {"max_steps": steps, "pool_size": 3},
        "cluster": {"cpus_per_worker": 1},
        "logging": {"log_every": 1, "sample_every": 100, "checkpoint_every": 100},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section} if isinstance(section, dict) else section
    return values


def tiny_config(folder: Path, steps: int = 6, **sections: Any) -> TrainingConfig:
    """`tiny_values` as a configuration."""
    return config_from_dict(tiny_values(folder, steps, **sections), "test")


def dies_at(step: int) -> Callable[[dict[str, Any], Path | None], None]:
    """A report that ends the process's work at the checkpoint of `step`, as its death would."""

    def report(metrics: dict[str, Any], checkpoint: Path | None) -> None:
        if metrics["step"] == step:
            raise ConnectionError

    return report
