"""The container image: what it starts from, who runs in it, and that its lock is whole."""

from __future__ import annotations

import re
import runpy

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.cluster.manifests import CLUSTER, TOP, locked

DOCKERFILE = CLUSTER / "Dockerfile"
lock = runpy.run_path(str(CLUSTER / "lock.py"))


def instructions():
    """(name, arguments) in order; lines that go on are joined."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if line.strip()[:1] != "#"]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def stages():
    found = []
    for name, arguments in instructions():
        if name == "FROM":
            found.append([])
        found[-1].append((name, arguments))
    return found


def values(name, stage=-1):
    return [arguments for each, arguments in stages()[stage] if each == name]


def test_bases_have_an_exact_tag():
    bases = {stage[0][1].split()[0] for stage in stages()}
    assert len(bases) == 1  # one that is fetched and one that is checked for faults
    for base in bases:
        image, _, tag = base.partition(":")
        assert image == "nvidia/cuda"
        assert re.fullmatch(r"\d+\.\d+\.\d+-base-ubuntu\d\d\.\d\d", tag)


def test_it_has_the_cuda_of_the_locked_torch():
    (major,) = {stage[0][1].partition(":")[2].split(".")[0] for stage in stages()}
    assert locked()["nvidia-cuda-runtime"].split(".")[0] == major


def test_who_runs_in_it_is_nobody():
    users = values("USER")
    assert users == ["art2real"]
    names = [name for name, _ in stages()[-1]]
    # Nothing after it is done as root; before it, only the system is set up.
    assert names.index("USER") < names.index("COPY")
    assert "useradd --uid 1000" in values("RUN")[0]
    assert not any("sudo" in line for line in values("RUN"))


def test_layers_keep_no_caches():
    for stage in range(len(stages())):
        for line in values("RUN", stage):
            if "apt-get install" in line:
                assert line.startswith("apt-get update")
                assert "--no-install-recommends" in line
                assert "rm -rf /var/lib/apt/lists/*" in line
            for command in line.split("&&"):
                if re.search(r"pip (install|wheel)", command):
                    assert "--no-cache-dir" in command
    assert "latest" not in DOCKERFILE.read_text(encoding="utf-8")


def test_nothing_is_chosen_while_it_is_built():
    for stage in range(len(stages())):
        for line in values("RUN", stage):
            for command in line.split("&&"):
                if re.search(r"pip (install|wheel)", command):
                    assert "--no-deps" in command or "==" in command


def test_what_changes_seldom_comes_first():
    order = [arguments for name, arguments in stages()[-1] if name in ("COPY", "RUN")]
    place = {key: next(i for i, line in enumerate(order) if key in line) for key in ("lock", "whl", "jobs")}
    assert place["lock"] < place["whl"] < place["jobs"]


def test_what_is_copied_exists_and_is_not_ignored():
    ignore = (CLUSTER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in ignore if line.startswith("!")}
    assert "*" in ignore
    copied = set()
    for stage in range(len(stages())):
        for line in values("COPY", stage):
            words = line.split()
            if not words[0].startswith("--from="):
                copied.update(words[:-1])
    assert copied
    for source in copied:
        assert (TOP / source).exists(), source
    assert copied == kept


def test_the_wheels_files_are_all_there():
    """What pyproject.toml names is copied into the stage that builds the wheel."""
    copied = {word for line in values("COPY", 0) for word in line.split()[:-1]}
    assert {"pyproject.toml", "README.md", "LICENSE", "configs", "art2real"} <= copied


def test_the_lock_pins_every_line():
    text = (CLUSTER / "requirements.lock").read_text(encoding="utf-8")
    assert lock["read"](text) == locked()
    assert len(locked()) == len([line for line in text.splitlines() if not line.startswith("#")])
    for line in ("click>=8", "click", "click==8.*"):
        with pytest.raises(ValueError):
            lock["read"](line)


def test_the_lock_does_for_pyproject():
    wanted = lock["wanted"]()
    assert {"ray", "torch", "faiss-gpu"} <= {each.name for each in wanted}
    assert "faiss-cpu" not in {each.name for each in wanted}  # by the marker
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        assert requirement.specifier.contains(locked()[name]), f"{requirement}: python cluster/lock.py"


def test_the_lock_holds_what_packages_need_in_turn():
    """Of this environment's packages, whose versions may be newer than the lock's."""
    from importlib import metadata

    for name in locked():
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # not on this machine's platform
        if found.version.partition("+")[0] != locked()[name]:
            continue
        for line in found.requires or ():
            requirement = Requirement(line)
            if lock["applies"](requirement):
                there = locked().get(canonicalize_name(requirement.name))
                assert there is not None, f"{name} needs {requirement}: python cluster/lock.py"
                assert requirement.specifier.contains(there, prereleases=True), f"{name} needs {requirement}"


def test_extras_that_are_asked_for_are_in_the_lock():
    """`ray[serve]` brings an HTTP server, `ray[data]` pandas."""
    assert {"uvicorn", "pandas", "aiohttp"} <= set(locked())


def test_a_package_is_found_with_all_it_needs(monkeypatch):
    packages = {
        "a": ("1.0", ["b[x]>=2", "c; sys_platform == 'win32'"]),
        "b": ("2.1+local", ["d; extra == 'x'", "e; extra == 'y'"]),
        "d": ("3.0", []),
    }

    class Found:
        def __init__(self, name):
            self.version, self.requires = packages[name]

    closure = lock["closure"]
    space = closure.__globals__
    monkeypatch.setitem(space, "wanted", lambda: [Requirement("a")])
    monkeypatch.setattr(space["metadata"], "distribution", Found)
    assert closure() == {"a": "1.0", "b": "2.1", "d": "3.0"}
    packages["b"] = ("1.9", [])
    with pytest.raises(SystemExit, match=r"a needs b\[x\]>=2, but 1.9 is installed"):
        closure()
