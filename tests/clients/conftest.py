"""One gateway in front of a simulated Ollama, for the whole session.

What a reader would get wrong: when the session ends, everything must have come to rest and add up, and the gateway
must stop in order, or the session fails.
"""

import os
import re
import types

import pytest

from media import media_server
from running import running
from scripted import scripted_ollama

KEY = "sk-for-clients"
# May ask twice, and then not for long.
LIMITED_KEY = "sk-for-two-requests"
# May use only the model mistral, which is listed as mistral:latest.
NARROW_KEY = "sk-for-mistral-only"
MAX_BODY = 1 << 20

# Clients must not find an address, a key or a proxy in the developer's environment.
for name in list(os.environ):
    if re.match(r"(OPENAI|OLLAMA|ANTHROPIC|GEMINI|GOOGLE|LANGCHAIN|LANGSMITH)_|(https?|all|no)_proxy$", name, re.IGNORECASE):
        del os.environ[name]

CONFIGURATION = """
[server]
listen = "127.0.0.1:0"
max_body = "{max_body}B"
[admin]
listen = "127.0.0.1:0"
[[keys]]
name = "clients"
key = "{key}"
[[keys]]
name = "narrow"
key = "{narrow_key}"
models = ["mistral"]
[[keys]]
name = "limited"
key = "{limited_key}"
rate = {{ capacity = 2, refill_per_second = 0.001 }}
tokens_per_minute = 100000
[providers.ollama]
base_url = "{sim}"
[providers.failing]
backend = "ollama"
base_url = "{failing}"
models = ["fail-*"]
breaker = {{ failures = 1000 }}
retry = {{ max_retries = 0 }}
# Apart, because a provider that does not let us in is left alone for a while.
[providers.closed]
backend = "ollama"
base_url = "{failing}"
models = ["fail-401"]
[providers.media]
backend = "openai"
base_url = "{media}/v1"
trust = "local"
models = ["whisper-1", "tts-1", "cut", "image-1", "reads"]
passthrough = ["/v1/audio/*", "/v1/images/*"]
[[routes]]
model = "dictation"
targets = [{{ provider = "media", model = "whisper-1" }}]
"""


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    """The running gateway: its `url`, `admin_url`, the `key` of its clients, the `narrow_key` and the `limited_key`."""
    folder = tmp_path_factory.mktemp("gateway")
    # Fast, with slots enough for whatever tests run at a time.
    fast = ["--slots", 8, "--load-ms", 0, "--first-token-ms", 1, "--tokens-per-second", 100000]
    with running(["sim", "--listen", "127.0.0.1:0", *fast], folder) as sim, scripted_ollama() as failing, media_server() as media:
        text = CONFIGURATION.format(
            max_body=MAX_BODY, key=KEY, narrow_key=NARROW_KEY, limited_key=LIMITED_KEY,
            sim=sim.address("listening on"), failing=failing, media=media,
        )
        file = folder / "gateway.toml"
        file.write_text(text)
        with running(["serve", "--config", file], folder) as serve:
            url = serve.address("gateway listening on")
            admin_url = serve.address("admin listening on")
            yield types.SimpleNamespace(
                url=url, admin_url=admin_url, key=KEY, narrow_key=NARROW_KEY, limited_key=LIMITED_KEY, max_body=MAX_BODY,
            )
        # A gateway that stops waits for whatever still runs, and says how much it had to end unfinished.
        assert serve.awaits("stopped")
        unfinished = [line for line in serve.log if "ended unfinished" in line]
        assert not unfinished, unfinished
