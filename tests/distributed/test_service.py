"""The HTTP service on Ray Serve: contract, models that are swapped, replicas that die, and the stop."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import ray
import yaml
from PIL import Image
from starlette.testclient import TestClient

from art2real.errors import UserError
from art2real.translation.image import translate_image
from art2real.translation.weights import load_generator
from tests.checkpoints import write_checkpoint
from tests.pictures import make_photo
from tests.strict import unknown_keys

CONFIG = Path(__file__).parents[2] / "configs" / "serve.yaml"


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def as_png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    return out.getvalue()


def pixels_of(response):
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(io.BytesIO(response.content)))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        name: write_checkpoint(folder / name, seed) for seed, name in enumerate(("first", "second", "third"))
    }


@pytest.fixture(scope="module")
def url(ray_cluster, models):
    from ray import serve
    from ray.serve.config import HTTPOptions

    port = free_port()
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=port))
    deploy({name: str(models[name]) for name in ("first", "second")})
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


def deploy(models):
    """What `serve deploy configs/serve.yaml` sends, with these models."""
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    config = yaml.safe_load(CONFIG.read_text())
    (application,) = config["applications"]
    application["args"] = {"cpus": 1}
    application["deployments"][0]["user_config"]["models"] = models
    _get_global_client().deploy_apps(ServeDeploySchema.model_validate(config), _blocking=False)
    wait_until(lambda: status() != "DEPLOYING")


def status():
    from ray import serve

    return serve.status().applications["art2real"].status.value


def wait_until(what, seconds=60):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


@pytest.fixture
def painting():
    return make_photo(3, 45, 61)


def near(one, other):
    """A model in a batch may round a value otherwise."""
    return np.abs(one.astype(int) - other).max() <= 1


def test_it_answers_by_the_model_that_is_asked_for(url, models, painting):
    for query, name in (("", "first"), ("?model=first", "first"), ("?model=second", "second")):
        result = pixels_of(httpx.post(f"{url}/v1/translate{query}", content=as_png(painting)))
        assert near(result, translate_image(load_generator(models[name]), painting))
    assert httpx.post(f"{url}/v1/translate?model=none", content=as_png(painting)).status_code == 422
    assert [each["name"] for each in httpx.get(f"{url}/v1/models").json()["models"]] == ["first", "second"]
    assert httpx.get(f"{url}/health/ready").status_code == 200


def test_requests_of_many_sizes_at_once_each_get_their_own(url, models):
    generator = load_generator(models["first"])
    pictures = [make_photo(seed, 16 + 4 * (seed % 5), 20 + seed % 3) for seed in range(40)]
    with httpx.Client() as client, ThreadPoolExecutor(12) as pool:
        answers = pool.map(lambda each: client.post(f"{url}/v1/translate", content=as_png(each)), pictures)
    for answer, picture in zip(answers, pictures, strict=True):
        assert near(pixels_of(answer), translate_image(generator, picture))


def replica(name):
    """The process of a deployment's only replica, in this cluster."""
    (pid,) = (
        each["Pid"]
        for each in ray._private.state.actors().values()
        if each["State"] == "ALIVE" and f"art2real#{name}#" in each["Name"]
    )
    return pid


class Load:
    """Clients that ask all the time; what came back is kept."""

    def __init__(self, url, painting):
        self.statuses = []
        self._stop = threading.Event()
        self._ask = lambda: (
            httpx.post(f"{url}/v1/translate", content=as_png(painting), timeout=60).status_code
        )
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]

    def _run(self):
        while not self._stop.is_set():
            try:
                self.statuses.append(self._ask())
            except httpx.HTTPError as error:
                self.statuses.append(repr(error))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_a_killed_replica_costs_no_request(url, painting):
    with Load(url, painting) as load:
        time.sleep(0.3)
        before = len(load.statuses)
        os.kill(replica("Translator"), signal.SIGKILL)
        wait_until(lambda: len(load.statuses) > before + 20)
    assert set(load.statuses) == {200}


def test_models_are_swapped_without_dropping_a_request(url, models, painting):
    process = replica("Translator")
    with Load(url, painting) as load:
        deploy({"first": str(models["third"])})
        expected = translate_image(load_generator(models["third"]), painting)
        wait_until(
            lambda: near(pixels_of(httpx.post(f"{url}/v1/translate", content=as_png(painting))), expected)
        )
    assert len(load.statuses) > 0
    assert set(load.statuses) == {200}
    assert replica("Translator") == process


def test_a_checkpoint_that_cannot_be_loaded_leaves_the_models_of_before(url, tmp_path, models, painting):
    expected = pixels_of(httpx.post(f"{url}/v1/translate", content=as_png(painting)))
    with Load(url, painting) as load:
        deploy({"other": str(tmp_path / "missing")})
        wait_until(lambda: len(load.statuses) > 10)
    assert set(load.statuses) == {200}
    assert near(pixels_of(httpx.post(f"{url}/v1/translate", content=as_png(painting))), expected)


def test_a_port_in_use_is_said(url):
    from art2real.distributed.serve_app import ServeArguments
    from art2real.distributed.service import running

    port = int(url.rpartition(":")[2])
    with (
        pytest.raises(UserError, match=f"--port {port}: cannot be listened on"),
        running(ServeArguments(models={"a": "b"}), "127.0.0.1", port, shut_down=True),
    ):
        pass
    assert httpx.get(f"{url}/health/live").status_code == 200


def test_the_configuration_file_has_no_unknown_keys():
    from ray.serve.schema import ServeDeploySchema

    from art2real.distributed.serve_app import ServeArguments

    written = yaml.safe_load(CONFIG.read_text())
    understood = ServeDeploySchema.model_validate(written).model_dump(exclude_unset=True)

    assert not list(unknown_keys(written, understood))
    ServeArguments.model_validate(written["applications"][0]["args"])


def test_the_token_of_a_node_s_environment_is_asked_for(monkeypatch):
    from art2real.distributed.serve_gateway import Gateway
    from art2real.serving.settings import ServiceSettings

    def status(settings, **headers):
        app = Gateway(settings, None, None).__serve_build_asgi_app__()
        return TestClient(app).get("/v1/nothing", headers=headers).status_code

    monkeypatch.setenv("ART2REAL_TOKEN", "of-the-node")
    assert status(ServiceSettings()) == 401
    assert status(ServiceSettings(), Authorization="Bearer of-the-node") == 404
    assert status(ServiceSettings(token="own"), Authorization="Bearer of-the-node") == 401
    monkeypatch.delenv("ART2REAL_TOKEN")
    assert status(ServiceSettings()) == 404
