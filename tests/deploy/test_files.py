"""What operators deploy with, held against the schemas and checkers of the tools that will read it."""

import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from running import BINARY, ROOT

CONFIG = ROOT / "config"
MANIFESTS = sorted(path for path in (CONFIG / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
TOOLS = pathlib.Path(sys.executable).parent


def run(*command, **more):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **more)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("file", sorted(ROOT.glob("compose*.yaml")), ids=lambda path: path.name)
def test_compose_files_fit_the_specification(file):
    run(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)


SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]


def test_compose_publishes_the_gateway_alone_and_its_admin_port_on_this_machine():
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["gateway"]
    clients, operators = SERVICES["gateway"]["ports"]
    assert clients.endswith(":8000")
    assert operators.startswith("127.0.0.1:") and operators.endswith(":9901")
    extra = yaml.safe_load((ROOT / "compose.local.yaml").read_text())["services"]
    for service in extra.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_compose_holds_no_secret():
    text = (ROOT / "compose.yaml").read_text()
    for name in ["API_KEYS", "ADMIN_TOKEN"]:
        assert re.search(rf"\$\{{{name}:\?", text)
    grafana = yaml.safe_load(text)["services"]["grafana"]["environment"]
    assert grafana["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert grafana["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_password"


def test_no_service_of_compose_is_read_only_and_given_a_secret():
    """Compose writes a secret of the environment into the container: `cannot create secret … in read-only service`."""
    given = [name for name, service in SERVICES.items() if "secrets" in service]
    assert given == ["prometheus", "grafana"]
    assert not [name for name in given if SERVICES[name].get("read_only")]


def test_compose_waits_for_what_runs_and_for_nothing_else():
    for name, wanted in SERVICES["gateway"]["depends_on"].items():
        assert wanted["condition"] == "service_healthy" and "healthcheck" in SERVICES[name]
        # Without `required: false` a service whose profile is off would be an error.
        assert wanted.get("required", True) == ("profiles" not in SERVICES[name]), name
    assert set(SERVICES["gateway"]["depends_on"]) == {"ollama", "redis"}


def test_compose_pins_no_limit_that_the_file_has():
    """What the environment sets, neither a changed file nor a PATCH that should last can change."""
    pinned = {name for name in SERVICES["gateway"]["environment"] if name.startswith("LLM_GATEWAY__")}
    assert pinned == {"LLM_GATEWAY__SERVER__LISTEN", "LLM_GATEWAY__ADMIN__LISTEN", "LLM_GATEWAY__ADMIN__TOKEN"}
    slots = tomllib.loads((CONFIG / "gateway.toml").read_text())["providers"]["ollama"]["max_concurrency"]
    assert SERVICES["ollama"]["environment"]["OLLAMA_NUM_PARALLEL"] == "${OLLAMA_NUM_PARALLEL:-%d}" % slots


def test_all_of_the_environment_file_reaches_the_gateway_except_addresses_of_the_machine():
    assert SERVICES["gateway"]["env_file"] == [{"path": ".env", "required": False}]
    fixed = SERVICES["gateway"]["environment"]
    # Each of them may be in .env for a gateway outside of containers, or stand there empty.
    for name in ["LLM_GATEWAY_CONFIG", "LLM_GATEWAY__SERVER__LISTEN", "OLLAMA_BASE_URL"]:
        assert name in fixed and "${" not in fixed[name]


def test_each_variable_of_compose_is_in_the_example():
    example = (ROOT / ".env.example").read_text()
    for name in set(re.findall(r"\$\{(\w+)", "".join(file.read_text() for file in ROOT.glob("compose*.yaml")))):
        assert re.search(rf"^#?{name}=", example, re.M), name


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda path: path.name)
def test_manifests_fit_the_schemas_of_kubernetes(file):
    said = run(TOOLS / "kubernetes-validate", "--strict", "-k", "1.34", file)
    assert "passed" in said and "WARN" not in said, said


def test_kustomize_names_every_manifest():
    kustomization = yaml.safe_load((CONFIG / "kubernetes/kustomization.yaml").read_text())
    assert sorted(kustomization["resources"]) == [path.name for path in MANIFESTS]


def test_pods_have_time_to_drain():
    config = tomllib.loads((CONFIG / "kubernetes/gateway.toml").read_text())
    pod = yaml.safe_load((CONFIG / "kubernetes/deployment.yaml").read_text())["spec"]["template"]["spec"]
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = int(config["server"]["drain"].removesuffix("s"))
    assert pod["terminationGracePeriodSeconds"] > pause + drain


def test_the_configuration_for_kubernetes_is_one(tmp_path):
    secrets = {"API_KEYS": "sk-0123456789abcdef0123456789abcdef", "LLM_GATEWAY__ADMIN__TOKEN": "t" * 32, "ADMIN_TOKEN": "t" * 32}
    pod = yaml.safe_load((CONFIG / "kubernetes/deployment.yaml").read_text())["spec"]["template"]["spec"]
    environment = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]} | secrets
    del environment["LLM_GATEWAY_CONFIG"]
    file = CONFIG / "kubernetes/gateway.toml"
    run(BINARY, "check", "--config", file, cwd=tmp_path, env=environment)


def test_replicas_can_go_without_an_adapter():
    """While one measure of an autoscaler cannot be had, Kubernetes takes no replica away."""
    scaler = yaml.safe_load((CONFIG / "kubernetes/horizontalpodautoscaler.yaml").read_text())["spec"]
    assert [metric["type"] for metric in scaler["metrics"]] == ["Resource"]
    assert "selectPolicy" not in scaler["behavior"]["scaleDown"]


def test_pods_are_scraped_with_the_token_or_not_at_all(tmp_path):
    deployment = yaml.safe_load((CONFIG / "kubernetes/deployment.yaml").read_text())
    template = deployment["spec"]["template"]
    # Who goes by these annotations sends no token, and is answered 401.
    assert not [name for name in template["metadata"].get("annotations", {}) if name.startswith("prometheus.io/")]
    (container,) = template["spec"]["containers"]
    (secret,) = [each["valueFrom"]["secretKeyRef"] for each in container["env"] if each["name"].endswith("__TOKEN")]
    monitor = yaml.safe_load((CONFIG / "kubernetes/monitoring/podmonitor.yaml").read_text())
    assert monitor["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in [port["name"] for port in container["ports"]]
    assert endpoint["authorization"]["credentials"] == secret
    (job,) = yaml.safe_load((CONFIG / "kubernetes/monitoring/prometheus.yml").read_text())["scrape_configs"]
    assert job["authorization"]["credentials_file"].endswith("/" + secret["key"])
    assert job["relabel_configs"][0]["regex"] == "%s;%s" % (*monitor["spec"]["selector"]["matchLabels"].values(), endpoint["port"])
    # Debian's Prometheus is built without Kubernetes.
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [job]}))
    run("promtool", "check", "config", "--syntax-only", tmp_path / "prometheus.yml")


def test_nothing_depends_on_the_name_of_the_job():
    files = [CONFIG / "alerts.yml", CONFIG / "grafana/dashboards/llm-gateway.json"]
    assert not [file.name for file in files if re.search(r"job\s*=", file.read_text())]


def test_the_unit_is_not_started_again_with_a_wrong_configuration():
    unit = (CONFIG / "systemd/llm-gateway.service").read_text()
    # The status of a command before the start counts for Restart, but not for RestartPreventExitStatus.
    assert not re.search(r"^ExecStartPre", unit, re.M)
    assert re.search(r"^RestartPreventExitStatus=78$", unit, re.M) and re.search(r"^Restart=on-failure$", unit, re.M)


def test_the_unit_is_one(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.fail("systemd-analyze is missing (package systemd)")
    unit = (CONFIG / "systemd/llm-gateway.service").read_text()
    file = tmp_path / "llm-gateway.service"
    file.write_text(unit.replace("/usr/local/bin/llm-gateway", str(BINARY)))
    said = run("systemd-analyze", "verify", file)
    # About the machine, not about the unit.
    about_us = [line for line in said.splitlines() if "llm-gateway" in line]
    assert not about_us, said


def test_prometheus_takes_its_files(tmp_path):
    run("promtool", "check", "config", "--syntax-only", CONFIG / "prometheus.yml")
    run("promtool", "check", "rules", CONFIG / "alerts.yml")
    for file in [CONFIG / "alerts.yml", ROOT / "tests/deploy/alerts.test.yml"]:
        shutil.copy(file, tmp_path)
    run("promtool", "test", "rules", "alerts.test.yml", cwd=tmp_path)
