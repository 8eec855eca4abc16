"""The `ollama` command through a gateway whose key may manage models: create, cp and rm do what they do at Ollama itself.

The command sends no key, so that a relay before the gateway adds one, as a proxy of a team does.
"""

import contextlib
import socket
import threading

import pytest

import models
from conftest import provider
from engines import ask, command

KEYS = """
[[keys]]
name = "admin"
key = "sk-admin"
manage_models = true
[[keys]]
name = "team"
key = "sk-team"
manage_models = true
models = ["team-*"]
"""


@pytest.fixture
def relayed(front, ollama):
    """The address of a gateway that takes every request for one of the key: `relayed(key)`."""
    gateway = front(KEYS + provider("ollama", ollama.url))
    with contextlib.ExitStack() as stack:
        yield lambda key: stack.enter_context(relay(gateway.url, key))


@contextlib.contextmanager
def relay(url, key):
    """Adds a key to every request; a connection carries one."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(client):
            with client, socket.create_connection((host, int(port))) as gateway:
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = client.recv(65536)
                    if not piece:
                        return
                    head += piece
                line, rest = head.split(b"\r\n", 1)
                gateway.sendall(line + f"\r\nx-api-key: {key}\r\nconnection: close\r\n".encode() + rest)
                back = threading.Thread(target=pump, args=(gateway, client), daemon=True)
                back.start()
                pump(client, gateway, stays_open=True)
                back.join()

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def pump(source, target, stays_open=False):
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        if not stays_open:
            target.shutdown(socket.SHUT_RDWR)


def installed(ollama):
    return {model["name"] for model in ask(ollama.url, "/api/tags").json()["models"]}


def test_create_cp_and_rm_do_what_they_do_at_ollama(relayed, ollama, home, tmp_path):
    url = relayed("sk-admin")
    file, recipe = tmp_path / "made.gguf", tmp_path / "Modelfile"
    models.make(file, seed=77)
    recipe.write_text(f'FROM {file}\nSYSTEM "You say little."\n')

    def typed(*arguments):
        ran = command(url, home, *arguments)
        assert ran.returncode == 0, ran
        return ran.stdout

    try:
        typed("create", "made", "-f", recipe)
        assert "made:latest" in installed(ollama)
        assert "You say little." in typed("show", "made", "--system")
        # The file is there already: Ollama answers before it has read it.
        typed("create", "made-again", "-f", recipe)
        typed("cp", "made", "copied")
        # What was installed is listed at once, also by the gateway.
        assert {"made:latest", "made-again:latest", "copied:latest"} <= {row.split()[0] for row in typed("list").splitlines()[1:]}
        assert typed("run", "copied", "--nowordwrap", "Why?").strip()
    finally:
        for name in ("copied", "made-again", "made"):
            ran = command(url, home, "rm", name)
    assert ran.returncode == 0, ran
    assert not {"made:latest", "made-again:latest", "copied:latest"} & installed(ollama)
    assert "made" not in typed("list")


def test_what_ollama_refuses_is_told_in_its_words(relayed, ollama, home):
    url = relayed("sk-admin")
    for arguments in (("rm", "no-such"), ("cp", "no-such", "other")):
        own, through = command(ollama.url, home, *arguments), command(url, home, *arguments)
        assert own.returncode != 0 and through.returncode != 0
        assert "no-such" in through.stderr and "not found" in through.stderr, through
    # There is no network to pull from: Ollama says so in its stream.
    pulled = command(url, home, "pull", "no-such-model-anywhere")
    assert pulled.returncode != 0 and "Error: " in pulled.stderr and "through this gateway" not in pulled.stderr, pulled


def test_a_key_manages_only_its_own_models(relayed, ollama, home):
    url = relayed("sk-team")
    for arguments in (("rm", "talks"), ("cp", "talks", "team-talks"), ("pull", "talks")):
        ran = command(url, home, *arguments)
        assert ran.returncode != 0 and "may not manage that model" in ran.stderr, ran
    assert "talks:latest" in installed(ollama)
