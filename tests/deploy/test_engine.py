"""The real image and the compose file, on a real Docker engine: see engine.py for what stands in for what."""

import contextlib
import json
import os
import pathlib
import shutil

import pytest
from engine import Engine
from running import ROOT

# tests/run says why there is none.
COMPOSE = os.environ.get("LLM_GATEWAY_COMPOSE")
pytestmark = pytest.mark.skipif(not COMPOSE, reason="no Docker engine or no Compose can be had here")

KEY, TOKEN = "sk-0123456789abcdef0123456789abcdef", "an-operators-token"
DOTENV = f"""
API_KEYS={KEY}
ADMIN_TOKEN={TOKEN}
GRAFANA_PASSWORD=secret
REDIS_URL=redis://redis:6379
COMPOSE_PROFILES=redis,monitoring
LLM_GATEWAY_CONFIG=
PORT=
TEAM_KEY=sk-team-0123456789abcdef0123456789
"""
TEAM = """
[[keys]]
name = "team"
env = "TEAM_KEY"
"""
QUESTION = json.dumps({"messages": [{"role": "user", "content": "hi"}]})


@pytest.fixture(scope="module")
def engine():
    """An engine with all bases, and the image built from the project's own Dockerfile."""
    with Engine(pathlib.Path(COMPOSE).resolve()) as engine:
        engine.stand_ins()
        engine.docker("build", "--tag", "llm-gateway:local", str(ROOT))
        yield engine


@pytest.fixture(scope="module")
def project(engine):
    """Everything of compose.yaml, up."""
    folder = engine.folder / "project"
    folder.mkdir()
    shutil.copy(ROOT / "compose.yaml", folder)
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / ".env").write_text(DOTENV)
    file = folder / "config/gateway.toml"
    file.write_text(file.read_text() + TEAM)
    project = Project(engine, folder)
    try:
        project.compose("up", "--detach", "--no-build", "--wait")
        yield project
    finally:
        project.compose("down", "--volumes")


class Project:
    """The services of a folder with compose.yaml."""

    def __init__(self, engine, folder):
        self.engine, self.folder = engine, folder

    def compose(self, *arguments):
        return self.engine.docker("compose", "--project-directory", str(self.folder), *arguments)

    def ask(self, path, *more, port=8000, key=KEY):
        """What the service at this published port answers, its status on a line of its own."""
        authorization = ["--header", f"authorization: Bearer {key}"]
        said = self.engine.curl("--write-out", "\n%{http_code}", *authorization, *more, f"http://127.0.0.1:{port}{path}")
        body, _, status = said.rpartition("\n")
        return int(status), body


@contextlib.contextmanager
def container(engine, *arguments):
    """A container of the image, for the length of the block; yields how to ask its published port 8000."""
    name = engine.docker("run", "--detach", "--publish", "127.0.0.1::8000", *arguments).split()[-1]
    try:
        engine.docker("run", "--rm", "--network", f"container:{name}", "--entrypoint", "sh", "redis:7.4-alpine", "-c",
                      "until wget -q -O /dev/null http://127.0.0.1:8000/readyz; do sleep 0.1; done")
        address = engine.docker("port", name, "8000").strip()
        yield lambda *more: engine.curl(
            "--header", f"authorization: Bearer {KEY}", "--header", "content-type: application/json", "--data", QUESTION, *more,
            f"http://{address}/v1/chat"
        )
    finally:
        engine.docker("rm", "--force", name)


def test_the_demonstration_can_be_reached(engine):
    with container(engine, "llm-gateway:local", "demo") as ask:
        assert json.loads(ask())["provider"] == "ollama"


def test_a_refused_connection_names_the_usual_cause(engine):
    # On the machine an Ollama listens on loopback; a container asks the address of the machine on its own network.
    host = ["--add-host", "host.docker.internal:host-gateway", "--env", "OLLAMA_BASE_URL=http://host.docker.internal:11434"]
    with container(engine, *host, "--env", f"API_KEYS={KEY}", "llm-gateway:local") as ask:
        said = json.loads(ask())["detail"]
    assert "connection refused" in said and "OLLAMA_HOST=0.0.0.0" in said, said


def test_everything_is_up_and_what_can_be_is_healthy(project):
    services = [json.loads(line) for line in project.compose("ps", "--all", "--format", "json").splitlines()]
    states = {service["Service"]: (service["State"], service["Health"]) for service in services}
    healthy = ("running", "healthy")
    assert states == {
        "gateway": healthy, "ollama": healthy, "redis": healthy,
        "prometheus": ("running", ""), "grafana": ("running", ""),
    }


@pytest.mark.parametrize("key", [KEY, "sk-team-0123456789abcdef0123456789"])
def test_it_answers_those_who_have_a_key(project, key):
    body = ["--header", "content-type: application/json", "--data", QUESTION]
    status, answer = project.ask("/v1/chat", *body, key=key)
    assert status == 200 and json.loads(answer)["provider"] == "ollama", answer
    assert project.ask("/v1/chat", *body, key="sk-other")[0] == 401


def test_the_console_is_on_the_loopback_of_the_machine_and_asks_for_the_token(project):
    assert project.ask("/admin/providers", port=9901, key="wrong")[0] == 401
    status, answer = project.ask("/admin/providers", port=9901, key=TOKEN)
    assert status == 200 and "ollama" in answer
    ports = project.compose("ps", "gateway", "--format", "{{.Ports}}")
    assert "127.0.0.1:9901->9901/tcp" in ports and "0.0.0.0:9901" not in ports


def test_prometheus_scrapes_the_gateway_with_its_secret(project):
    query = "wget -q -O - 'http://127.0.0.1:9090/api/v1/query?query=llm_gateway_build_info'"
    # Scrapes are 10 s apart.
    said = project.compose(
        "exec", "prometheus", "sh", "-c", f"for i in $(seq 300); do {query} | grep version && exit; sleep 0.2; done; exit 1"
    )
    assert "gateway:9901" in said


def test_a_limit_in_the_file_is_not_pinned_by_the_environment(project):
    file = project.folder / "config/gateway.toml"
    text = file.read_text()
    assert "max_concurrency = 4 " in text
    new = file.with_name("new.toml")
    new.write_text(text.replace("max_concurrency = 4 ", "max_concurrency = 7 ", 1))
    new.rename(file)
    status, answer = project.ask("/admin/reload", "--request", "POST", port=9901, key=TOKEN)
    assert status == 200 and "overridden" not in answer.replace('"overridden":[]', ""), answer
    providers = project.ask("/admin/providers", port=9901, key=TOKEN)[1]
    assert '"max_concurrency":7' in providers, providers


def test_limits_are_changed_by_a_command_in_the_container(project):
    project.compose("exec", "gateway", "llm-gateway", "set", "ollama", "slots=5", "queue=9")
    answer = project.ask("/admin/providers", port=9901, key=TOKEN)[1]
    assert '"max_concurrency":5' in answer and '"max_queue":9' in answer, answer


def test_it_is_stopped_gracefully(project):
    project.compose("stop", "gateway")
    (line,) = project.compose("ps", "--all", "gateway", "--format", "json").splitlines()
    assert json.loads(line)["ExitCode"] == 0, line
    project.compose("up", "--detach", "--no-build", "--wait", "gateway")
