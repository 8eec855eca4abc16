"""Clients that ask for another protocol with every request: curl with --http2, the JDK's HTTP client, LangChain4j.

They get HTTP/1.1, and no request of hundreds on their kept connections is lost. What a reader would get wrong: a client
that is missing skips its test with a word; `tests/run clients` fetches LangChain4j where there is Maven.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from running import PATIENCE, ROOT

SOURCES = pathlib.Path(__file__).parent / "java"
# Has the list of LangChain4j's files, where they could be fetched.
FOLDER = pathlib.Path(os.environ.get("LLM_GATEWAY_JAVA", ROOT / "target/clients/java")).resolve()
JAVA = 11


def run(command, variables=None):
    """Runs a command without the developer's environment, and returns what it printed; fails when it does."""
    variables = {"PATH": os.environ["PATH"], **(variables or {})}
    ran = subprocess.run(
        command, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, timeout=4 * PATIENCE, check=False,
    )
    assert ran.returncode == 0, (command, ran.stdout, ran.stderr)
    return ran.stdout


@pytest.fixture(scope="module", name="java")
def java_fixture():
    """Skips without a Java compiler that has the HTTP client."""
    if not shutil.which("javac"):
        pytest.skip("there is no JDK")
    version = re.search(r"javac (\d+)", run(["javac", "-version"]))
    if not version or int(version[1]) < JAVA:
        pytest.skip(f"the JDK is older than {JAVA}")


@pytest.fixture(scope="module", name="langchain")
def langchain_fixture():
    """The class path of LangChain4j."""
    file = FOLDER / "classpath"
    if not file.is_file():
        pytest.skip("LangChain4j was not fetched: that takes Maven and its registry")
    return file.read_text().strip()


def outcomes(gateway, folder, name, classpath=""):
    """Compiles and runs a program, and returns what it says of each kind of request."""
    path = os.pathsep.join(filter(None, [str(folder), classpath]))
    sources = [str(SOURCES / file) for file in ("Turns.java", f"{name}.java")]
    run(["javac", "-d", str(folder), "-cp", path, *sources])
    told = run(["java", "-cp", path, name], {"GATEWAY_URL": gateway.url, "GATEWAY_KEY": gateway.key})
    return dict(line.split(": ", 1) for line in told.splitlines())


def test_no_request_of_the_jdks_client_is_lost(gateway, java, tmp_path):
    kinds = ["whole", "streamed", "refused", "asked whether to go on", "listed"]
    assert outcomes(gateway, tmp_path, "Jdk") == dict.fromkeys(kinds, "400 right")


def test_no_request_of_langchain4j_is_lost(gateway, java, langchain, tmp_path):
    kinds = ["OpenAI, whole", "OpenAI, streamed", "Ollama, whole", "Ollama, streamed", "Anthropic, whole"]
    assert outcomes(gateway, tmp_path, "LangChain", langchain) == dict.fromkeys(kinds, "400 right")


def test_curl_that_wants_http2_keeps_its_connection(gateway, tmp_path):
    if not shutil.which("curl") or "HTTP2" not in run(["curl", "--version"]):
        pytest.skip("there is no curl that can ask for HTTP/2")
    body = json.dumps({"model": "llama3.1", "messages": [{"role": "user", "content": "hi"}]})
    url, answer = f"{gateway.url}/v1/chat/completions", tmp_path / "answer"
    command = ["curl", "--http2", "--noproxy", "*", "-sS", "-H", f"Authorization: Bearer {gateway.key}"]
    command += ["--json", body, "-w", "%{http_code} %{http_version} %{num_connects}\n"]
    for _ in range(10):
        command += ["-o", str(answer), url]
    told = run(command).splitlines()
    assert told == ["200 1.1 1", *["200 1.1 0"] * 9]
    assert json.loads(answer.read_text())["choices"][0]["finish_reason"] == "stop"
