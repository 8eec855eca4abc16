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


def test_compose_publishes_the_gateway_alone():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["gateway"]
    extra = yaml.safe_load((ROOT / "compose.local.yaml").read_text())["services"]
    for service in extra.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_compose_holds_no_secret():
    text = (ROOT / "compose.yaml").read_text()
    for name in ["API_KEYS", "ADMIN_TOKEN", "GEMINI_API_KEY"]:
        assert re.search(rf"\$\{{{name}:[?-]", text)
    grafana = yaml.safe_load(text)["services"]["grafana"]["environment"]
    assert grafana["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert grafana["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_password"


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
    secrets = {"API_KEYS": "sk-0123456789abcdef0123456789abcdef", "LLM_GATEWAY__ADMIN__TOKEN": "t" * 32}
    pod = yaml.safe_load((CONFIG / "kubernetes/deployment.yaml").read_text())["spec"]["template"]["spec"]
    environment = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]} | secrets
    del environment["LLM_GATEWAY_CONFIG"]
    file = CONFIG / "kubernetes/gateway.toml"
    run(BINARY, "check", "--config", file, cwd=tmp_path, env=environment)


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
