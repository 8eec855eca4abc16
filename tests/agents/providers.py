"""What the scripted providers have in common: an Ollama, an OpenAI-compatible server and Anthropic, as strict as they are.

Each reads a request to the letter, refuses with 400 whatever its vendor would (unknown fields, roles out of order, results
without calls, calls without results), and answers with the script's next move, streamed or whole. What a reader would
get wrong: an agent may survive a refusal, so whatever was refused stays in `offences`, and a test looks there.
"""

import base64
import contextlib
import http.server
import itertools
import json
import pathlib
import re
import threading
import types

import script

MODEL = "scripted"
# How many tokens each answer is said to have taken, of the question and of itself.
ASKED, ANSWERED = 11, 7


class Refused(Exception):
    """What the vendor would answer 400 for."""


def demand(holds, words):
    if not holds:
        raise Refused(words)


def only(value, allowed, where):
    demand(isinstance(value, dict), f"{where}: an object is needed")
    unknown = set(value) - set(allowed)
    demand(not unknown, f"{where}: unknown fields {sorted(unknown)}")


class Asked:
    """A request, read: the tools by name with their schemas, the texts of the user, results, pictures and papers.

    Each result is the text with what it is `about`, the arguments of its call.
    """

    def __init__(self):
        self.tools, self.texts, self.results, self.pictures, self.papers = {}, [], [], [], []
        self._open = {}

    def calls(self, name, arguments, where):
        """A call of the model's, by its id or whatever else its result is found by."""
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        demand(isinstance(arguments, dict), f"{where}: arguments are no object")
        demand(name not in self._open, f"{where}: {name} calls twice")
        self._open[name] = json.dumps(arguments)

    def answers(self, name, text, where):
        """The result of one call, which must be there and must not have one."""
        demand(name in self._open, f"{where}: {name} has not called, {sorted(self._open)} have")
        self.results.append(types.SimpleNamespace(about=self._open.pop(name), text=text))

    def rests(self, where):
        """Anything but a result comes when every call has one."""
        demand(not self._open, f"{where}: calls without a result: {sorted(self._open)}")

    def offers(self, name, schema, longest):
        demand(re.fullmatch(rf"[a-zA-Z0-9_-]{{1,{longest}}}", name), f"tools: name {name!r}")
        demand(name not in self.tools, f"tools: names must be unique, {name!r} is not")
        demand(isinstance(schema, dict) and schema.get("type") == "object", f"tools: {name}: schema of type object is needed")
        self.tools[name] = schema


def picture(data):
    """The bytes of a picture in base64."""
    bytes_ = base64.b64decode(data, validate=True)
    demand(bytes_.startswith((b"\x89PNG", b"\xff\xd8", b"RIFF", b"GIF8")), "image: no picture")
    return bytes_


class Provider(http.server.BaseHTTPRequestHandler):
    """What the three have in common."""

    protocol_version = "HTTP/1.1"
    # What the base address ends in.
    below = ""
    # Without it each small write waits for the one before it to be acknowledged.
    disable_nagle_algorithm = True

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        play = self.server.play
        try:
            self.body = json.loads(raw)
            answer = self.answer(self.body)
        except Refused as refused:
            with play.lock:
                play.offences.append(f"{self.path}: {refused}")
            answer = self.refusal(str(refused))
        self._send(*answer)

    def do_GET(self):
        self._send(*self.listed())

    def next_move(self, asked):
        """The script's move, noted."""
        play = self.server.play
        move = script.next_move(asked, play.folder)
        with play.lock:
            if move.main:
                play.moves.append(move)
                play.bodies.append(self.body)
                play.results = max(play.results, asked.results, key=len)
            return move, f"{next(play.numbers):04}"

    def log_message(self, *_):
        pass

    def _send(self, status, kind, body):
        data = body.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(data)


def whole(value, status=200):
    return status, "application/json", json.dumps(value)


@contextlib.contextmanager
def playing(handler, folder):
    """Serves as this provider for the length of the block; yields its `url` and what it sees."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.play = types.SimpleNamespace(
            url=f"http://127.0.0.1:{server.server_port}{handler.below}", folder=pathlib.Path(folder),
            lock=threading.Lock(), moves=[], bodies=[], results=[], offences=[], numbers=itertools.count(1),
        )
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield server.play
        finally:
            server.shutdown()
