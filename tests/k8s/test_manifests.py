"""The manifests of k8s/: valid to the letter for three versions of Kubernetes, and true to one another and to the program."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import all_versions, major_minor

from actors.alerts.rulebook import SHIPPED
from actors.catalog import ACTORS
from ops.cli.commands import parser
from ops.process.roles import WORKER_DRAIN
from ops.sections import SECTIONS
from ops.settings import Settings
from ops.values import seconds
from router import catalogue, topology
from router.topology import TopologySettings
from tests import parts
from tests.k8s.overlay import (
    EVERYTHING,
    K8S,
    OVERLAYS,
    ROOT,
    VERSION,
    Object,
    built,
    chosen,
    containers,
    named,
    of_kind,
    pods,
    variables,
)
from tests.waiting import PATIENCE

SCHEMAS = Path(__file__).parent / "schemas"
# The last three minor versions that there are schemas for.
VERSIONS = sorted(
    {major_minor(version) for version in all_versions()},
    key=lambda version: [int(part) for part in version.split(".")],
)[-3:]
# What an actor's process does after it has worked off its mailbox: stop(), the service's end, the connection to NATS.
ACTOR_GRACE, ACTOR_REST = 5.0, 5.0
CUSTOM = {
    "Gateway": "gateway_v1.json",
    "HTTPRoute": "httproute_v1.json",
    "PodMonitor": "podmonitor_v1.json",
    "ServiceMonitor": "servicemonitor_v1.json",
    "PrometheusRule": "prometheusrule_v1.json",
    "ScaledObject": "scaledobject_v1alpha1.json",
    "Certificate": "certificate_v1.json",
    "Issuer": "issuer_v1.json",
}

every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def test_three_versions_are_known() -> None:
    assert len(VERSIONS) == 3


@every_overlay
@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid_to_the_letter(overlay: str, version: str) -> None:
    for each in built(overlay):
        if each["kind"] in CUSTOM:
            jsonschema.validate(each, schema_of(each["kind"]))
        else:
            # Raises where there is no schema, too: nothing goes unlooked at.
            kubernetes_validate.validate(each, version, strict=True)


def test_a_field_that_does_not_exist_is_found() -> None:
    each: Object = json.loads(json.dumps(of_kind("prod", "PodMonitor")[0]))
    each["spec"]["podMetricsEndpoints"][0]["prot"] = "internal"
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(each, schema_of("PodMonitor"))
    with pytest.raises(jsonschema.ValidationError):
        kubernetes_validate.validate(service, VERSIONS[-1], strict=True)


@every_overlay
def test_every_object_has_a_name_of_its_own_in_our_namespace(overlay: str) -> None:
    seen = [(each["kind"], each["metadata"]["name"]) for each in built(overlay)]
    homes = {each["metadata"].get("namespace") for each in built(overlay) if each["kind"] != "Namespace"}

    assert len(seen) == len(set(seen))
    assert homes == {"callboard"}


@every_overlay
def test_pods_are_confined_as_the_strictest_profile_wants(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for each in pods(overlay):
        security = each.spec["securityContext"]
        assert security["runAsNonRoot"] is True, each.name
        assert security["runAsUser"] >= 1000, each.name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, each.name
        assert each.spec["automountServiceAccountToken"] is False, each.name
        assert each.spec["enableServiceLinks"] is False, each.name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & each.spec.keys(), each.name
        assert all("hostPath" not in volume for volume in each.spec.get("volumes", [])), each.name
    for each, container in containers(overlay):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, (each.name, container["name"])


@every_overlay
def test_every_container_says_what_it_needs(overlay: str) -> None:
    for each, container in containers(overlay):
        resources = container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys(), each.name
        assert "memory" in resources["limits"], each.name
        assert "cpu" not in resources["limits"], f"{each.name}: throttling is latency"


@every_overlay
def test_images_are_ours_and_have_a_version(overlay: str) -> None:
    for each, container in containers(overlay):
        name, _, tag = container["image"].rpartition(":")
        others = {"nats": "nats", "exporter": "natsio/prometheus-nats-exporter"}
        assert name == others.get(container["name"], "callboard"), each.name
        assert tag not in ("", "latest"), each.name
        if overlay != "dev" and name == "callboard":
            assert tag == VERSION


@every_overlay
def test_what_runs_for_long_is_probed_on_ports_and_paths_that_are_there(overlay: str) -> None:
    for each in pods(overlay):
        if each.kind == "Job":
            continue
        container = each.spec["containers"][0]
        probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
        assert {probe["port"] for probe in probes.values()} <= each.ports().keys(), each.name
        if each.name != "nats":
            assert probes["readiness"]["path"] == "/readyz", each.name
            # A broker's fault mends nothing by a restart.
            assert probes["startup"]["path"] == probes["liveness"]["path"] == "/livez", each.name
            told = variables(overlay, container)
            assert each.ports()["internal"] == int(told["CALLBOARD_INTERNAL_PORT"]), each.name
            assert told["CALLBOARD_INTERNAL_HOST"] == "0.0.0.0", each.name


@every_overlay
def test_an_edge_has_the_time_to_send_its_readers_away(overlay: str) -> None:
    edge = named(overlay, "edge")
    (container,) = edge.spec["containers"]
    drain = seconds(variables(overlay, container)["CALLBOARD_EDGE_DRAIN"])
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    ready = container["readinessProbe"]

    assert edge.spec["terminationGracePeriodSeconds"] >= before + drain + WORKER_DRAIN
    # Whoever watches readiness alone sees it flip while there is still time.
    assert ready["periodSeconds"] * ready["failureThreshold"] <= drain
    assert before >= 5
    assert edge.owner["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert edge.owner["spec"]["progressDeadlineSeconds"] > edge.spec["terminationGracePeriodSeconds"] * 10


@every_overlay
def test_an_actor_is_alone_and_has_the_time_to_work_off_its_mailbox(overlay: str) -> None:
    actors = [each for each in pods(overlay) if each.name.startswith("actor-")]
    assert {each.name.removeprefix("actor-") for each in actors} <= ACTORS.keys()
    assert {"actor-agent", "actor-alerts", "actor-metrics"} <= {each.name for each in actors}
    for each in actors:
        assert each.owner["spec"]["replicas"] == 1, each.name
        assert each.owner["spec"]["strategy"] == {"type": "Recreate"}, each.name
        assert each.spec["terminationGracePeriodSeconds"] >= ACTOR_GRACE + ACTOR_REST, each.name


@every_overlay
def test_a_nats_server_has_the_time_to_send_its_clients_away(overlay: str) -> None:
    conf = nats_conf(overlay)
    nats = named(overlay, "nats")
    lame = sum(seconds(text) for text in re.findall(r'lame_duck_\w+: "(\w+)"', conf))

    assert lame > 0
    assert nats.spec["terminationGracePeriodSeconds"] > lame
    assert "ldm" in " ".join(nats.spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"])


@every_overlay
def test_nats_has_the_room_that_its_configuration_promises(overlay: str) -> None:
    conf = nats_conf(overlay)
    nats = named(overlay, "nats")
    container = nats.spec["containers"][0]
    (claim,) = nats.owner["spec"]["volumeClaimTemplates"]
    room = size(claim["spec"]["resources"]["requests"]["storage"])
    memory = size(container["resources"]["limits"]["memory"])
    kept = {name: size(text) for name, text in re.findall(r"max_(file|memory)_store: (\w+)", conf)}
    streams = topology.streams(TopologySettings())

    assert kept["file"] <= room
    assert kept["memory"] < memory
    assert sum(max(stream.config.get("max_bytes", 0), 0) for stream in streams) <= kept["file"] + kept["memory"]
    for name, port in (("client", 4222), ("monitor", 8222)):
        assert nats.ports()[name] == port
        assert f"0.0.0.0:{port}" in conf
    limit = next((size(v["value"]) for v in container["env"] if v["name"] == "GOMEMLIMIT"), 0)
    assert 0 < limit < memory, "GOMEMLIMIT lies under the limit of memory"


@every_overlay
def test_the_cluster_is_as_large_as_its_streams_copies_and_its_routes(overlay: str) -> None:
    nats = named(overlay, "nats")
    (told,) = {
        variables(overlay, container)["CALLBOARD_REPLICAS"]
        for each, container in containers(overlay)
        if each.name in ("edge", "streams")
    }
    routes = re.findall(r"nats://(nats-\d+)\.nats-headless:6222", nats_conf(overlay))

    assert nats.owner["spec"]["replicas"] == int(told)
    assert routes == ([] if told == "1" else [f"nats-{number}" for number in range(int(told))])


def test_the_server_that_stands_alone_is_configured_as_the_others() -> None:
    whole = (K8S / "base" / "nats" / "nats.conf").read_text()
    alone = (K8S / "overlays" / "dev" / "nats.conf").read_text()

    assert _settings(re.sub(r"(?s)\ncluster \{.*?\n\}\n", "\n", whole)) == _settings(alone)


@every_overlay
def test_whatever_selects_selects_something(overlay: str) -> None:
    for each in built(overlay):
        spec = each.get("spec", {})
        name = f"{each['kind']} {each['metadata']['name']}"
        match each["kind"]:
            case "Service":
                (target,) = chosen(overlay, {"matchLabels": spec["selector"]})
                for port in spec["ports"]:
                    assert port["targetPort"] in target.ports(), name
            case "ServiceMonitor":
                (service,) = [
                    each
                    for each in of_kind(overlay, "Service")
                    if spec["selector"]["matchLabels"].items() <= each["metadata"].get("labels", {}).items()
                ]
                assert {each["port"] for each in spec["endpoints"]} <= {
                    each["name"] for each in service["spec"]["ports"]
                }
            case "Deployment" | "StatefulSet":
                assert [pod.name for pod in chosen(overlay, spec["selector"])] == [each["metadata"]["name"]], name
                for constraint in spec["template"]["spec"].get("topologySpreadConstraints", []):
                    assert chosen(overlay, constraint["labelSelector"]), name
            case "PodDisruptionBudget":
                assert len(chosen(overlay, spec["selector"])) == 1, name
                assert spec["maxUnavailable"] == 1, name
            case "PodMonitor":
                for pod in chosen(overlay, spec["selector"]):
                    assert {endpoint["port"] for endpoint in spec["podMetricsEndpoints"]} <= pod.ports().keys(), name
                assert chosen(overlay, spec["selector"]), name
            case "HorizontalPodAutoscaler" | "ScaledObject":
                target = named(overlay, spec["scaleTargetRef"]["name"])
                # Who is scaled says no number of its own: it would be put back at each `kubectl apply`.
                assert "replicas" not in target.owner["spec"], name
            case "StatefulSet":
                assert spec["serviceName"] in {s["metadata"]["name"] for s in of_kind(overlay, "Service")}, name


@every_overlay
def test_only_one_scales_the_edge(overlay: str) -> None:
    assert len(of_kind(overlay, "HorizontalPodAutoscaler", "ScaledObject")) == (0 if overlay == "dev" else 1)


@every_overlay
def test_the_ways_in_lead_to_the_edge(overlay: str) -> None:
    ports = {
        (service["metadata"]["name"], port["name"], port["port"])
        for service in of_kind(overlay, "Service")
        for port in service["spec"]["ports"]
    }
    for route in of_kind(overlay, "HTTPRoute"):
        (parent,) = route["spec"]["parentRefs"]
        (gateway,) = of_kind(overlay, "Gateway")
        assert parent["name"] == gateway["metadata"]["name"]
        assert parent["sectionName"] in {listener["name"] for listener in gateway["spec"]["listeners"]}
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                assert ("edge", "http", backend["port"]) in ports, backend
                assert backend["name"] == "edge"
    for ingress in of_kind(overlay, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                assert (service["name"], service["port"]["name"], 80) in ports
        told = ingress["metadata"]["annotations"]
        assert told["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
        # A poll waits for 50 s, a stream says something every 15 s.
        assert int(told["nginx.ingress.kubernetes.io/proxy-read-timeout"]) > 60


@every_overlay
def test_nothing_is_allowed_but_what_is_named_and_what_is_named_exists(overlay: str) -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(overlay, "NetworkPolicy")}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, spec in policies.items():
        mine = chosen(overlay, spec["podSelector"])
        assert mine, name
        assert set(spec["policyTypes"]) >= {way.capitalize() for way in ("ingress", "egress") if way in spec}, name
        for rule in spec.get("ingress", []):
            assert rule["from"], f"{name}: from anywhere"
            ports = {port["port"] for port in rule["ports"]}
            assert all(ports <= set(pod.ports().values()) for pod in mine if pod.ports()), name
        for rule in spec.get("egress", []):
            for peer in rule.get("to", []):
                if "podSelector" in peer:
                    for pod in chosen(overlay, peer["podSelector"]):
                        assert {port["port"] for port in rule["ports"]} <= set(pod.ports().values()), name


@every_overlay
def test_every_port_has_a_policy_that_opens_it_to_somebody(overlay: str) -> None:
    for each in pods(overlay):
        if not each.ports():
            continue
        opened: dict[int, list[dict[str, Any]]] = {}
        for policy in of_kind(overlay, "NetworkPolicy"):
            if each.name in {pod.name for pod in chosen(overlay, policy["spec"]["podSelector"])}:
                for rule in policy["spec"].get("ingress", []):
                    for port in rule["ports"]:
                        opened.setdefault(port["port"], []).extend(rule["from"])
        # The kubelet needs no policy; a simulator has no figures.
        wanted = set(each.ports().values()) - ({9090} if each.name == "octane-simulator" else set())
        assert opened.keys() == wanted, each.name
        if each.name == "edge":
            watchers = [{"namespaceSelector": {"matchLabels": {"callboard/monitoring": "true"}}}]
            assert opened[9090] == watchers, "the internal port is for those who look after it"


def test_the_rules_that_are_mounted_are_those_that_are_shipped_and_change_without_a_restart() -> None:
    alerts = named(EVERYTHING, "actor-alerts")
    (container,) = alerts.spec["containers"]
    file = Path(variables(EVERYTHING, container)["CALLBOARD_ALERTS_RULES_FILE"])
    (mount,) = [each for each in container["volumeMounts"] if each["mountPath"] == str(file.parent)]
    assert "subPath" not in mount and mount["readOnly"]
    (volume,) = [each for each in alerts.spec["volumes"] if each["name"] == mount["name"]]
    assert volume["configMap"]["name"] == "alert-rules", (
        "with a hash in its name, each change would start the actor anew"
    )
    (given,) = [each for each in of_kind(EVERYTHING, "ConfigMap") if each["metadata"]["name"] == "alert-rules"]
    assert given["data"][file.name] == SHIPPED.read_text()


def test_the_alerts_actor_is_let_out_to_an_alertmanager_and_nobody_else_is() -> None:
    url = variables(EVERYTHING, named(EVERYTHING, "actor-alerts").spec["containers"][0])[
        "CALLBOARD_ALERTS_ALERTMANAGER_URLS"
    ]
    peer = {"namespaceSelector": {"matchLabels": {"callboard/alertmanager": "true"}}}
    out = {
        policy["metadata"]["name"]: [pod.name for pod in chosen(EVERYTHING, policy["spec"]["podSelector"])]
        for policy in of_kind(EVERYTHING, "NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
        if peer in rule.get("to", []) and int(url.rpartition(":")[2]) in {port["port"] for port in rule["ports"]}
    }
    assert out == {"to-alertmanager": ["actor-alerts"]}


@every_overlay
def test_who_goes_to_nats_may_and_comes_as_its_own_user(overlay: str) -> None:
    accounts = (K8S / "base" / "nats" / "accounts.conf").read_text()
    users = set(re.findall(r"user: (\w+)", accounts))
    nats = named(overlay, "nats").spec["containers"][0]
    passwords = {v["name"]: v["valueFrom"]["secretKeyRef"] for v in nats["env"] if "PASSWORD" in v["name"]}
    assert set(re.findall(r"password: \$(\w+)", accounts)) == passwords.keys()
    for each, container in containers(overlay):
        told = variables(overlay, container)
        if "CALLBOARD_NATS_URL" not in told:
            continue
        user = told["CALLBOARD_NATS_USER"]
        assert user == each.name.removeprefix("actor-"), each.name
        assert user in users
        assert told["CALLBOARD_NATS_INBOX"] == f"_INBOX_{user}"
        assert f'"_INBOX_{user}.>"' in accounts
        assert told["CALLBOARD_NATS_PASSWORD"].rstrip(".") == f"secret:nats-users/{user}"
        assert passwords[f"NATS_{user.upper()}_PASSWORD"]["key"] == user
        assert told["CALLBOARD_NATS_URL"].startswith("tls://nats:")
        assert each.labels.get("callboard/nats") == "true", f"{each.name} is not let through to NATS"
        (mount,) = [m for m in container["volumeMounts"] if told["CALLBOARD_NATS_CA"].startswith(m["mountPath"])]
        assert mount["readOnly"] is True


@every_overlay
def test_what_containers_are_told_is_understood(overlay: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for each, container in containers(overlay):
        if each.name == "nats":  # and its exporter
            continue
        given = parser().parse_args(container["args"])
        assert given.command
        with monkeypatch.context() as patch:
            patch.setenv("CALLBOARD_DATA_DIR", str(tmp_path))
            for name, text in variables(overlay, container).items():
                # What a mounted file holds is read when it is used; event types are read at once.
                patch.setenv(name, mounted(overlay, each.spec, container, text, tmp_path))
            patch.setattr(catalogue, "_loaded", ())
            patch.setattr(catalogue, "_registry", catalogue._Registry(catalogue.BUILT_IN))
            # Raises Mistakes for a name that is no setting, and for a value that is none.
            sections = ["edge", "guard", "identity"] if given.command == "edge" else []
            sections += [part for part in container["args"][1:] if part in SECTIONS]
            settings = Settings.load(*sections)
            if given.command == "edge":
                assert settings.section("identity").configured, "an edge without keys refuses to be seen"
                assert settings.topology.apply_streams is False
                assert settings.section("edge").port == each.ports()["http"]


def mounted(overlay: str, spec: Object, container: Object, text: str, folder: Path) -> str:
    """A copy of the file of a ConfigMap that is mounted at a path; what is no such path, as it is."""
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind(overlay, "ConfigMap")}
    for mount in container.get("volumeMounts", []):
        (volume,) = [each for each in spec["volumes"] if each["name"] == mount["name"]]
        if "configMap" in volume and text.startswith(f"{mount['mountPath']}/"):
            copy = folder / Path(text).name
            copy.write_text(maps[volume["configMap"]["name"]][copy.name])
            return str(copy)
    return text


@every_overlay
def test_event_types_of_ones_own_are_read_by_the_edge_and_every_actor(overlay: str) -> None:
    reading = {
        each.name for each, container in containers(overlay) if "CALLBOARD_EVENT_TYPES" in variables(overlay, container)
    }

    assert reading == {each.name for each in pods(overlay) if each.name == "edge" or each.name.startswith("actor-")}


def test_an_overlay_puts_its_own_event_types_in_place_of_none(tmp_path: Path) -> None:
    kubectl = parts.program(parts.KUBECTL)
    (tmp_path / "event-types.yaml").write_text("types:\n  - name: mine\n")
    made = {
        "resources": [os.path.relpath(K8S / "base", tmp_path.resolve())],
        "configMapGenerator": [{"name": "event-types", "behavior": "merge", "files": ["event-types.yaml"]}],
        "namespace": "callboard",
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(made))
    done = subprocess.run(
        [kubectl, "kustomize", str(tmp_path)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr

    found = [each for each in yaml.safe_load_all(done.stdout) if each and each["kind"] in ("ConfigMap", "Deployment")]
    (types,) = [each for each in found if each["metadata"]["name"].startswith("event-types-")]
    assert types["data"]["event-types.yaml"].strip().endswith("- name: mine")
    for each in found:
        if each["kind"] == "Deployment":
            volumes = {volume["name"]: volume for volume in each["spec"]["template"]["spec"]["volumes"]}
            assert volumes["event-types"]["configMap"]["name"] == types["metadata"]["name"]


@every_overlay
def test_secrets_are_named_and_never_held(overlay: str) -> None:
    text = (K8S / "README.md").read_text()
    assert of_kind(overlay, "Secret") == []
    named_there = json.dumps(built(overlay))
    for name in re.findall(r'"secretName": "([^"]+)"', named_there):
        assert f"`{name}`" in text, name
    for reference in re.findall(r'"secretKeyRef": (\{[^}]+\})', named_there):
        found = json.loads(reference)
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{found['name']}`")]
        assert f"`{found['key']}`" in row, found


@every_overlay
def test_what_a_pod_mounts_exists(overlay: str) -> None:
    maps = {each["metadata"]["name"] for each in of_kind(overlay, "ConfigMap")}
    for each in pods(overlay):
        volumes = {volume["name"] for volume in each.spec.get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in each.owner["spec"].get("volumeClaimTemplates", [])}
        for volume in each.spec.get("volumes", []):
            assert "configMap" not in volume or volume["configMap"]["name"] in maps, each.name
        for container in (*each.spec.get("initContainers", []), *each.spec["containers"]):
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes, each.name


@every_overlay
def test_the_streams_are_made_before_the_rest_starts(overlay: str) -> None:
    assert named(overlay, "streams").spec["containers"][0]["args"][:2] == ["streams", "apply"]
    for each in pods(overlay):
        if each.name == "edge" or each.name.startswith("actor-"):
            (first,) = each.spec["initContainers"]
            assert first["args"][:2] == ["streams", "wait"], each.name


def test_what_scales_the_edge_is_a_figure_of_the_edge() -> None:
    from prometheus_client import REGISTRY

    import edge.metrics
    import edge.webhooks.metrics  # noqa: F401

    families = {family.name for family in REGISTRY.collect()}
    (scaler,) = of_kind("prod", "HorizontalPodAutoscaler")
    (keda,) = of_kind("everything", "ScaledObject")
    named_there = {m["pods"]["metric"]["name"] for m in scaler["spec"]["metrics"] if m["type"] == "Pods"}
    for trigger in keda["spec"]["triggers"]:
        named_there |= set(re.findall(r"sum\((\w+)", trigger["metadata"].get("query", "")))

    assert {"edge_readers", "edge_webhook_pending_jobs"} <= named_there
    assert named_there <= families


def test_grafana_is_given_every_dashboard_of_ops() -> None:
    dashboards = {path.name: path.read_text() for path in (ROOT / "ops" / "grafana").glob("*.json")}
    maps = [each for each in of_kind("prod", "ConfigMap") if each["metadata"]["name"].startswith("dashboard-")]
    # Beside its exporter, as it shows nothing without.
    maps = [each for each in maps if each["metadata"]["name"] != "dashboard-nats"]

    given = {name: text for each in maps for name, text in each["data"].items()}

    assert given == dashboards, "ops/grafana/kustomization.yaml lists the dashboards"
    assert all(each["metadata"]["labels"] == {"grafana_dashboard": "1"} for each in maps)
    assert all(each["metadata"]["name"] == f"dashboard-{Path(*each['data']).stem}" for each in maps)


def test_certificates_fill_the_secrets_that_are_mounted_with_the_names_that_are_asked_for() -> None:
    made = {each["spec"]["secretName"]: each["spec"] for each in of_kind(EVERYTHING, "Certificate")}
    issuers = {each["metadata"]["name"]: each["spec"] for each in of_kind(EVERYTHING, "Issuer")}
    (gateway,) = of_kind(EVERYTHING, "Gateway")
    (listener,) = gateway["spec"]["listeners"]
    conf = nats_conf(EVERYTHING)

    assert {"nats-tls", "callboard-tls"} <= made.keys()
    names = made["nats-tls"]["dnsNames"]
    assert {"nats", "nats-headless", "localhost"} <= set(names)
    # Servers find one another as nats-0.nats-headless, and show the same certificate as clients.
    assert all(f"*.{host.partition('.')[2]}" in names for host in re.findall(r"nats://([^:]+):6222", conf))
    assert {"server auth", "client auth"} <= set(made["nats-tls"]["usages"])
    assert issuers[made["nats-tls"]["issuerRef"]["name"]] == {"ca": {"secretName": "nats-authority"}}
    assert made["nats-authority"]["isCA"] and "selfSigned" in issuers[made["nats-authority"]["issuerRef"]["name"]]
    assert listener["tls"]["certificateRefs"][0]["name"] == "callboard-tls"
    assert listener["hostname"] in made["callboard-tls"]["dnsNames"]


def schema_of(kind: str) -> dict[str, Any]:
    """The schema of a custom resource."""
    # Go's way to say that a pattern ignores case; Python wants it in front.
    text = (SCHEMAS / CUSTOM[kind]).read_text().replace("^(?i)", "(?i)^")
    schema: dict[str, Any] = json.loads(text)
    return schema


def nats_conf(overlay: str) -> str:
    """The servers' configuration, as their pods have it."""
    name = next(
        volume["configMap"]["name"] for volume in named(overlay, "nats").spec["volumes"] if "configMap" in volume
    )
    conf: str = next(each for each in of_kind(overlay, "ConfigMap") if each["metadata"]["name"] == name)["data"][
        "nats.conf"
    ]
    return conf


def size(text: str) -> int:
    """The bytes of 512MB, 10Gi, 1800MiB."""
    number, unit = re.fullmatch(r"(\d+)([KMGT]?)i?B?", text).groups()  # type: ignore[union-attr]
    binary = "i" in text or text.endswith("B")  # NATS counts in 1024s whatever it is called
    power = " KMGT".index(unit or " ")
    return int(number) * int((1024 if binary else 1000) ** power)


def _settings(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def test_compose_mounts_what_there_is() -> None:
    compose = yaml.safe_load((ROOT / "ops" / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (ROOT / "ops" / source).exists(), (name, source)
        if service.get("image", "").startswith("${CALLBOARD_IMAGE"):
            command = service["command"] if isinstance(service["command"], list) else shlex.split(service["command"])
            assert parser().parse_args(command).command
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
