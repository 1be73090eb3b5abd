"""Reading the tree of settings from YAML and `--set`; errors name the key and the nearest right one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from art2real.config.tree import TrainingConfig
from art2real.errors import UsageError


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Reads a configuration file.

    Args:
        path: a YAML file; keys that are not in it keep their defaults.
        overrides: `a.b=value`, as given with `--set`; the value is read as YAML.

    Raises:
        UsageError: no such file, not YAML, an unknown key, or a wrong value; says which.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise UsageError(f"configuration {path} cannot be read: {reason}") from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"configuration {path}{where} is not valid YAML") from None
    if not isinstance(values, dict):
        raise UsageError(f"configuration {path} has no `key: value` lines")
    for override in overrides:
        _apply(values, override)
    return config_from_dict(values, str(path))


def config_from_dict(values: dict[str, Any], source: str) -> TrainingConfig:
    """Checks a nested dictionary, as read from YAML or a checkpoint; `source` names it in errors.

    Raises:
        UsageError: an unknown key or a wrong value, with its full name.
    """
    _refuse_unknown(values, TrainingConfig, (), source)
    try:
        return TrainingConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise UsageError(f"configuration {source}: {key} is missing; add it, or use --set") from None
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"configuration {source}: {key}: {message[:1].lower()}{message[1:]}") from None


def save_config(config: TrainingConfig, path: Path) -> None:
    """Writes the resolved tree; `load_config` gives the same object back."""
    path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


def flat(values: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """Nested dictionaries as one: `{"a": {"b": 1}}` becomes `{"a.b": 1}`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{key}{separator}{name}": each for name, each in flat(value, separator).items()}
        else:
            found[key] = value
    return found


def _apply(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise UsageError(f"--set {override}: write it as key=value, for example schedule.max_steps=500")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(f"--set {override}: the value is not valid YAML") from None
    for part in parts[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise UsageError(f"--set {override}: {part} is a value, not a section")
    values[parts[-1]] = value


def _refuse_unknown(values: Any, section: type[BaseModel], above: tuple[str, ...], source: str) -> None:
    """Names the first unknown key and the nearest known one, of the same section or any other."""
    if not isinstance(values, dict):
        return  # the wrong type is named by the validation that follows
    for key, value in values.items():
        name = ".".join((*above, str(key)))
        field = section.model_fields.get(key)
        if field is None:
            hint = _nearest(str(key), above, section)
            raise UsageError(f"configuration {source}: unknown key {name}; {hint}")
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            _refuse_unknown(value, inner, (*above, key), source)


def _nearest(key: str, above: tuple[str, ...], section: type[BaseModel]) -> str:
    names = _all_keys(TrainingConfig, ())
    elsewhere = [name for name in names if name.rsplit(".", 1)[-1] == key]
    here = difflib.get_close_matches(key, list(section.model_fields), n=1, cutoff=0.6)
    if here:
        best = ".".join((*above, here[0]))
    elif elsewhere:
        best = elsewhere[0]
    else:
        short = {name.rsplit(".", 1)[-1]: name for name in names}
        close = difflib.get_close_matches(key, list(short), n=1, cutoff=0.5)
        if not close:
            return f"known here: {', '.join(section.model_fields)}"
        best = short[close[0]]
    return f"did you mean {best}?"


def _all_keys(section: type[BaseModel], above: tuple[str, ...]) -> list[str]:
    keys = []
    for name, field in section.model_fields.items():
        keys.append(".".join((*above, name)))
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _all_keys(field.annotation, (*above, name))
    return keys
