"""Models that Ollama has run elsewhere (`…-cloud`) while it is signed out or without a network.

That concerns those models alone, however often somebody asks, and who asks later reads why as well. Ollama's service is
played by a server of the test's own, or by nobody.
"""

import http.server
import threading

import pytest

from conftest import provider
from engines import Ollama, ask, serving
from offences import KEYS, QUESTION, TIMES, offends

CLOUD = "gpt-oss:120b-cloud"
GOOD = ("/api/chat", {"model": "talks", "messages": QUESTION, "stream": False, "options": {"num_predict": 5}})


class SignedOut(http.server.BaseHTTPRequestHandler):
    """What ollama.com says to who is not signed in."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b'{"error":"unauthorized"}'
        self.send_response(401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_):
        pass


@pytest.fixture
def signed_out(home):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SignedOut) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        with serving(Ollama(home, OLLAMA_CLOUD_BASE_URL=address)) as ollama:
            yield ollama
        server.shutdown()


@pytest.fixture
def cut_off(home):
    # Nobody listens there.
    with serving(Ollama(home, OLLAMA_CLOUD_BASE_URL="http://127.0.0.1:1")) as ollama:
        yield ollama


@pytest.fixture
def without_cloud(home):
    with serving(Ollama(home, OLLAMA_NO_CLOUD="1")) as ollama:
        yield ollama


@pytest.mark.parametrize("state, words", [
    ("signed_out", "ollama signin"), ("cut_off", "connection refused"), ("without_cloud", "ollama cloud is disabled"),
])
@pytest.mark.parametrize("path, more", [
    ("/api/chat", {"messages": QUESTION}),
    ("/v1/chat/completions", {"messages": QUESTION}),
    ("/api/embed", {"input": "the line"}),
])
def test_only_models_of_the_cloud_are_refused_and_each_time_with_the_reason(request, front, state, words, path, more):
    ollama = request.getfixturevalue(state)
    gateway = front(KEYS + provider("ollama", ollama.url))
    told = offends(gateway, path, {"model": CLOUD, **more}, GOOD)
    for number, answer in enumerate(told):
        assert answer.status >= 400 and words in answer.text, (number, answer)
        assert "credentials" not in answer.text, (number, answer)
    # Another model of the cloud has the same fate, and its client the same words.
    other = ask(gateway.url, path, {"model": "qwen3-coder:480b-cloud", **more}, "sk-bystander")
    assert other.status >= 400 and words in other.text, other
    assert ollama.asked(path if path.startswith("/api") else "/api/chat") <= 2 * TIMES + 2 * TIMES + 2
