"""A real Prometheus, with the project's own files, before a gateway that has something to tell.

Between them stands a relay that counts scrapes, so that a test awaits the third instead of some time.
"""

import contextlib
import http.server
import json
import queue
import re
import socket
import subprocess
import threading
import types
import urllib.error
import urllib.parse
import urllib.request

import pytest
import yaml
from running import PATIENCE, ROOT, running

CONFIG = ROOT / "config"
TOKEN = "an-operators-token"
DASHBOARD = json.loads((CONFIG / "grafana/dashboards/llm-gateway.json").read_text())

GATEWAY = """
[server]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
token = "{token}"
[auth]
rate = {{ capacity = 1000, refill_per_second = 1000.0 }}
[cache]
ttl = "60s"
[redis]
url = "{redis}"
[providers.gone]
backend = "ollama"
base_url = "http://127.0.0.1:1"
models = ["elsewhere"]
retry = {{ max_retries = 1, backoff = "1ms" }}
[providers.ollama]
base_url = "{sim}"
[[routes]]
model = "elsewhere"
targets = [{{ provider = "gone" }}]
fallback = [{{ provider = "ollama", model = "llama3.1" }}]
"""


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """Prometheus after three scrapes, its `url`."""
    folder = tmp_path_factory.mktemp("monitoring")
    fast = ["--slots", 2, "--load-ms", 0, "--first-token-ms", 1, "--tokens-per-second", 100000]
    with redis_server(folder) as redis, running(["sim", "--listen", "127.0.0.1:0", *fast], folder) as sim:
        file = folder / "gateway.toml"
        file.write_text(GATEWAY.format(token=TOKEN, redis=redis, sim=sim.address("listening on")))
        with running(["serve", "--config", file], folder) as serve:
            url = serve.address("gateway listening on")
            with relay(serve.address("admin listening on")) as relayed:
                with scraping(folder, relayed.address) as address:
                    # Counters that appear with their first event have to grow afterwards.
                    for _ in range(4):
                        use(url)
                        relayed.scraped.get(timeout=PATIENCE)
                    yield types.SimpleNamespace(url=address)


def use(url):
    """Requests of several kinds: answered, answered from the cache, failed over, refused, left."""
    ask(url, "/v1/chat", {"messages": [{"role": "user", "content": "hi"}], "stream": True})
    ask(url, "/v1/chat", {"messages": [{"role": "user", "content": "hi"}], "temperature": 0})
    ask(url, "/v1/chat/completions", {"model": "elsewhere", "messages": [{"role": "user", "content": "hi"}]})
    ask(url, "/v1/chat", {"messages": [], "model_hint": "none"})
    leave(url)


def ask(url, path, body):
    request = urllib.request.Request(
        url + path, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        return error.read()


def leave(url):
    """Goes away after the first bytes of a long answer."""
    words = {"messages": [{"role": "user", "content": "tell me a story " * 200}], "stream": True}
    request = urllib.request.Request(
        url + "/v1/chat", json.dumps(words).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        answer.read(1)


@contextlib.contextmanager
def redis_server(folder):
    """A Redis that keeps nothing, on a port that was free a moment ago. Gives its address."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        child = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        # It ends by itself when somebody else has taken the port.
        if any("Ready to accept connections" in line for line in child.stdout):
            break
        child.wait(PATIENCE)
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(PATIENCE)


class relay:
    """Hands scrapes on to the gateway and notes each."""

    def __init__(self, admin_url):
        scraped = self.scraped = queue.Queue()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                request = urllib.request.Request(admin_url + self.path)
                request.add_header("authorization", self.headers.get("authorization", ""))
                try:
                    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                        status, kind, body = answer.status, answer.headers["content-type"], answer.read()
                except urllib.error.HTTPError as error:
                    status, kind, body = error.code, "text/plain", error.read()
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                scraped.put(status)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = "127.0.0.1:%d" % self._server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


class scraping:
    """Prometheus with the project's files, told only where and how often to scrape. Gives its address."""

    def __init__(self, folder, target):
        config = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(CONFIG / "alerts.yml")]
        (job,) = config["scrape_configs"]
        job["static_configs"] = [{"targets": [target]}]
        token = folder / "token"
        token.write_text(TOKEN)
        job["authorization"]["credentials_file"] = str(token)
        self._file = folder / "prometheus.yml"
        self._file.write_text(yaml.safe_dump(config))
        self._store = folder / "store"

    def __enter__(self):
        self._child = subprocess.Popen(
            ["prometheus", f"--config.file={self._file}", f"--storage.tsdb.path={self._store}",
             "--web.listen-address=127.0.0.1:0"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        lines, said = queue.Queue(), []
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        address = None
        while True:
            line = lines.get(timeout=PATIENCE)
            assert line is not None, said
            said.append(line)
            found = re.search(r'"?Listening on"? address=(127\.0\.0\.1:\d+)', line)
            address = found[1] if found else address
            if "Server is ready" in line:
                return f"http://{address}"

    def _read(self, lines):
        for line in self._child.stderr:
            lines.put(line)
        lines.put(None)

    def __exit__(self, *_):
        self._child.terminate()
        self._child.wait(PATIENCE)


def answers(prometheus, path, **query):
    url = f"{prometheus.url}{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        said = json.load(answer)
    assert said["status"] == "success", said
    return said["data"]


def queries():
    """Every query of the dashboard, with its variables filled in as Grafana does."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            text = target["expr"].replace("$__rate_interval", "1m").replace("$provider", ".*")
            yield pytest.param(text, id=f"{panel['title']}-{target['refId']}")


@pytest.mark.parametrize("query", list(queries()))
def test_each_query_of_the_dashboard_returns_numbers(prometheus, query):
    assert "$" not in query
    result = answers(prometheus, "/api/v1/query", query=query)["result"]
    assert result, query


def test_the_dashboard_shows_refusals_waits_keys_and_the_configuration():
    shown = " ".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", []))
    for metric in ["refusals_total", "predicted_wait_seconds", "key_requests_total", "key_queued",
                   "config_last_reload_successful", "config_last_reload_timestamp_seconds"]:
        assert f"llm_gateway_{metric}" in shown, metric
    by_key = [panel["title"] for panel in DASHBOARD["panels"] if "sum by (key)" in str(panel.get("targets"))]
    assert len(by_key) == 3, by_key


def test_the_dashboard_finds_its_providers(prometheus):
    (variable,) = [each for each in DASHBOARD["templating"]["list"] if each["name"] == "provider"]
    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()
    values = answers(prometheus, f"/api/v1/label/{label}/values", **{"match[]": metric})
    assert {"ollama", "gone"} <= set(values)


def test_the_gateway_is_up_and_every_rule_can_be_evaluated(prometheus):
    (target,) = answers(prometheus, "/api/v1/targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    (group,) = answers(prometheus, "/api/v1/rules")["groups"]
    assert len(group["rules"]) == len(yaml.safe_load((CONFIG / "alerts.yml").read_text())["groups"][0]["rules"])
    for rule in group["rules"]:
        assert rule.get("lastError", "") == "", rule
        answers(prometheus, "/api/v1/query", query=rule["query"])


def test_the_dashboard_is_what_grafana_provisions():
    sources = yaml.safe_load((CONFIG / "grafana/provisioning/datasources/prometheus.yml").read_text())
    (source,) = sources["datasources"]
    (variable,) = [each for each in DASHBOARD["templating"]["list"] if each["type"] == "datasource"]
    assert source["type"] == variable["query"] == "prometheus"
    places = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & places, panel["title"]
        places |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
