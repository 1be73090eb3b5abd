"""cluster/README.md is for copying and pasting: its commands are shell, and name what exists."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess

import click
import pytest
import yaml

from tests.cluster.manifests import CLUSTER, IMAGE, TOP

README = CLUSTER / "README.md"
SECURITY = TOP / "docs" / "security.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
each_block = pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))


def commands(block):
    """Words of each command; a line that goes on is one."""
    lines = block.replace("\\\n", " ").splitlines()
    return [words for line in lines if "awk" not in line and (words := split(line))]


def split(line):
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # the inside of a program in quotes
        return []


def calls():
    """(name of the command, its words) of everything of this project that is called, in all blocks."""
    for block in BLOCKS:
        for words in commands(block):
            for place, word in enumerate(words):
                if word == "art2real-cli":
                    yield words[place + 1], words[place + 2 :]
                elif word.startswith("/app/jobs/"):
                    assert words[place - 1] == "python"
                    assert (TOP / word.removeprefix("/app/")).is_file()
                    yield word.removeprefix("/app/jobs/").removesuffix(".py"), words[place + 1 :]


CALLS = list(calls())


def test_there_is_something_to_check():
    assert len(BLOCKS) > 10
    assert {"build_banks", "build_index", "train", "translate", "evaluate", "pipeline"} <= {
        n for n, _ in CALLS
    }


@each_block
def test_blocks_are_shell(block):
    subprocess.run(["bash", "-n", "-c", block], check=True)


@pytest.mark.parametrize("name,words", CALLS, ids=[name for name, _ in CALLS])
def test_calls_have_options_that_exist(name, words):
    command: click.Command = importlib.import_module(f"art2real.cli.{name.replace('-', '_')}").command
    words = [word for word in words if word not in ("&", ">")]
    params = command.make_context(name, list(words)).params  # reads the options, and runs nothing
    if "config_path" in params:
        from art2real.config.load import load_config

        load_config(TOP / str(params["config_path"]).removeprefix("/app/"), params["overrides"])


@each_block
def test_files_that_are_named_exist(block):
    for path in re.findall(r"(?<![\w./-])(?:/app/)?((?:cluster|configs|jobs|docs)/[\w./-]+)", block):
        assert (TOP / path).exists(), path


@pytest.mark.parametrize("page", [README, SECURITY], ids=["README", "security"])
def test_what_the_text_names_exists(page):
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (page.parent / path).exists(), path
    for path in re.findall(r"`((?:cluster|configs|jobs|docs|tests)/[\w./-]*)`", text):
        assert (TOP / path).exists(), path
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (TOP / "art2real").rglob("*.py"))
    for variable in set(re.findall(r"ART2REAL_\w+", text)):
        assert f'"{variable}"' in sources, variable


def test_every_manifest_is_used():
    text = "\n".join(BLOCKS)
    for path in sorted((CLUSTER / "kuberay").glob("*.yaml")):
        assert f"cluster/kuberay/{path.name}" in text


def test_manifests_with_the_image_get_the_registry():
    """Whoever applies one without putting in the registry would wait for an image that there is not."""
    for path in sorted((CLUSTER / "kuberay").glob("*.yaml")):
        applied = f"-f cluster/kuberay/{path.name}"
        if IMAGE.partition("/")[0] in path.read_text(encoding="utf-8"):
            assert not [block for block in BLOCKS if applied in block], path.name
    assert f'"$REGISTRY/{IMAGE.partition("/")[2]}"' in BLOCKS[0]


def test_names_are_those_of_the_manifests():
    text = "\n".join(BLOCKS)
    names = {
        f"{document['kind'].lower()}/{document['metadata']['name']}"
        for path in (CLUSTER / "kuberay").glob("*.yaml")
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    }
    named = re.findall(r"\b(pod|raycluster|rayjob|rayservice)[/ ]+(art2real[\w-]*)", text)
    assert named
    assert {f"{kind}/{name}" for kind, name in named} <= names


def test_rays_own_commands_have_these_options():
    from ray.dashboard.modules.job.cli import submit
    from ray.scripts import scripts

    known = {"job submit": submit, "up": scripts.up, "down": scripts.down}
    for block in BLOCKS:
        for words in commands(block):
            for name, command in known.items():
                asked = ["ray", *name.split()]
                if words[: len(asked)] == asked:
                    end = words.index("--") if "--" in words else len(words)
                    options = [word for word in words[:end] if word.startswith("--") and word != "--"]
                    assert set(options) <= {each for param in command.params for each in param.opts}


def test_the_costs_add_up():
    (block,) = (block for block in BLOCKS if "awk" in block)
    out = subprocess.run(["bash", "-euc", block], check=True, capture_output=True, text=True).stdout
    # 1.26 million steps of two workers at a quarter of a second, and half an hour for the bank.
    hours = 1_260_000 / 2 * 0.25 / 3600 + 0.5
    expected = (
        f"{hours:.0f} hours: head {hours * 0.2:.2f}, banks {hours * 0.15:.2f}, "
        f"training {(hours - 0.5) * 2 * 0.5:.2f}, storage {0.3 * 500:.2f}"
    )
    assert out.strip() == expected
