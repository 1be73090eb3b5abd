"""TensorBoard's event files: read back as what they are, records of length, checksum, message."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from art2real.training.board import Board
from art2real.training.loop import train_loop
from art2real.training.run_folder import RunFolder
from tests.training.runs import dies_at, tiny_config, write_domains


def events(folder):
    """The events of all files of a run, in order of time, and what each purge took back left out."""
    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack_from("<Q", content)
            event = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            if event.session_log.status == event.session_log.START:
                found = [each for each in found if each.step < event.step]
            found.append(event)
    return found


def scalars(folder):
    return {
        (value.tag, event.step): value.simple_value
        for event in events(folder)
        for value in event.summary.value
        if value.WhichOneof("value") == "simple_value"
    }


def test_figures_and_groups_of_them(tmp_path):
    board = Board(tmp_path, 0)
    board.log({"step": 3, "learning_rate": 0.5, "losses": {"cycle_X": 2.0, "D_Y": 0.25}})
    board.close()
    shown = scalars(tmp_path)
    assert shown[("losses/cycle_X", 3)] == 2.0
    assert shown[("losses/D_Y", 3)] == 0.25
    assert shown[("learning_rate", 3)] == 0.5


def test_a_picture_keeps_its_pixels(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    board = Board(tmp_path, 0)
    board.show("samples", picture, 7)
    board.close()
    (value,) = (value for event in events(tmp_path) for value in event.summary.value)
    assert value.tag == "samples"
    with Image.open(io.BytesIO(value.image.encoded_image_string)) as shown:
        assert np.array_equal(np.asarray(shown), picture)


def test_a_run_shows_what_it_logs_and_steps_that_are_done_again_only_once(tmp_path):
    write_domains(tmp_path)
    config = tiny_config(tmp_path, 4, logging={"checkpoint_every": 2, "sample_every": 2})
    run = RunFolder.create(config, {})

    with pytest.raises(ConnectionError):
        train_loop(config, run, report=dies_at(4))
    train_loop(config, run, resume_from=run.checkpoint_path(2))
    shown = scalars(run.path)
    for line in run.stats():
        for name, value in line["losses"].items():
            assert shown[(f"losses/{name}", line["step"])] == pytest.approx(value)
    pictures = [
        event.step for event in events(run.path) for value in event.summary.value if value.tag == "samples"
    ]
    assert pictures == [2, 4]
