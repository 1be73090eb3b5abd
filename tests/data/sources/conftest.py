"""A real S3 server on the loopback interface, and a bucket of its own for each test."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import pyarrow.fs as fs
import pytest
from moto.server import ThreadedMotoServer

_NUMBERS = count()


@dataclass(frozen=True)
class Bucket:
    """An empty bucket of the test server."""

    endpoint: str
    name: str

    def uri(self, rest: str = "") -> str:
        return f"s3://{self.name}{rest}?endpoint_override={self.endpoint}&scheme=http&region=us-east-1"

    def make(self) -> None:
        store = fs.S3FileSystem(
            endpoint_override=self.endpoint, scheme="http", region="us-east-1", allow_bucket_creation=True
        )
        store.create_dir(self.name)

    def put(self, key: str, content: bytes) -> None:
        store = fs.S3FileSystem(endpoint_override=self.endpoint, scheme="http", region="us-east-1")
        with store.open_output_stream(f"{self.name}/{key}") as file:
            file.write(content)

    def put_raw(self, key: str, content: bytes) -> None:
        """As `put`, for keys that Arrow refuses to write."""
        request = urllib.request.Request(
            f"http://{self.endpoint}/{self.name}/{key}", data=content, method="PUT"
        )
        urllib.request.urlopen(request, timeout=10).close()


@pytest.fixture(scope="package", autouse=True)
def no_settings_of_the_user() -> Iterator[None]:
    """Whatever store the machine that runs the tests is set up for is not asked."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="package")
def s3_endpoint() -> Iterator[str]:
    """Host and port of the server; credentials for it are in the environment meanwhile."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"{host}:{port}"
        server.stop()


@pytest.fixture
def bucket(s3_endpoint: str) -> Bucket:
    name = f"photos-{next(_NUMBERS)}"
    made = Bucket(s3_endpoint, name)
    made.make()
    return made
