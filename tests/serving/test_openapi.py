"""That /openapi.json tells the truth: requests made from it, right and wrong, are answered as it says."""

from __future__ import annotations

import subprocess
import sys

import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Steps
from schemathesis.checks import negative_data_rejection, positive_data_acceptance

from tests.serving.made import Asker, service

# Bytes made from a description are seldom an image, and names never a model's: both are rightly refused. And
# what is no form by the description may now and then be taken: that is tested in test_body and test_contract.
EXCLUDED = [positive_data_acceptance, negative_data_rejection]
schema = schemathesis.openapi.from_asgi("/openapi.json", service(max_pixels=2**16))


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Steps.explicit, Steps.generate],
)
def test_requests_made_from_the_description(case):
    case.call_and_validate(excluded_checks=EXCLUDED)


def test_what_every_operation_says():
    with Asker(service(token="t")) as ask:
        described = ask.get("/openapi.json").json()
    assert described["components"]["securitySchemes"] == {"bearer": {"type": "http", "scheme": "bearer"}}
    assert set(described["paths"]) == {
        "/v1/translate",
        "/v1/explain",
        "/v1/models",
        "/health/live",
        "/health/ready",
    }
    for path, operations in described["paths"].items():
        for operation in operations.values():
            answers = operation["responses"]
            assert ("401" in answers) == path.startswith("/v1/") == ("security" in operation)
            for status, answer in answers.items():
                assert "X-Request-ID" in answer["headers"]
                assert ("Retry-After" in answer["headers"]) == (status == "503")
                if status != "200":
                    error = answer["content"]["application/json"]["schema"]
                    assert error == {"$ref": "#/components/schemas/Error"}
    post = described["paths"]["/v1/translate"]["post"]
    assert set(post["requestBody"]["content"]) == {
        "image/*",
        "application/octet-stream",
        "multipart/form-data",
    }
    assert {"400", "401", "408", "413", "415", "422", "500", "503"} < set(post["responses"])
    assert "HTTPValidationError" not in str(described)


def test_without_a_token_none_is_described():
    with Asker(service()) as ask:
        described = ask.get("/openapi.json").json()
    assert "securitySchemes" not in described["components"]


def test_the_service_without_models_loads_no_torch():
    """What speaks HTTP starts quickly and stays small; the models are elsewhere."""
    code = "import sys, art2real.serving.app; assert not {'torch', 'ray', 'faiss'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
