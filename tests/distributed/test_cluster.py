"""Sessions on a local cluster. They run in processes of their own, so that no session touches another."""

from __future__ import annotations

import os
import subprocess
import sys


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=inherited | environment,
    )


def test_a_local_session_has_the_cpus_asked_for_a_secret_token_and_an_end(tmp_path):
    result = run_python(
        "import os\n"
        "from art2real.distributed.cluster import session\n"
        "with session(None, cpus=6.5):\n"
        "    import ray\n"
        "    print(ray.cluster_resources()['CPU'], os.environ['RAY_AUTH_MODE'])\n"
        "    print(len(os.environ['RAY_AUTH_TOKEN']))\n"
        "print(ray.is_initialized())\n",
        HOME=str(tmp_path),
    )
    assert result.stdout.split() == ["7.0", "token", "64", "False"], result.stderr
    assert not list(tmp_path.rglob("auth_token"))  # no lasting secret in the user's home


def test_a_local_session_also_starts_where_ray_was_imported_before(tmp_path):
    result = run_python(
        "import ray\n"
        "from art2real.distributed.cluster import session\n"
        "with session(None): print(ray.is_initialized())\n",
        HOME=str(tmp_path),
    )
    assert result.stdout.split() == ["True"], result.stderr


def test_an_address_where_nothing_answers_is_one_clear_error():
    result = run_python(
        "from art2real.cli.main import main\n"
        "from art2real.cli import main as frame\n"
        "import click\n"
        "def work():\n"
        "    from art2real.distributed.cluster import session\n"
        "    with session('127.0.0.1:1'): pass\n"
        "frame.LazyGroup.get_command = lambda *_: click.command()(work)\n"
        "main(['demo'])\n",
    )
    assert result.returncode == 1
    assert "no Ray cluster answers at --address 127.0.0.1:1" in result.stderr
    assert "Traceback" not in result.stderr
