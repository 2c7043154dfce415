"""Docker compose and Kubernetes: not run, but read."""

import pathlib

import click
import pytest

from realm_tf.cli.serve import serve

yaml = pytest.importorskip("yaml")

EXPORT = pathlib.Path(__file__).parents[2] / "export"
KUBERNETES = EXPORT / "kubernetes"
COMPOSE = EXPORT / "tf_serving/compose.yaml"
IMAGE = "realm-tf-serve"


def objects():
    """Every object of the manifests, by kind and name."""
    return {
        (found["kind"], found["metadata"]["name"]): found
        for file in sorted(KUBERNETES.glob("*.yaml"))
        for found in yaml.safe_load_all(file.read_text("utf-8"))
    }


OBJECTS = objects()
OWNERS = {
    name: found
    for (kind, name), found in OBJECTS.items()
    if kind in ("Deployment", "StatefulSet")
}
PODS = {name: found["spec"]["template"] for name, found in OWNERS.items()}
CONTAINERS = {name: pod["spec"]["containers"][0] for name, pod in PODS.items()}
SERVICES = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]


def command_lines():
    """Arguments that the image of the query service gets."""
    for name, container in CONTAINERS.items():
        if container["image"].startswith(IMAGE):
            yield name, container["args"]
    for name, service in SERVICES.items():
        if "build" in service:
            yield name, service["command"]


COMMAND_LINES = dict(command_lines())


def test_there_are_one_writer_and_readers():
    assert {name: found["kind"] for name, found in OWNERS.items()} == {
        "realm-models": "Deployment",
        "realm-readers": "Deployment",
        "realm-writer": "StatefulSet",
    }
    claim = OBJECTS["PersistentVolumeClaim", "realm-bundle"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert set(COMMAND_LINES) == {
        "realm-readers",
        "realm-writer",
        "questions",
        "readers",
    }


@pytest.mark.parametrize("name", COMMAND_LINES)
def test_services_are_started_as_the_command_allows(name, tmp_path):
    dockerfile = (EXPORT / "tf_serving/Dockerfile").read_text("utf-8")
    assert '"serve", "--bundle", "/bundle"' in dockerfile
    args = ["--bundle", str(tmp_path), *COMMAND_LINES[name]]
    with serve.make_context("serve", args) as context:
        is_reader = context.params["reader"]
        assert context.params["backend"].startswith("grpc://")
    assert is_reader == ("reader" in name)


def test_an_unknown_option_would_be_found(tmp_path):
    with pytest.raises(click.NoSuchOption):
        serve.make_context("serve", ["--bundle", str(tmp_path), "--readers"])


@pytest.mark.parametrize("name", PODS)
def test_pods_mount_the_bundle_and_only_the_writer_may_write(name):
    container, pod = CONTAINERS[name], PODS[name]["spec"]
    (mount,), (volume,) = container["volumeMounts"], pod["volumes"]
    assert mount["mountPath"] == "/bundle"
    claim = volume["persistentVolumeClaim"]
    assert claim["claimName"] == "realm-bundle"
    is_writer = name == "realm-writer"
    assert mount.get("readOnly", False) is not is_writer
    assert claim.get("readOnly", False) is not is_writer
    assert "token" in str(container.get("env")) or not is_writer


@pytest.mark.parametrize("name", PODS)
def test_selectors_services_and_probes_fit_the_pods(name):
    labels = PODS[name]["metadata"]["labels"]
    selectors = [
        found["spec"]["selector"]
        for (kind, _), found in OBJECTS.items()
        if kind == "Service"
    ]
    assert labels in selectors
    assert OWNERS[name]["spec"]["selector"]["matchLabels"] == labels
    ports = {port["name"] for port in CONTAINERS[name]["ports"]}
    for probe in ("readinessProbe", "startupProbe"):
        (check,) = (
            value
            for key, value in CONTAINERS[name][probe].items()
            if key in ("httpGet", "tcpSocket")
        )
        assert check["port"] in ports


def test_query_services_are_probed_where_they_answer():
    for name in ("realm-writer", "realm-readers"):
        container = CONTAINERS[name]
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        backend = container["args"][container["args"].index("--backend") + 1]
        service = OBJECTS["Service", backend.split("//")[1].split(":")[0]]
        assert {p["port"] for p in service["spec"]["ports"]} >= {8500}


@pytest.mark.parametrize(
    "args", [CONTAINERS["realm-models"]["args"], SERVICES["models"]["command"]]
)
def test_model_servers_take_calls_of_many_services(args):
    flags = dict(arg.removeprefix("--").split("=") for arg in args)
    assert int(flags["grpc_max_threads"]) >= 64
    assert flags["model_config_file"] == "/bundle/models.config"


def test_scaling_names_what_there_is():
    for (kind, _), found in OBJECTS.items():
        if kind == "HorizontalPodAutoscaler":
            target = found["spec"]["scaleTargetRef"]
            assert (target["kind"], target["name"]) in OBJECTS


def test_files_say_that_they_were_not_run():
    for file in KUBERNETES.glob("*.yaml"):
        first = file.read_text("utf-8").splitlines()[0]
        assert "Not run on a cluster." in first
