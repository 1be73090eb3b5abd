"""Where images are translated: a few in this process, many on a Ray cluster."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack

from art2real.distributed.cluster import session
from art2real.translation.job import DoPictures, Picture, TranslationJob
from art2real.translation.translator import Translator, best_device

_WORTH = 30.0
"""Seconds of work for which a local cluster is started: that takes five, and shares the cores better."""


def translate_anywhere(address: str | None, stack: ExitStack) -> DoPictures:
    """The `do_pictures` of `run_plan` that suits the work.

    Without an address this process begins, and goes on alone unless what is left turns out to be much.

    Args:
        address: of a Ray cluster, see `session`.
        stack: holds the cluster for as long as it is open, once it is needed.
    """

    def do_pictures(
        job: TranslationJob, pictures: Sequence[Picture]
    ) -> Generator[tuple[Picture, str], None, None]:
        done = 0
        if address is None and pictures:
            done = yield from _begin(job, pictures)
        if done < len(pictures):
            stack.enter_context(session(address))
            # Only now: Ray reads its environment, which the session sets, when it is imported.
            from art2real.distributed.translate_job import translate_on_cluster

            yield from translate_on_cluster(job, pictures[done:])

    return do_pictures


def _begin(job: TranslationJob, pictures: Sequence[Picture]) -> Generator[tuple[Picture, str], None, int]:
    """Translates here until so much is left that it is worth a cluster; how many were done."""
    translator = Translator(job, best_device())
    for done, picture in enumerate(pictures, 1):
        begun = time.perf_counter()
        yield from translator([picture])
        left = (time.perf_counter() - begun) * (len(pictures) - done)
        if done > 1 and left > _WORTH:  # the first pass takes longer than the others
            return done
    return len(pictures)
