"""The manifests as Kustomize builds them: valid, private where they should be, and of a piece."""

import itertools
import json
import re

import kubernetes_validate
import pytest

from deploy.manifests import flags_of, settings_of
from ratchet.local.programs import engine_environment, engine_flags
from ratchet.settings import KNOWN
from tests.manifests import (
    OVERLAYS,
    built,
    container,
    find,
    name_of,
    pod,
    pods,
    resources,
    setting,
    templates,
)

pytestmark = pytest.mark.needs("kustomize")
VERSION = "1.34"


@pytest.mark.parametrize("overlay", [*OVERLAYS, "monitoring"])
def test_manifests_follow_kubernetes_schemas(overlay: str) -> None:
    seen = 0
    for resource in resources(overlay):
        if resource["apiVersion"].startswith(("monitoring.coreos.com/", "leaderworkerset.x-k8s")):
            # Definitions of their operators; what pods they have is Kubernetes' own.
            for one in templates(resource):
                head = {"apiVersion": "v1", "kind": "Pod"}
                kubernetes_validate.validate(head | one, VERSION, strict=True)
            continue
        kubernetes_validate.validate(resource, VERSION, strict=True)
        seen += 1
    assert seen


@pytest.mark.parametrize(("overlay", "on_cpu"), [("base", True), ("gpu", False)])
def test_the_engine_is_started_as_by_us(overlay: str, on_cpu: bool) -> None:
    config, settings = find(overlay, "ConfigMap", "ratchet")["data"], settings_of(overlay)
    engine = container(overlay, "StatefulSet", "engine")

    def told(text: str) -> str:
        return re.sub(r"\$\((\w+)\)", lambda name: config[name[1]], text)

    words = [told(word) for word in engine["args"]]
    ours = {"--host", "--port", "--shutdown-timeout", "--disable-log-stats"}
    for flag, value in (("--host", "0.0.0.0"), ("--port", "8100")):
        assert words[words.index(flag) + 1] == value
    assert options(words, ours) == options(engine_flags(settings, cpu=on_cpu), ours)
    assert "--disable-log-stats" not in words, "there would be no vllm: metrics"
    given = {entry["name"]: told(entry.get("value", "")) for entry in engine["env"]}
    assert engine_environment(settings, cpu=on_cpu).items() <= given.items()
    assert given["HF_HUB_OFFLINE"] == "1"
    assert on_cpu or not {"TORCH_COMPILE_DISABLE", "VLLM_CPU_KVCACHE_SPACE"} & given.keys()


def options(words: list[str], without: set[str]) -> list[list[str]]:
    """Flags with their values, in order."""
    found: list[list[str]] = []
    for word in words:
        if word.startswith("--"):
            found.append([word])
        else:
            found[-1].append(word)
    return [option for option in found if option[0] not in without]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_servers_look_the_engines_up(overlay: str) -> None:
    """One list for all replicas would have to be changed with their number."""
    service = find(overlay, "Service", "engine")["spec"]
    [port] = service["ports"]
    assert service["clusterIP"] == "None"
    assert not service.get("publishNotReadyAddresses"), "one that goes would still be asked"
    assert setting(overlay, "ENGINE_URL") == f"dns+http://engine:{port['port']}"
    ends = container(overlay, "StatefulSet", "engine")["ports"]
    assert ends == [{"name": "http", "containerPort": port["port"]}]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_reached_but_by_who_needs_it(overlay: str) -> None:
    policies = {
        one["metadata"]["name"]: one["spec"]
        for one in resources(overlay) if one["kind"] == "NetworkPolicy"
    }  # fmt: skip
    assert policies.pop("default") == {"podSelector": {}, "policyTypes": ["Ingress"]}
    reached = {
        policy["podSelector"]["matchLabels"]["app.kubernetes.io/name"]: [
            peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
            for rule in policy["ingress"] for peer in rule.get("from", [{}]) if peer
        ]
        for policy in policies.values()
    }  # fmt: skip
    expected = {"server": [], "engine": ["server"], "redis": ["server", "adapter"]}
    ranks = {"adapter": ["adapter"]} if overlay == "multi-node" else {}
    assert reached == expected | ranks
    for name in ("engine", "redis"):
        assert policies[name]["policyTypes"] == ["Ingress", "Egress"]
        assert "egress" not in policies[name]
    services = [one for one in resources(overlay) if one["kind"] == "Service"]
    assert {one["metadata"]["name"]: one["spec"].get("type", "ClusterIP") for one in services} == {
        "engine": "ClusterIP", "redis": "ClusterIP", "server": "ClusterIP",
    }  # fmt: skip


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_limited_and_unprivileged(overlay: str) -> None:
    for one in pods(overlay):
        spec = one["spec"]
        assert spec["automountServiceAccountToken"] is False
        # A Service named ratchet-… would put settings into the environment that there are not.
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for part in [*spec["containers"], *spec.get("initContainers", ())]:
            assert part["resources"]["limits"]["memory"]
            assert part["securityContext"]["allowPrivilegeEscalation"] is False
            assert part["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            names = {mount["name"] for mount in part["volumeMounts"]}
            claimed = {"data", "cache"}  # by volumeClaimTemplates
            assert names <= {volume["name"] for volume in spec.get("volumes", [])} | claimed


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_load_fails_a_probe(overlay: str) -> None:
    """None generates, or waits for less than the seconds that a busy process takes."""
    probed = set()
    for one in pods(overlay):
        for part in one["spec"]["containers"]:
            if (alive := part.get("livenessProbe")) is None:
                continue
            probed.add(name_of(one))
            assert alive["timeoutSeconds"] >= 15 and alive.get("failureThreshold", 3) >= 3
            assert "completions" not in json.dumps(part)
            paths = {
                kind: part[f"{kind}Probe"]["httpGet"]["path"]
                for kind in ("startup", "liveness", "readiness")
                if "httpGet" in part.get(f"{kind}Probe", {})
            }
            match name_of(one):
                case "server":
                    assert paths == {"liveness": "/livez", "readiness": "/readyz"}
                case "engine":
                    assert set(paths.values()) == {"/health"} and len(paths) == 3
                    waits = alive["periodSeconds"] * alive["failureThreshold"]
                    assert waits >= 120
                case "adapter":
                    assert paths == {"startup": "/metrics", "liveness": "/metrics"}
    fetched = set() if overlay == "base" else {"fetch"}
    assert probed == {"server", "engine", "adapter", "redis"} | fetched


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_who_is_told_to_end_has_the_time_that_its_requests_have(overlay: str) -> None:
    request = int(setting(overlay, "ENGINE_TIMEOUT"))
    drain = int(setting(overlay, "DRAIN_SECONDS"))
    server, engine = pod(overlay, "Deployment", "server"), pod(overlay, "StatefulSet", "engine")
    ends = 5 + 5 + 5  # the last reply, what is to be stored, connections
    assert server["terminationGracePeriodSeconds"] >= drain + request + ends
    args = engine["containers"][0]["args"]
    assert args[args.index("--shutdown-timeout") + 1] == "$(RATCHET_ENGINE_TIMEOUT)"
    before = engine["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert before[0] == "sleep" and int(before[1]) >= 5 + 2 + 5  # DNS, look-up, some air
    assert engine["terminationGracePeriodSeconds"] >= int(before[1]) + request + 30


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_the_learner_writes_the_engine_may_read(overlay: str) -> None:
    """Learner and engine share a volume; all their files are of one group."""
    engine = pod(overlay, "StatefulSet", "engine")
    learners = [
        one["spec"] for one in pods(overlay)
        if name_of(one) == "adapter"
        and any(volume["name"] == "adapters" for volume in one["spec"]["volumes"])
    ]  # fmt: skip
    assert len(learners) == 1, "one writer"
    folder = setting(overlay, "ADAPTERS_DIR")
    for spec, may_write in ((engine, False), (learners[0], True)):
        assert spec["securityContext"]["fsGroup"] == 10001
        mounts = {mount["name"]: mount for mount in spec["containers"][0]["volumeMounts"]}
        assert folder.startswith(mounts["adapters"]["mountPath"])
        assert mounts["adapters"].get("readOnly", False) is not may_write
    assert find(overlay, "PersistentVolumeClaim", "adapters")["spec"]["accessModes"] == [
        "ReadWriteMany"
    ]


def test_a_gpu_each() -> None:
    for kind, name in (("StatefulSet", "engine"), ("Deployment", "adapter")):
        assert container("gpu", kind, name)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "command" not in container("gpu", "Deployment", "adapter"), "the image's: ratchet adapt"
    assert "nvidia" not in built("base")


def test_what_an_engine_compiles_is_kept() -> None:
    spec = find("gpu", "StatefulSet", "engine")["spec"]
    [claim] = spec["volumeClaimTemplates"]
    part = container("gpu", "StatefulSet", "engine")
    [cache] = [m for m in part["volumeMounts"] if m["name"] == claim["metadata"]["name"]]
    given = {entry["name"]: entry.get("value", "") for entry in part["env"]}
    for name in ("VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "FLASHINFER_WORKSPACE_BASE"):
        assert given[name].startswith(cache["mountPath"])


@pytest.mark.parametrize("overlay", ["gpu", "multi-node"])
def test_the_model_is_fetched_once_and_only_read_afterwards(overlay: str) -> None:
    """By a Job that alone sees the token; the others wait for its mark and stay offline."""
    seen = 0
    for one in pods(overlay):
        token = "HF_TOKEN" in json.dumps(one)
        mounts = [
            mount for part in [*one["spec"]["containers"], *one["spec"].get("initContainers", ())]
            for mount in part["volumeMounts"] if mount["name"] == "models"
        ]  # fmt: skip
        if name_of(one) == "fetch":
            assert token and not any(mount.get("readOnly") for mount in mounts)
            continue
        assert not token
        if mounts:
            seen += 1
            assert all(mount["readOnly"] for mount in mounts)
            assert one["spec"]["initContainers"][0]["args"][0].startswith("until test -d")
            given = {e["name"]: e.get("value") for e in one["spec"]["containers"][0]["env"]}
            assert (given["HF_HUB_OFFLINE"], given["HF_HOME"]) == ("1", "/models")
    assert seen == (3 if overlay == "multi-node" else 2)
    job = find(overlay, "Job", "fetch")["spec"]
    assert job["ttlSecondsAfterFinished"] and job["template"]["spec"]["restartPolicy"] != "Always"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_are_exact_and_no_secret_is_tracked(overlay: str) -> None:
    for part in itertools.chain.from_iterable(
        [*one["spec"]["containers"], *one["spec"].get("initContainers", ())]
        for one in pods(overlay)
    ):
        assert re.fullmatch(
            r"ratchet-\w+:\d+\.\d+\.\d+(-cuda)?|vllm/vllm-openai:v\d+\.\d+\.\d+"
            r"|[a-z]+:\d+\.\d+\.\d+-alpine@sha256:[0-9a-f]{64}",
            part["image"],
        )
        for entry in part.get("env", ()):
            if re.search("TOKEN|KEY|SECRET|PASSWORD", entry["name"]):
                assert "value" not in entry and entry["valueFrom"]["secretKeyRef"]["optional"]
    assert not any(one["kind"] == "Secret" for one in resources(overlay))


def test_the_server_scales_and_survives_a_drain() -> None:
    target = find("gpu", "HorizontalPodAutoscaler", "server")["spec"]
    assert target["scaleTargetRef"]["name"] == "server" and target["minReplicas"] == 2
    assert "replicas" not in find("gpu", "Deployment", "server")["spec"]
    assert find("gpu", "PodDisruptionBudget", "server")["spec"]["minAvailable"] == 1
    assert find("gpu", "PodDisruptionBudget", "engine")["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_settings_that_there_are(overlay: str) -> None:
    config = find(overlay, "ConfigMap", "ratchet")
    assert {name.removeprefix("RATCHET_").lower() for name in config["data"]} <= KNOWN
    held = config["data"]["RATCHET_HOLD_AFTER_GIVING_UP"]
    assert held == "true", "status 3 would be started again for ever"
    used = set(re.findall(r"configMapRef:\s+name: (\S+)", built(overlay)))
    assert used == {config["metadata"]["name"]}


def test_a_learner_of_several_nodes_is_one_group() -> None:
    assert not any(
        one["kind"] == "Deployment" and one["metadata"]["name"] == "adapter"
        for one in resources("multi-node")
    )
    group = find("multi-node", "LeaderWorkerSet", "adapter")
    assert group["spec"]["replicas"] == 1, "a second one would wait for the lease"
    made = group["spec"]["leaderWorkerTemplate"]
    assert made["size"] == 2 and made["restartPolicy"] == "RecreateGroupOnPodRestart"
    leader, worker = (made[f"{role}Template"]["spec"] for role in ("leader", "worker"))
    first, other = leader["containers"][0], worker["containers"][0]
    assert (first["command"], first["args"]) == (other["command"], other["args"])
    processes = first["args"][first["args"].index("--module") - 1]
    assert processes == f"--nproc-per-node={first['resources']['limits']['nvidia.com/gpu']}"
    assert "ports" in first and not {"ports", "livenessProbe", "startupProbe"} & other.keys()
    assert [volume["name"] for volume in worker["volumes"]].count("adapters") == 0


def test_parsers_of_the_config_map_reach_the_engine() -> None:
    settings = settings_of("gpu").model_copy(
        update={"tool_call_parser": "hermes", "reasoning_parser": "qwen3"}
    )
    flags = flags_of(settings, cpu=False)
    assert flags["--enable-auto-tool-choice"] == []
    assert (flags["--tool-call-parser"], flags["--reasoning-parser"]) == (["hermes"], ["qwen3"])
