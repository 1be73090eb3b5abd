"""A few real steps before a run."""

from __future__ import annotations

import pytest
import torch

from art2real.errors import UserError
from art2real.training import trial
from art2real.training.plan import plan_run
from art2real.training.trial import try_steps
from tests.index.banks import NARROW, WIDE, index_bank, make_bank, request
from tests.training.runs import tiny_config, write_domains


def test_it_trains_with_the_bank_and_leaves_nothing(tmp_path, monkeypatch):
    write_domains(tmp_path)
    bank = make_bank(tmp_path)
    for scale in (WIDE, NARROW):
        index_bank(bank, scale, request(shards=2))
    pulls = []
    make = trial.make_pull

    def remember(*arguments):
        pulls.append(make(*arguments))
        return pulls[-1]

    monkeypatch.setattr(trial, "make_pull", remember)
    config = tiny_config(tmp_path, 9, contextual={"bank": str(bank.path), "neighbours": 3, "draws": 8})
    before = sorted(tmp_path.rglob("*")), torch.get_num_threads()
    tried = try_steps(config, plan_run(config), threads=1)
    assert (sorted(tmp_path.rglob("*")), torch.get_num_threads()) == before
    assert set(pulls[0].sources) == {WIDE, NARROW}
    assert 0 < tried.seconds < 60
    assert tried.bytes > 10_000_000
    assert tried.gpu_bytes == 0


def test_images_that_cannot_be_used_are_seen_before_the_run(tmp_path):
    write_domains(tmp_path)
    for path in (tmp_path / "photos").iterdir():
        path.write_bytes(b"\xff\xd8\xff\xe0 no more")
    config = tiny_config(tmp_path)
    with pytest.raises(UserError, match="none of its 5 images can be used"):
        try_steps(config, plan_run(config), threads=1)
