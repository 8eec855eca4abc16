"""A real Ollama with small models of our own, and gateways in front of it.

What a reader would get wrong: the Ollama of the session is never harmed, so a test that kills something starts its own,
on the same models.
"""

import contextlib
import os
import pathlib
import re
import types

import pytest

import models
from engines import LLAMA_SERVER, OLLAMA, Ollama, serving
from running import running

# Neither Ollama's client nor its command may find an address or a proxy in the developer's environment.
for name in list(os.environ):
    if re.match(r"OLLAMA_|(https?|all|no)_proxy$", name, re.IGNORECASE):
        del os.environ[name]

# By name: what `models.make` is told.
LIBRARY = {
    "talks": {},
    "also-talks": {"seed": 2},
    "thinks": {"capable": True, "seed": 3},
    "embeds": {"pooling": True, "seed": 4},
    # Some hundred tokens a second, and no end.
    "slow": {"layers": 4, "size": 512, "ends": 30.0, "seed": 5},
    "also-slow": {"layers": 4, "size": 512, "ends": 30.0, "seed": 6},
    "embeds-slowly": {"layers": 4, "size": 512, "pooling": True, "seed": 7},
}

SERVER = """
[server]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
"""


@pytest.fixture(scope="session", autouse=True)
def _installed():
    missing = [str(path) for path in (OLLAMA, LLAMA_SERVER) if not path.is_file()]
    assert not missing, f"tests/run ollama installs {missing}"


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """The models as GGUF files, by name."""
    folder = tmp_path_factory.mktemp("files")
    made = {name: folder / f"{name}.gguf" for name in LIBRARY}
    for name, file in made.items():
        models.make(file, **LIBRARY[name])
    return made


@pytest.fixture(scope="session")
def home(files, tmp_path_factory):
    """A home folder in whose library all models are."""
    home = tmp_path_factory.mktemp("home")
    with serving(Ollama(home)) as ollama:
        for name, file in files.items():
            ollama.create(name, file)
    return home


@pytest.fixture(scope="session")
def ollama(home):
    """The Ollama that nobody harms."""
    with serving(Ollama(home)) as ollama:
        yield ollama


@pytest.fixture(scope="session")
def gateway(ollama, tmp_path_factory):
    """A gateway in front of it that asks for no key."""
    with fronted(tmp_path_factory.mktemp("gateway"), provider("ollama", ollama.url)) as gateway:
        yield gateway


@pytest.fixture
def front(tmp_path):
    """Starts gateways for one test: `front(text)` with the rest of a configuration."""
    with contextlib.ExitStack() as stack:
        yield lambda text: stack.enter_context(fronted(tmp_path, text))


def provider(name, url, backend="ollama", more=""):
    """The lines of a provider."""
    return f'[providers.{name}]\nbackend = "{backend}"\nbase_url = "{url}"\n{more}\n'


@contextlib.contextmanager
def fronted(folder, text):
    """A running gateway: its `url`, its `admin` address and its `log`."""
    file = pathlib.Path(folder) / "gateway.toml"
    file.write_text(SERVER + text)
    with running(["serve", "--config", file], folder) as serve:
        url = serve.address("gateway listening on")
        yield types.SimpleNamespace(url=url, admin=serve.address("admin listening on"), log=serve.log)
    unfinished = [line for line in serve.log if "ended unfinished" in line]
    assert not unfinished, unfinished
