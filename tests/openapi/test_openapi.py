"""Requests that schemathesis makes up from the gateway's OpenAPI document: no 5xx, and no answer it does not tell of.

The seed is fixed, so that a run that passed passes again.
"""

import json
import pathlib
import subprocess
import sys
import types
import urllib.request

import pytest
from running import PATIENCE, running

SCHEMATHESIS = pathlib.Path(sys.executable).parent / "schemathesis"
# What they are asked beyond this is up to vendors, whose whole schemas the document does not repeat.
OUR_OWN = ["native", "health"]
VENDORS = ["openai", "ollama", "anthropic", "gemini"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """The addresses of a gateway before a simulated Ollama that is always fast enough."""
    folder = tmp_path_factory.mktemp("openapi")
    fast = ["--slots", 8, "--load-ms", 0, "--first-token-ms", 1, "--tokens-per-second", 100000]
    with running(["sim", "--listen", "127.0.0.1:0", *fast], folder) as sim:
        file = folder / "gateway.toml"
        file.write_text(
            '[server]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:0"\n'
            f'[providers.ollama]\nbase_url = "{sim.address("listening on")}"\n'
        )
        with running(["serve", "--config", file], folder) as serve:
            yield types.SimpleNamespace(
                main=serve.address("gateway listening on"), admin=serve.address("admin listening on"),
            )


def document(url):
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=PATIENCE) as answer:
        schema = json.load(answer)
    timeout = schema["components"]["parameters"].get("Timeout")
    if timeout:
        # A deadline of a millisecond is a wish as good as any, and ends as 504.
        timeout["schema"]["minimum"] = 60_000
    return schema


def explore(schema, url, tags, *options):
    command = [SCHEMATHESIS, "run", schema, "--url", url, "--seed", "7", "--no-color", "--generation-database", "none"]
    for tag in tags:
        command += ["--include-tag", tag]
    done = subprocess.run(
        [*command, *options], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        cwd=schema.parent,
    )
    assert done.returncode == 0, done.stdout


def test_our_own_routes_do_what_they_say_and_refuse_what_does_not_fit(gateway, tmp_path):
    schema = document(gateway.main)
    # Which words are hints is the operator's choice. These are the ones without configuration.
    known = ["local", "ollama", "secure", None]
    schema["components"]["schemas"]["ChatRequest"]["properties"]["model_hint"] = {"enum": known}
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(schema))
    # Not held against them: unknown headers, which any proxy adds, and methods such as TRACE on unknown terms.
    excluded = "unsupported_method,negative_data_rejection"
    explore(file, gateway.main, OUR_OWN, "--checks", "all", "--exclude-checks", excluded, "-n", "60")
    explore(file, gateway.main, OUR_OWN, "--checks", "negative_data_rejection", "--phases", "fuzzing", "-n", "60")


def test_vendors_routes_answer_nothing_undocumented(gateway, tmp_path):
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document(gateway.main)))
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance," \
             "response_headers_conformance"
    explore(file, gateway.main, VENDORS, "--checks", checks, "-n", "40")


def test_the_admin_listener_answers_nothing_undocumented(gateway, tmp_path):
    schema = document(gateway.admin)
    # The one never ends, and the other answers what the main listener does.
    for path in ["/admin/events", "/admin/playground"]:
        del schema["paths"][path]
    for path in schema["paths"].values():
        for operation in path.values():
            operation["tags"] = ["admin"]
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(schema))
    # Bodies are read as JSON whatever their content type says, and methods that are not there are not found.
    excluded = "unsupported_method"
    explore(file, gateway.admin, ["admin"], "--checks", "all", "--exclude-checks", excluded, "-n", "40")
