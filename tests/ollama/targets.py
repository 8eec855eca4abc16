"""The real Ollama and the simulated one, behind one face, so that the same script plays on both.

What a reader would get wrong: an answer of one token is short on both and any other has no end, so that a test and no
clock decides how long a model is busy. A request that waits is seen by nobody; `Stage.asks` sends others after it that
take the same way, so that it stands where it waits when they are answered.
"""

import contextlib
import http.client
import json
import socket
import threading
import urllib.parse

from engines import Ollama, ask, awaits, headers, serving
from running import PATIENCE, running

# The parts that models play, and who plays them: three that chat, of which one is also there by another name, and one
# that embeds.
REAL = {"a": "slow", "b": "also-slow", "c": "talks", "twin": "a-twin", "embeds": "embeds"}
SIMULATED = {"a": "llama3.1", "b": "mistral", "c": "codellama", "twin": "a-twin", "embeds": "nomic-embed-text"}
QUESTION = [{"role": "user", "content": "Why is the line long?"}]


class Real:
    """A real Ollama."""

    names = REAL

    def __init__(self, ollama):
        self._ollama, self.url = ollama, ollama.url
        ask(self.url, "/api/copy", {"source": REAL["a"], "destination": REAL["twin"]})

    def begun(self):
        """How many loads were begun."""
        return self._ollama.loads()

    def is_loading(self):
        """Whether it is at work on a load."""
        return len(self._ollama.runners()) > len(ask(self.url, "/api/ps").json()["models"])


class Simulated:
    """`llm-gateway sim`."""

    names = SIMULATED

    def __init__(self, url):
        self.url = url

    def begun(self):
        seen = ask(self.url, "/sim").json()
        return seen["loads"] + seen["aborted_loads"] + seen["loading"]

    def is_loading(self):
        return ask(self.url, "/sim").json()["loading"]


@contextlib.contextmanager
def real(home, room, slots, queue):
    settings = {"MAX_LOADED_MODELS": room, "NUM_PARALLEL": slots, "MAX_QUEUE": queue}
    with serving(Ollama(home, **{f"OLLAMA_{name}": str(value) for name, value in settings.items()})) as ollama:
        yield Real(ollama)


@contextlib.contextmanager
def simulated(folder, room, slots, queue):
    settings = {"loaded": room, "slots": slots, "queue": queue, "load-ms": 700, "unload-ms": 0, "first-token-ms": 20,
                "tokens-per-second": 0.001, "listen": "127.0.0.1:0", "alias": f"{SIMULATED['twin']}={SIMULATED['a']}"}
    options = [word for name, value in settings.items() for word in (f"--{name}", value)]
    with running(["sim", *options], folder) as process:
        yield Simulated(process.address("simulated Ollama listening on"))


class Stage:
    """Clients at a target: who was answered in which order."""

    def __init__(self, target):
        self.target, self.order, self.clients = target, [], []

    def asks(self, model, name=None, **fields):
        """A client of a chat without an end, whose place in the order has that name."""
        return self._client(model, name or model, {"messages": QUESTION, **fields})

    def asks_briefly(self, model, name=None, num_predict=1, **fields):
        """A client of a chat of one token."""
        options = {"num_predict": num_predict, **fields.pop("options", {})}
        return self.asks(model, name, options=options, **fields)

    def answers(self, model, path="/api/chat", **fields):
        """The answer to a request that waits for nothing but a load."""
        body = {"model": self.target.names[model], "stream": False, **fields}
        if path == "/api/chat" and "messages" not in fields:
            body |= {"messages": QUESTION, "options": {"num_predict": 1, **fields.get("options", {})}}
        return ask(self.target.url, path, body)

    def loads(self, model, **fields):
        """Loads a model, or sets how long it stays."""
        answer = self.answers(model, "/api/generate", **fields)
        assert answer.status == 200, answer
        return answer.json()

    def loaded(self):
        """The models in memory by their parts, with their context lengths."""
        parts = {f"{name}:latest": part for part, name in self.target.names.items()}
        listed = ask(self.target.url, "/api/ps").json()["models"]
        return {parts[one["name"]]: one["context_length"] for one in listed}

    def begun(self, *models):
        """Awaits that the answers of clients with these names have begun, and that they are all there are, in this order."""
        awaits(lambda: len(self.order) >= len(models), f"{models} and not {self.order}")
        assert tuple(self.order) == models
        self.order.clear()

    def is_gone(self, model):
        awaits(lambda: model not in self.loaded(), f"{model} is unloaded")

    def _client(self, model, name, body):
        client = Client(self, {"model": self.target.names[model], **body}, name)
        self.clients.append(client)
        for _ in range(4):
            assert ask(self.target.url, "/api/show", {"model": self.target.names[model]}).status == 200
        return client

    def close(self):
        for client in self.clients:
            client.leaves()


class Client:
    """One streamed request: `status` and `last`, its last line, once it is answered."""

    def __init__(self, stage, body, name):
        self.status, self.last, self._stage, self._name = None, None, stage, name
        where = urllib.parse.urlsplit(stage.target.url)
        self._connection = http.client.HTTPConnection(where.hostname, where.port, timeout=PATIENCE)
        self._connection.request("POST", "/api/chat", json.dumps(body), headers(None))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def leaves(self):
        """Disconnects."""
        with contextlib.suppress(OSError, AttributeError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def ends(self):
        """Awaits the end of its answer."""
        self._thread.join(PATIENCE)
        assert self.last is not None and self.last.get("done"), self.last
        return self.last

    def _read(self):
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            response = self._connection.getresponse()
            self.status = response.status
            for line in response:
                if self.last is None:
                    self._stage.order.append(self._name)
                self.last = json.loads(line)


@contextlib.contextmanager
def stage(kind, home, folder, room, slots=1, queue=512):
    opened = real(home, room, slots, queue) if kind == "real" else simulated(folder, room, slots, queue)
    with opened as target:
        played = Stage(target)
        try:
            yield played
        finally:
            played.close()
