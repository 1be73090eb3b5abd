"""The words of the participants' page: a file a language, which a study may word otherwise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Formatter

from art2real.errors import UserError

Texts = dict[str, str]
FOLDER = "texts"
"""Where a study's own words are, a file `LANGUAGE.json` each: all of them, or those that differ."""


def load_texts(study: Path, languages: Sequence[str]) -> dict[str, Texts]:
    """The words by language, in the given order.

    A language that the package has not needs a file of the study with every text in it.

    Raises:
        UserError: a file is damaged, has a text that is not known, or lacks one.
    """
    known = _packaged("en")
    return {language: _load(study, language, known) for language in languages}


def _load(study: Path, language: str, known: Texts) -> Texts:
    path = study / FOLDER / f"{language}.json"
    texts = _packaged(language)
    own = _read(path) if path.is_file() else {}
    for name, text in own.items():
        if name not in known:
            raise UserError(f"{path}: {name!r} is no text of the page; the names are those of en.json")
        _check_places(path, name, text, known[name])
    texts |= own
    missing = [name for name in known if name not in texts]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{path}: the text {missing[0]!r}{more} is missing; write it into this file")
    return texts


def _packaged(language: str) -> Texts:
    file = files("art2real.study").joinpath(FOLDER, f"{language}.json")
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _read(path: Path) -> Texts:
    try:
        texts = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path}: is not JSON: {error}") from None
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise UserError(f'{path}: has to be one object of texts, as {{"title": "Which picture?"}}')
    return texts


def _check_places(path: Path, name: str, text: str, original: str) -> None:
    """Names in braces that the page does not fill in would be shown as they are."""
    try:
        unknown = _places(text) - _places(original)
    except ValueError:
        raise UserError(f"{path}: {name!r} has a brace without its other half") from None
    if unknown:
        raise UserError(f"{path}: {name!r} has {{{min(unknown)}}}, which is not filled in there")


def _places(text: str) -> set[str]:
    return {place for _, place, _, _ in Formatter().parse(text) if place is not None}
