"""Three models, room for one: what scheduled loads are worth on the real thing, in one run, and what ends no load."""

import contextlib
import http.client
import json
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from conftest import provider
from engines import Ollama, ask, awaits, serving

MODELS = ("talks", "also-talks", "thinks")
ROUNDS = 8


def chat(model, number):
    """A chat with a short answer. Those with different numbers share no call."""
    messages = [{"role": "user", "content": "Why is the line long?"}]
    options = {"num_predict": 5, "seed": number}
    return {"model": model, "messages": messages, "stream": False, "options": options}


def in_turn(url, client):
    """One client, which asks again as soon as it is answered; the longest it waited."""
    longest = 0
    for number in range(ROUNDS):
        began = time.monotonic()
        answer = ask(url, "/api/chat", chat(MODELS[client % 3], client * ROUNDS + number))
        assert answer.status == 200, answer
        longest = max(longest, time.monotonic() - began)
    return longest


def loads_for(home, address_of):
    """How many loads six such clients cost, two to a model."""
    with serving(Ollama(home, OLLAMA_MAX_LOADED_MODELS="1")) as ollama:
        url = address_of(ollama)
        with ThreadPoolExecutor(6) as pool:
            waits = list(pool.map(lambda client: in_turn(url, client), range(6)))
        return ollama.loads(), max(waits)


def test_scheduled_loads_are_few_and_nobody_waits_for_long(home, front):
    def through(scheduling):
        more = f'max_concurrency = 4\nscheduling = "{scheduling}"'
        return lambda ollama: front(provider("ollama", ollama.url, more=more)).url

    direct, _ = loads_for(home, lambda ollama: ollama.url)
    fair, _ = loads_for(home, through("fair"))
    warm, longest = loads_for(home, through("warm"))
    print(f"loads for {6 * ROUNDS} answers: direct {direct}, fair {fair}, warm {warm}; longest wait {longest:.1f} s")
    assert 3 <= warm and warm * 2 <= fair, (direct, fair, warm)


def test_a_client_that_disconnects_ends_no_load(home, front):
    with serving(Ollama(home, OLLAMA_MAX_LOADED_MODELS="1")) as ollama:
        gateway = front(provider("ollama", ollama.url))
        where = urllib.parse.urlsplit(gateway.url)
        with contextlib.closing(http.client.HTTPConnection(where.hostname, where.port)) as leaver:
            leaver.request("POST", "/api/chat", json.dumps(chat("slow", 1)))
            awaits(ollama.runners, "a runner is started")
        assert ask(gateway.url, "/api/chat", chat("slow", 2)).status == 200
        assert ollama.loads() == 1
