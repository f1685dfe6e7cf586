"""The Helm chart renders what kustomize builds, and what it offers beyond that is valid, too."""

from __future__ import annotations

import json
import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.k8s.chart import CHART, VALUES, by_name, helm, rendered, rendered_with
from tests.k8s.overlay import K8S, OVERLAYS, VERSION, Object, built
from tests.k8s.test_manifests import CUSTOM, VERSIONS

every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@every_overlay
def test_the_chart_renders_the_objects_of_the_overlay(overlay: str) -> None:
    chart, kustomize = by_name(rendered(overlay)), by_name(built(overlay))

    assert chart.keys() == kustomize.keys()
    for name, each in kustomize.items():
        assert chart[name] == each, name


def test_a_change_in_the_base_alone_changes_what_both_render(tmp_path: Path) -> None:
    # The links of the chart lead to the files that kustomize reads: no manifest is there twice.
    assert {path.name: path.resolve() for path in CHART.iterdir() if path.is_symlink()} == {
        "base": K8S / "base",
        "components": K8S / "components",
        "grafana": K8S.parent / "ops" / "grafana",
    }
    for template in (CHART / "templates").glob("*.yaml"):
        assert "kind:" not in template.read_text(), template.name


def test_a_packaged_chart_holds_what_the_links_lead_to_and_fits_into_a_release(tmp_path: Path) -> None:
    done = helm("package", CHART, "--destination", tmp_path)
    assert done.returncode == 0, done.stderr
    (package,) = tmp_path.glob("*.tgz")

    assert package.name == f"callboard-{VERSION}.tgz"
    assert by_name(rendered_with(VALUES["prod"], chart=package)) == by_name(rendered("prod"))
    # Helm keeps chart and manifest in one Secret, which may have 1 MiB.
    assert package.stat().st_size < 300_000


def test_the_linter_has_nothing_to_say() -> None:
    for values in VALUES.values():
        done = helm("lint", "--strict", CHART, "--values", values)

        assert done.returncode == 0, done.stdout
        assert "[WARNING]" not in done.stdout and "[ERROR]" not in done.stdout, done.stdout


def test_chart_and_application_have_the_version_of_the_product() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert chart["version"] == chart["appVersion"] == VERSION


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        ("edge.replica=3", "'replica' not allowed"),
        ("nats.replicas=2", "'/nats/replicas': value must be one of 1, 3, 5"),
        ("image.tag=latest", "'/image/tag'"),
        ("nats.enabled=false", "'/nats/external/url'"),
        ("auth.existingSecret=", "'/auth"),
        ("config.LOG_LEVEL=debug", "LOG_LEVEL"),
        ("edge.autoscaling.by=both", "'hpa', 'keda', 'none'"),
        ("ingress.enabled=true", "host, the public name, is needed"),
        ("octanes[0].name=main", "octanes: main needs an address"),
        ("cameras[0].name=Front Door", "'/cameras/0/name'"),
        ("cameras[0].source=file:a", "missing property 'name'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(mistake: str, told: str) -> None:
    done = helm("template", "callboard", CHART, "--set", mistake)

    assert done.returncode != 0
    assert told in done.stderr, done.stderr


def test_nats_may_be_outside(tmp_path: Path) -> None:
    found = _with(tmp_path, {"nats": {"enabled": False, "external": {"url": "tls://nats.example:4222", "replicas": 5}}})

    assert "StatefulSet/nats" not in found and "NetworkPolicy/nats" not in found
    told = found["ConfigMap/callboard"]["data"]
    assert told["CALLBOARD_NATS_URL"] == "tls://nats.example:4222" and told["CALLBOARD_REPLICAS"] == "5"
    # Without a Secret of its own the authorities of the system are believed, and nothing of NATS's is mounted.
    assert "CALLBOARD_NATS_CA" not in told
    assert "nats-ca" not in json.dumps(found)
    assert found["NetworkPolicy/to-nats"]["spec"]["egress"] == [{"ports": [{"port": 4222, "protocol": "TCP"}]}]

    with_authority = {"enabled": False, "external": {"url": "tls://nats.example:4222", "caSecret": "corporate"}}
    found = _with(tmp_path, {"nats": with_authority})

    assert found["ConfigMap/callboard"]["data"]["CALLBOARD_NATS_CA"] == "/etc/nats-ca/ca.crt"
    volumes = found["Deployment/edge"]["spec"]["template"]["spec"]["volumes"]
    assert next(each for each in volumes if each["name"] == "nats-ca")["secret"]["secretName"] == "corporate"


def test_a_cluster_of_five_knows_its_routes(tmp_path: Path) -> None:
    nats = {"replicas": 5, "storage": {"size": "100Gi", "className": "fast"}, "jetstream": {"maxFile": "90GB"}}
    found = _with(tmp_path, {"nats": nats})

    conf = "\n".join(found["ConfigMap/nats"]["data"]["nats.conf"])
    assert re.findall(r"nats://(nats-\d)\.nats-headless:6222", conf) == [f"nats-{number}" for number in range(5)]
    assert "max_file_store: 90GB" in conf and found["StatefulSet/nats"]["spec"]["replicas"] == 5
    (claim,) = found["StatefulSet/nats"]["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "100Gi" and claim["spec"]["storageClassName"] == "fast"
    assert found["ConfigMap/callboard"]["data"]["CALLBOARD_REPLICAS"] == "5"


def test_each_camera_and_octane_is_an_actor_with_a_source_and_a_way_out(tmp_path: Path) -> None:
    secret = {"name": "camera-door", "key": "source"}
    found = _with(
        tmp_path,
        {
            "cameras": [
                {"name": "main", "source": "sim:card"},
                {"name": "door", "sourceSecret": secret, "ports": [80, 443]},
            ],
            "octanes": [{"name": "studio", "address": "octane.example:51099"}],
            "monitoring": {"podMonitors": True},
        },
    )

    told = {name: _variables(found[f"Deployment/{name}"]) for name in ("actor-camera", "actor-camera-door")}
    assert told["actor-camera"]["CALLBOARD_CAMERA_SOURCE"]["value"] == "sim:card"
    assert "CALLBOARD_INSTANCE" not in told["actor-camera"]
    assert told["actor-camera-door"]["CALLBOARD_INSTANCE"]["value"] == "door"
    assert told["actor-camera-door"]["CALLBOARD_CAMERA_SOURCE"]["valueFrom"] == {"secretKeyRef": secret}
    assert told["actor-camera-door"]["CALLBOARD_NATS_USER"]["value"] == "camera"
    octane = _variables(found["Deployment/actor-octane-studio"])
    assert octane["CALLBOARD_OCTANE_ADDRESS"]["value"] == "octane.example:51099"
    for policy, ports in (("camera", [554, 8554]), ("camera-door", [80, 443]), ("octane-studio", [51099])):
        (rule,) = found[f"NetworkPolicy/{policy}"]["spec"]["egress"]
        assert [each["port"] for each in rule["ports"]] == ports
        selector = found[f"NetworkPolicy/{policy}"]["spec"]["podSelector"]["matchLabels"]
        assert selector == {"app.kubernetes.io/name": f"actor-{policy}"}
    (expression,) = found["PodMonitor/callboard-actors"]["spec"]["selector"]["matchExpressions"]
    assert {"actor-camera", "actor-camera-door", "actor-octane-studio"} <= set(expression["values"])


def test_where_pods_run_and_what_they_are_told_is_the_operators(tmp_path: Path) -> None:
    pod = {
        "resources": {"requests": {"cpu": "2", "memory": "3Gi"}, "limits": {"memory": "4Gi"}},
        "extraEnv": [{"name": "CALLBOARD_EDGE_DRAIN", "value": "15s"}],
        "podAnnotations": {"example/a": "1"},
        "podLabels": {"example/b": "2"},
        "nodeSelector": {"pool": "edge"},
        "tolerations": [{"key": "edge", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
    }
    found = _with(
        tmp_path,
        {
            "image": {"repository": "registry.example/callboard", "digest": f"sha256:{'a' * 64}", "pullSecrets": [{"name": "r"}]},
            "extraEnv": [{"name": "CALLBOARD_OTEL_SERVICE", "value": "here"}],
            "config": {"CALLBOARD_EVENTS_MAX_AGE": "30d"},
            "auth": {"existingSecret": "", "jwksUrl": "https://id.example/jwks", "audience": "callboard"},
            "host": "callboard.example",
            "edge": pod,
            "networkPolicies": {"enabled": False},
        },
    )  # fmt: skip

    template = found["Deployment/edge"]["spec"]["template"]
    spec, (container,) = template["spec"], template["spec"]["containers"]
    told = _variables(found["Deployment/edge"])
    assert container["image"] == f"registry.example/callboard@sha256:{'a' * 64}"
    assert container["resources"] == pod["resources"] and spec["nodeSelector"] == {"pool": "edge"}
    assert spec["tolerations"] == pod["tolerations"] and spec["priorityClassName"] == "high"
    assert template["metadata"]["annotations"] == {"example/a": "1"}
    assert template["metadata"]["labels"]["example/b"] == "2"
    assert template["metadata"]["labels"]["callboard/nats"] == "true"
    assert told["CALLBOARD_EDGE_DRAIN"]["value"] == "15s" and told["CALLBOARD_OTEL_SERVICE"]["value"] == "here"
    assert told["CALLBOARD_EDGE_ALLOWED_HOSTS"]["value"] == "callboard.example"
    assert told["CALLBOARD_JWKS_URL"]["value"] == "https://id.example/jwks" and "CALLBOARD_JWT_SECRET" not in told
    assert found["ConfigMap/callboard"]["data"]["CALLBOARD_EVENTS_MAX_AGE"] == "30d"
    assert not [name for name in found if name.startswith("NetworkPolicy/")]
    assert {each["spec"]["template"]["spec"]["imagePullSecrets"][0]["name"] for each in _made_of_pods(found)} == {"r"}


def test_a_change_of_settings_rolls_out_and_makes_another_job(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("config: {CALLBOARD_LOG_LEVEL: debug}\nimage: {tag: 9.9.9}\n")
    one, other = rendered_with(), rendered_with(tmp_path / "other.yaml")

    def names(objects: tuple[Object, ...]) -> set[str]:
        wanted = (each["metadata"]["name"] for each in objects if each["kind"] in ("ConfigMap", "Job"))
        return {name for name in wanted if name.startswith(("callboard-", "streams-"))}

    assert len(names(one)) == len(names(other)) == 2
    assert not names(one) & names(other)


def test_a_gateway_that_is_there_already_is_used(tmp_path: Path) -> None:
    parent = {"name": "shared", "namespace": "gateways"}
    found = _with(tmp_path, {"host": "events.example", "gateway": {"enabled": True, "parentRef": parent}})

    assert "Gateway/callboard" not in found
    route = found["HTTPRoute/callboard"]["spec"]
    assert route["parentRefs"] == [parent] and route["hostnames"] == ["events.example"]


def test_the_notes_name_the_secrets_and_the_way_in() -> None:
    values = "auth.existingSecret=mine,host=a.example,ingress.enabled=true"
    done = helm("install", "callboard", CHART, "--dry-run=client", "--set", values)
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]

    assert f"Callboard {VERSION}" in notes and "https://a.example/" in notes
    for name in ("nats-tls", "nats-users", "mine", "callboard-tls"):
        assert f"  {name}  " in notes


def _with(folder: Path, values: Object) -> dict[str, Object]:
    """What the chart renders with some values, each object valid for the newest Kubernetes, by kind and name."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    objects = rendered_with(file)
    for each in objects:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, VERSIONS[-1], strict=True)
    return by_name(objects)


def _made_of_pods(found: dict[str, Object]) -> list[Object]:
    return [each for each in found.values() if each["kind"] in ("Deployment", "StatefulSet", "Job")]


def _variables(deployment: Object) -> dict[str, Object]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each for each in container["env"]}
