"""The real model servers: Ollama, and llama.cpp's llama-server alone.

`tests/run ollama` puts both below the folder that LLM_GATEWAY_OLLAMA names: `bin/ollama`, and `lib/ollama` with what it
runs models with. What a reader would get wrong: a runner is a child process of `ollama serve`, which starts it for
each model that it loads and goes on when it dies.
"""

import contextlib
import http.client
import json
import os
import pathlib
import queue
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.parse

from running import PATIENCE, ROOT

FOLDER = pathlib.Path(os.environ.get("LLM_GATEWAY_OLLAMA", ROOT / "target/ollama")).resolve()
OLLAMA = FOLDER / "bin/ollama"
LLAMA_SERVER = FOLDER / "lib/ollama/llama-server"


class Engine:
    """A running model server; `url` once it listens."""

    def __init__(self, arguments, environment):
        self._arguments, self._environment = arguments, environment
        self.log = []
        self.start()

    def start(self):
        """Starts it, again on the port that it had, and awaits that it listens."""
        self._lines = queue.Queue()
        self._child = subprocess.Popen(
            [str(argument) for argument in self._arguments], env={"PATH": os.defpath, **self._environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )
        threading.Thread(target=self._read, args=(self._child, self._lines), daemon=True).start()

    @property
    def pid(self):
        return self._child.pid

    def awaits(self, pattern):
        """Awaits a line of its log in which the pattern is found, after those that were awaited before."""
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"no line {pattern!r} in {self.log[-40:]}") from None
            assert line is not None, f"ended without {pattern!r}: {self.log[-40:]}"
            found = re.search(pattern, line)
            if found:
                return found

    def kill(self):
        """Ends it as a crash would, with its runners."""
        runners = children(self.pid)
        for pid in [self.pid, *runners]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._child.wait(PATIENCE)

    def stop(self):
        """Ends it for good; in order it would take seconds."""
        if self._child.poll() is None:
            self.kill()

    def _read(self, child, lines):
        for line in child.stdout:
            self.log.append(line)
            lines.put(line)
        lines.put(None)


class Ollama(Engine):
    """`ollama serve` on the models of a library."""

    def __init__(self, home, **settings):
        self.home = home
        environment = {
            "HOME": str(home), "OLLAMA_MODELS": str(home / "models"), "OLLAMA_HOST": "127.0.0.1:0",
            "OLLAMA_NOPRUNE": "1", "OLLAMA_DEBUG": "1", **settings,
        }
        super().__init__([OLLAMA, "serve"], environment)

    def start(self):
        super().start()
        port = self.awaits(r"Listening on 127\.0\.0\.1:(\d+)")[1]
        self.url = f"http://127.0.0.1:{port}"
        self._environment["OLLAMA_HOST"] = f"127.0.0.1:{port}"

    def create(self, name, file):
        """Makes a GGUF file a model of that name."""
        modelfile = file.with_suffix(".modelfile")
        modelfile.write_text(f"FROM {file}\n")
        made = command(self.url, self.home, "create", name, "-f", modelfile)
        assert made.returncode == 0, (made, self.log[-20:])

    def runners(self):
        """The processes that hold a model or load it. Others look for graphics cards."""
        return [pid for pid in children(self.pid) if "--model" in words_of(pid)]

    def kill_runners(self):
        """Ends all runners as a crash would, and says how many there were."""
        runners = self.runners()
        for pid in runners:
            os.kill(pid, signal.SIGKILL)
        return len(runners)

    def works(self):
        """Whether a runner is at work on an answer."""
        return any(slot["is_processing"] for pid in self.runners() for slot in slots(words_of(pid)))

    def asked(self, path, status=None):
        """How often it was asked at that path, by its own log; with that status only, if given."""
        line = re.compile(r"\[GIN\].*?\| *(\d+) \|.*" + re.escape(f'"{path}"'))
        found = [int(match[1]) for match in map(line.search, list(self.log)) if match]
        return len([one for one in found if status in (None, one)])

    def loads(self):
        """How many models it has loaded since it was started first."""
        return sum("starting llama-server" in line for line in list(self.log))


class LlamaServer(Engine):
    """llama-server with one model. Its port is known before it listens, and `ready` awaits that it has loaded."""

    def __init__(self, model, *options, of="--model"):
        # Bound, but nobody listens there: Linux lets the server have it, and nobody else is given it.
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind(("127.0.0.1", 0))
        port = self._port.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        arguments = [LLAMA_SERVER, of, model, "--host", "127.0.0.1", "--port", port, *options]
        super().__init__(arguments, {"LD_LIBRARY_PATH": str(LLAMA_SERVER.parent)})

    def ready(self):
        """Awaits that its model is loaded."""
        awaits(lambda: self.health() == 200, "llama-server has loaded its model")
        return self

    def health(self):
        """The status that it answers now, or none where nobody listens."""
        try:
            return ask(self.url, "/health").status
        except OSError:
            return None

    def stop(self):
        super().stop()
        self._port.close()

    @contextlib.contextmanager
    def starved(self):
        """Within the block it has a hundredth of a processor, so that loading takes long while it goes on answering."""
        over = threading.Event()

        def starve():
            while not over.wait(0.001):
                os.kill(self.pid, signal.SIGSTOP)
                over.wait(0.2)
                os.kill(self.pid, signal.SIGCONT)

        thread = threading.Thread(target=starve)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


class LlamaRouter(LlamaServer):
    """llama-server as a router of all models in a folder, each of which another process of its own runs."""

    def __init__(self, folder, *options):
        super().__init__(folder, *options, of="--models-dir")

    @staticmethod
    def is_there():
        """Whether this llama-server can be one."""
        help_ = subprocess.run(
            [str(LLAMA_SERVER), "--help"], env={"LD_LIBRARY_PATH": str(LLAMA_SERVER.parent)}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=PATIENCE,
        )
        return "--models-dir" in help_.stdout + help_.stderr

    def states(self):
        """What it says of each model."""
        return {model["id"]: model["status"]["value"] for model in ask(self.url, "/models").json()["data"]}

    def loads(self):
        """How many models it has loaded, or tried to load."""
        return sum("spawning server instance with name" in line for line in list(self.log))


@contextlib.contextmanager
def serving(engine):
    """Stops the engine at the end of the block."""
    try:
        yield engine
    finally:
        engine.stop()


class Answer:
    """What came back: `status`, `headers` and `text`."""

    def __init__(self, response):
        self.status, self.headers, self.text = response.status, response.headers, response.read().decode()

    def json(self):
        return json.loads(self.text)

    def lines(self):
        return [json.loads(line) for line in self.text.splitlines() if line]

    def __repr__(self):
        return f"<{self.status} {self.text[:600]}>"


def ask(url, path, body=None, key=None, patience=PATIENCE):
    """One request, a POST where it has a body, and its whole answer."""
    where = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=patience)
    with contextlib.closing(connection):
        method, sent = ("GET", None) if body is None else ("POST", json.dumps(body))
        connection.request(method, path, sent, headers(key))
        return Answer(connection.getresponse())


@contextlib.contextmanager
def asking(url, path, body, key=None):
    """One request whose answer is read by the block, line by line."""
    where = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("POST", path, json.dumps(body), headers(key))
        yield connection.getresponse()


def headers(key):
    return {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}


def command(url, home, *arguments):
    """Ollama's own command against that address."""
    environment = {"PATH": os.defpath, "HOME": str(home), "TERM": "dumb", "OLLAMA_HOST": url}
    return subprocess.run(
        [str(OLLAMA), *map(str, arguments)], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=PATIENCE,
    )


def words_of(pid):
    """The command that a process runs, word by word; nothing when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def slots(words):
    """What the runner with that command works on; nothing while it loads and when it is gone."""
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        answer = ask(f"http://127.0.0.1:{words[words.index('--port') + 1]}", "/slots")
        return answer.json() if answer.status == 200 else []
    return []


def children(pid):
    """The processes that a process has started and that still run."""
    found = []
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = status.read_text().rpartition(") ")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(status.parent.name))
    return found


def awaits(condition, what):
    """Awaits that something is true of a process that tells nobody."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, f"not in {PATIENCE} s: {what}"
        time.sleep(0.01)
