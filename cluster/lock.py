"""Writes cluster/requirements.lock: the exact versions that go into the image.

    python cluster/lock.py            from the packages of this environment, in which the tests have passed
    python cluster/lock.py --check    says what is out of date, and ends with 1 if anything is

The lock holds all that the package needs, and what that needs in turn, for the image's Python and machine. So
`pip install --no-deps` of it is complete, and nothing is chosen while an image is built.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOP = Path(__file__).parents[1]
LOCK = Path(__file__).with_name("requirements.lock")
# The image's: cluster/Dockerfile.
IMAGE = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.12.3",
    "python_version": "3.12",
    "sys_platform": "linux",
}
_HEAD = "# Made by cluster/lock.py, for Linux x86_64 and Python 3.12. Do not edit.\n"


def wanted() -> list[Requirement]:
    """What pyproject.toml asks for to run the package."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
    return [each for each in map(Requirement, project["project"]["dependencies"]) if applies(each)]


def applies(requirement: Requirement, extra: str = "") -> bool:
    """Whether the image needs it, where it is asked for by a package with this extra."""
    return requirement.marker is None or requirement.marker.evaluate({**IMAGE, "extra": extra})


def closure() -> dict[str, str]:
    """Versions by canonical name of all that is wanted, directly or by another package.

    Raises:
        SystemExit: something is not installed here, or in a version that does not do.
    """
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(each, "pyproject.toml") for each in wanted()]
    while waiting:
        requirement, by = waiting.pop()
        name = canonicalize_name(requirement.name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise SystemExit(f"{by} needs {requirement}, which is not installed here: install it") from None
        if not requirement.specifier.contains(found.version, prereleases=True):
            raise SystemExit(f"{by} needs {requirement}, but {found.version} is installed here")
        versions[name] = found.version.partition("+")[0]  # a local build's mark is not on the index
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting.extend((each, name) for each in _needs(found, extra))
    return versions


def text(versions: dict[str, str]) -> str:
    return _HEAD + "".join(f"{name}=={versions[name]}\n" for name in sorted(versions))


def read(lock: str) -> dict[str, str]:
    """Versions by name.

    Raises:
        ValueError: a line pins nothing exactly.
    """
    versions = {}
    for line in lock.splitlines():
        if line and not line.startswith("#"):
            pinned = re.fullmatch(r"([a-z0-9-]+)==([0-9][^\s*]*)", line)
            if pinned is None:
                raise ValueError(f"{line!r} is not NAME==VERSION")
            versions[pinned[1]] = pinned[2]
    return versions


def _needs(found: Any, extra: str) -> Iterator[Requirement]:
    for line in found.requires or ():
        requirement = Requirement(line)
        if applies(requirement, extra):
            yield requirement


def main() -> int:
    made = text(closure())
    if "--check" not in sys.argv[1:]:
        LOCK.write_text(made, encoding="utf-8")
        return 0
    now = LOCK.read_text(encoding="utf-8") if LOCK.exists() else ""
    for line in sorted(set(made.splitlines()) ^ set(now.splitlines())):
        print(("missing: " if line in made.splitlines() else "too much: ") + line, file=sys.stderr)
    return int(made != now)


if __name__ == "__main__":
    sys.exit(main())
