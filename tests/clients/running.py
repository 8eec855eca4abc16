"""The processes under test, the real binary as gateway and as simulated Ollama, and the servers that tests script.

Each gets its port from the kernel; the address is read from the log. Leaving the `with` block stops the process in
order and fails when it does not end with status 0.
"""

import contextlib
import http.server
import os
import pathlib
import queue
import re
import signal
import subprocess
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("LLM_GATEWAY_BIN", ROOT / "target/debug/llm-gateway")).resolve()
# Seconds; generous, because tests run on loaded machines.
PATIENCE = 60


class Process:
    """A running command of the binary."""

    def __init__(self, arguments, folder):
        # An empty environment: no variable of the developer configures what is tested.
        self._child = subprocess.Popen(
            [BINARY, *arguments], cwd=folder, env={}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
        )
        self._lines = queue.Queue()
        self.log = []
        threading.Thread(target=self._read, daemon=True).start()

    def address(self, announcement):
        """Awaits the line `ANNOUNCEMENT http://ADDRESS` and returns its URL."""
        return self.awaits(re.escape(announcement) + r" (http://[\w.:\[\]]+)")[1]

    def awaits(self, pattern):
        """Awaits a line, after those that were awaited before, in which the pattern is found; returns the match."""
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"no line {pattern!r} in {self.log}") from None
            assert line is not None, f"ended without {pattern!r}: {self.log}"
            found = re.search(pattern, line)
            if found:
                return found

    def stop(self):
        """Stops it as an operator does, and returns its exit status."""
        self._child.send_signal(signal.SIGTERM)
        try:
            return self._child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._child.kill()
            raise

    def _read(self):
        for line in self._child.stderr:
            self.log.append(line)
            self._lines.put(line)
        self._lines.put(None)


@contextlib.contextmanager
def running(arguments, folder):
    """Runs a command of the binary for the length of the block."""
    process = Process([str(argument) for argument in arguments], folder)
    try:
        yield process
    finally:
        status = process.stop()
    assert status == 0, (status, process.log[-40:])


@contextlib.contextmanager
def serving(handler):
    """Serves requests by a handler for the length of the block, on a port of the kernel's choice; yields the URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
