"""The Kubernetes manifests: against KubeRay's schemas made strict, and against each other."""

from __future__ import annotations

import copy
import json
import shlex
from pathlib import Path, PurePosixPath
from typing import Any

import click
import pytest
import yaml

from art2real.cli import pipeline
from art2real.config.load import load_config
from tests.cluster.manifests import CLUSTER, IMAGE, TOP, documents, locked, quantity, walk
from tests.strict import closed, unknown_keys

KUBERAY = CLUSTER / "kuberay"
FILES = sorted(KUBERAY.glob("*.yaml"))
RAY = {
    "RayCluster": ("cluster.yaml", "rayclusters.yaml"),
    "RayJob": ("job.yaml", "rayjobs.yaml"),
    "RayService": ("service.yaml", "rayservices.yaml"),
}
CRD = TOP.parent / "shared" / "crd"
API = {
    "NetworkPolicy": "networking.k8s.io/v1",
    "PersistentVolumeClaim": "v1",
    "Pod": "v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    **dict.fromkeys(RAY, "ray.io/v1"),
}


def manifest(kind: str) -> dict[str, Any]:
    (found,) = documents(KUBERAY / RAY[kind][0])
    return found


def cluster_of(kind: str) -> dict[str, Any]:
    spec = manifest(kind)["spec"]
    return (
        spec if kind == "RayCluster" else spec["rayClusterSpec" if kind == "RayJob" else "rayClusterConfig"]
    )


def groups_of(kind: str) -> list[dict[str, Any]]:
    cluster = cluster_of(kind)
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


GROUPS = [
    pytest.param(kind, number, id=f"{kind}-{group.get('groupName', 'head')}")
    for kind in RAY
    for number, group in enumerate(groups_of(kind))
]


def pods() -> list[tuple[str, dict[str, Any]]]:
    """All that becomes a pod: where it stands, and its labels and spec."""
    found = []
    for path in FILES:
        for document in documents(path):
            for each in walk(document):
                if "containers" in each.get("spec", {}):
                    found.append((f"{path.name}/{each['spec']['containers'][0]['name']}", each))
    return found


PODS = [pytest.param(pod, id=name) for name, pod in pods()]


@pytest.mark.skipif(not CRD.is_dir(), reason="../shared/crd is not here")
@pytest.mark.parametrize("kind", RAY)
def test_kuberay_knows_every_key(kind):
    import jsonschema

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    definition = yaml.load((CRD / RAY[kind][1]).read_text(encoding="utf-8"), Loader=loader)
    (version,) = (each for each in definition["spec"]["versions"] if each["name"] == "v1")
    assert not version.get("deprecated")
    spec = closed(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    validator = jsonschema.Draft202012Validator(spec)
    written = manifest(kind)["spec"]
    assert not [f"{error.json_path}: {error.message}" for error in validator.iter_errors(written)]
    # And it would find what is wrong, also deep inside.
    broken = copy.deepcopy(written)
    (cluster,) = (each for each in walk(broken) if "headGroupSpec" in each)
    cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["memmory"] = "1Gi"
    assert [error for error in validator.iter_errors(broken) if "memmory" in error.message]


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_kinds_names_and_labels(path):
    for document in documents(path):
        assert document["apiVersion"] == API[document["kind"]]
        assert document["metadata"]["name"].startswith("art2real")
        assert document["metadata"]["labels"]["app.kubernetes.io/name"] == "art2real"
        assert "namespace" not in document["metadata"]  # the user's current one


@pytest.mark.parametrize("kind", RAY)
def test_ray_is_that_of_the_image_and_asks_for_a_token(kind):
    cluster = cluster_of(kind)
    assert cluster["rayVersion"] == locked()["ray"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"] is True
    for group in cluster["workerGroupSpecs"]:
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    # Stages count the nodes that are there when they begin.
    assert sum(group["minReplicas"] for group in cluster["workerGroupSpecs"]) > 0


def test_the_job_has_the_cluster_that_stays():
    assert cluster_of("RayJob") == cluster_of("RayCluster")


@pytest.mark.parametrize("pod", PODS)
def test_pods_have_one_image_and_few_rights(pod):
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 1000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert not [volume for volume in spec["volumes"] if "hostPath" in volume]
    if pod["metadata"]["labels"]["art2real/pod"] != "head":  # its autoscaler asks Kubernetes
        assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        assert container["image"] == IMAGE
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
        # The image is read-only, so what is written at home goes into a volume.
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert {"name": "HOME", "value": "/tmp"} in container["env"]
        assert "/tmp" in mounts
        assert set(mounts.values()) <= {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize("kind,number", GROUPS)
def test_memory_adds_up(kind, number):
    group = groups_of(kind)[number]
    spec = group["template"]["spec"]
    limits = spec["containers"][0]["resources"]["limits"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    shm = volumes["shm"]["emptyDir"]
    store, heap = (int(group["rayStartParams"][key]) for key in ("object-store-memory", "memory"))
    assert shm["medium"] == "Memory"
    assert quantity(shm["sizeLimit"]) > store
    # What lies in /dev/shm counts as the container's memory; Ray's own processes need the rest.
    assert heap + quantity(shm["sizeLimit"]) <= quantity(limits["memory"]) - 2**29
    assert quantity(volumes["tmp"]["emptyDir"]["sizeLimit"]) <= quantity(limits["ephemeral-storage"])


@pytest.mark.parametrize("kind", RAY)
def test_the_head_does_no_work_and_stays(kind):
    head = cluster_of(kind)["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    spec = head["template"]["spec"]
    assert "tolerations" not in spec  # spot nodes are marked by taints, too
    required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = required["nodeSelectorTerms"]
    assert {each["key"] for each in term["matchExpressions"]} == {
        "cloud.google.com/gke-spot",
        "eks.amazonaws.com/capacityType",
        "karpenter.sh/capacity-type",
    }


def test_roles_and_gpus():
    roles = {}
    for kind in RAY:
        for group in groups_of(kind):
            limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
            roles.setdefault(group["labels"]["art2real/role"], set()).add(limits.get("nvidia.com/gpu"))
    assert roles == {"head": {None}, "banks": {None}, "train": {"1"}, "serve": {None}}


def test_labels_are_labels_to_ray():
    from ray._private.label_utils import validate_label_key, validate_label_value

    for kind in RAY:
        for group in groups_of(kind):
            for key, value in group["labels"].items():
                assert not validate_label_key(key)
                validate_label_value(value)


def options_of(command: click.Command, words: list[str]) -> click.Context:
    """The options read, without anything being run.

    Raises:
        click.ClickException: one is wrong.
    """
    return command.make_context("job", words)


def entrypoint() -> click.Context:
    python, script, *words = shlex.split(manifest("RayJob")["spec"]["entrypoint"])
    assert python == "python"
    assert script.startswith("/app/jobs/")
    assert (TOP / script.removeprefix("/app/")).is_file()
    return options_of(pipeline.command, words)


def test_the_jobs_command_and_settings_are_known():
    params = entrypoint().params
    config = TOP / str(params["config_path"]).removeprefix("/app/")
    cluster = load_config(config, params["overrides"]).cluster
    train = next(group for group in groups_of("RayJob") if group["labels"]["art2real/role"] == "train")
    limits = train["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert cluster.workers <= train["maxReplicas"] * int(limits["nvidia.com/gpu"])
    assert cluster.cpus_per_worker is not None
    assert cluster.cpus_per_worker < int(limits["cpu"])  # the rest is the index actors'
    assert cluster.use_gpu
    assert cluster.max_failures == -1


def test_the_service_is_that_of_configs_with_what_the_job_makes():
    from ray.serve.schema import ServeDeploySchema

    from art2real.distributed.serve_app import ServeArguments

    written = yaml.safe_load(manifest("RayService")["spec"]["serveConfigV2"])
    understood = ServeDeploySchema.model_validate(written).model_dump(exclude_unset=True)
    assert not list(unknown_keys(written, understood))
    ServeArguments.model_validate(written["applications"][0]["args"])

    params = entrypoint().params
    name = load_config(TOP / str(params["config_path"]).removeprefix("/app/"), params["overrides"]).name
    out = PurePosixPath(params["out"])
    application = written["applications"][0]
    models = application["deployments"][0]["user_config"]["models"]
    assert application["args"]["bank"] == str(out / "bank")
    assert list(models.values()) == [str(out / "runs" / f"0001-{name}")]

    other = yaml.safe_load((TOP / "configs" / "serve.yaml").read_text(encoding="utf-8"))
    assert written["http_options"].pop("host") == "0.0.0.0"
    other["http_options"].pop("host")
    for each in (written, other):
        each["applications"][0]["args"].pop("bank")
        each["applications"][0]["deployments"][0]["user_config"]["models"] = list(models)
    assert written == other


def test_the_services_token_is_a_secret_on_every_node():
    for group in groups_of("RayService"):
        (container,) = group["template"]["spec"]["containers"]
        (token,) = (each for each in container["env"] if each["name"] == "ART2REAL_TOKEN")
        assert token["valueFrom"]["secretKeyRef"] == {"name": "art2real-http", "key": "token"}


def test_a_request_may_end_before_its_node_does():
    written = yaml.safe_load(manifest("RayService")["spec"]["serveConfigV2"])
    seconds = written["applications"][0]["args"]["service"]["timeout_seconds"]
    for group in cluster_of("RayService")["workerGroupSpecs"]:
        assert group["template"]["spec"]["terminationGracePeriodSeconds"] > seconds
    assert manifest("RayService")["spec"]["rayClusterDeletionDelaySeconds"] > seconds


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def policies_of(labels: dict[str, str]) -> list[dict[str, Any]]:
    found = documents(KUBERAY / "network.yaml")
    return [each["spec"] for each in found if matches(each["spec"]["podSelector"], labels)]


def may_reach(source: dict[str, str], namespace: str | None, target: dict[str, str], port: int) -> bool:
    """Whether a pod with these labels, in the namespace that is named, if any, may open the target's port."""
    for policy in policies_of(target):
        for rule in policy["ingress"]:
            ports = [each["port"] for each in rule.get("ports", ())]
            if ports and port not in ports:
                continue
            for peer in rule["from"]:
                there = peer.get("namespaceSelector", {}).get("matchLabels")
                same = there is None if namespace is None else there == {NAMESPACE: namespace}
                if same and matches(peer.get("podSelector", {}), source):
                    return True
    return False


NAMESPACE = "kubernetes.io/metadata.name"
POD = "art2real/pod"
OPERATOR = {"app.kubernetes.io/name": "kuberay-operator"}


@pytest.mark.parametrize(
    "source,namespace,target,port,allowed",
    [
        ({POD: "worker"}, None, "head", 6379, True),
        ({POD: "head"}, None, "worker", 10_002, True),
        ({POD: "submitter"}, None, "head", 8265, True),
        ({POD: "submitter"}, None, "head", 6379, False),
        ({POD: "submitter"}, None, "worker", 10_002, False),
        (OPERATOR, "ray-system", "head", 8265, True),
        (OPERATOR, "ray-system", "head", 6379, False),
        ({}, "ray-system", "head", 8265, False),
        ({}, "monitoring", "worker", 8080, True),
        ({}, "monitoring", "head", 8265, False),
        ({}, None, "head", 8265, False),
        ({}, None, "head", 10_001, False),
        ({}, None, "worker", 8000, False),
        ({}, "default", "head", 6379, False),
    ],
)
def test_who_may_reach_what(source, namespace, target, port, allowed):
    assert may_reach(source, namespace, {POD: target}, port) == allowed


@pytest.mark.parametrize("pod", PODS)
def test_every_pod_is_behind_a_policy(pod):
    policies = policies_of(pod["metadata"]["labels"])
    assert {"Ingress", "Egress"} <= {kind for policy in policies for kind in policy["policyTypes"]}


def test_clients_reach_the_service_and_nothing_else():
    (policy,) = (
        each for each in documents(KUBERAY / "network.yaml") if each["metadata"]["name"] == "art2real-serve"
    )
    (rule,) = policy["spec"]["ingress"]
    assert [each["port"] for each in rule["ports"]] == [8000]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"art2real/clients": "true"}}}]


def test_prometheus_finds_every_node():
    (monitor,) = documents(KUBERAY / "monitoring.yaml")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    for kind in RAY:
        for group in groups_of(kind):
            assert matches(monitor["spec"]["selector"], group["template"]["metadata"]["labels"])
            ports = group["template"]["spec"]["containers"][0]["ports"]
            assert {each["name"]: each["containerPort"] for each in ports}[endpoint["port"]] == 8080


def test_the_dashboard_is_one_for_grafana():
    dashboard = json.loads((TOP / "configs" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    assert {"title", "uid", "panels", "schemaVersion"} <= set(dashboard)


def test_the_folder_is_shared_by_name():
    (claim,) = documents(KUBERAY / "storage.yaml")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for _, pod in pods():
        for volume in pod["spec"]["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_no_file_is_left_out():
    assert {path.name for path in FILES} == {
        *(file for file, _ in RAY.values()),
        *(f"{name}.yaml" for name in ("files", "monitoring", "network", "storage")),
    }
    assert Path(KUBERAY / "files.yaml").is_file()
