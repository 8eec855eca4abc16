"""An Ollama that fails as it is told to: what clients make of failures cannot be shown with a healthy provider.

The model's name says what happens: `fail-503` answers with that status, `fail-cut` ends a stream before its last line,
`fail-late` says in the middle of a stream that it failed.
"""

import http.server
import json

from running import serving

PIECE = {"model": "x", "created_at": "2026-01-15T09:30:00Z", "message": {"role": "assistant", "content": "so "}, "done": False}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        ending = body["model"].split(":")[0].removeprefix("fail-")
        if ending.isdecimal():
            self._answer(int(ending), json.dumps({"error": f"scripted failure {ending}"}))
        elif ending == "cut":
            self._answer(200, json.dumps(PIECE) + "\n")
        else:
            self._answer(200, json.dumps(PIECE) + "\n" + json.dumps({"error": "out of memory"}) + "\n")

    def log_message(self, *_):
        pass

    def _answer(self, status, text):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


def scripted_ollama():
    """Serves for the length of a `with` block; gives the URL."""
    return serving(Handler)
