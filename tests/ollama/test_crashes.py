"""The runner of a model dies, as it does when memory runs out: who was not yet answered is, and the next are.

What a reader would get wrong: Ollama itself starts a new runner with the next call, so the one thing to do about a dead
one is to ask again.
"""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import provider
from engines import Ollama, ask, asking, awaits, serving
from offences import KEYS, QUESTION

# Some seconds of work.
WORK = {"num_predict": 400}
SOON = {"model": "slow", "messages": QUESTION, "stream": False, "options": {"num_predict": 3}}


@pytest.fixture
def fragile(home):
    """An Ollama of the test's own, which holds one model at a time."""
    with serving(Ollama(home, OLLAMA_MAX_LOADED_MODELS="1")) as ollama:
        yield ollama


def is_answered(gateway):
    answer = ask(gateway.url, "/api/chat", SOON)
    assert answer.status == 200 and answer.json()["done_reason"] == "length", answer


def killed_while(ollama, gateway, path, body):
    """The answer to a request whose model's runner dies once it works on it."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, gateway.url, path, body)
        awaits(ollama.works, "a runner works")
        assert ollama.kill_runners() == 1
        return asked.result()


@pytest.mark.parametrize("path, body", [
    ("/api/chat", {"messages": QUESTION, "stream": False, "options": WORK}),
    ("/api/generate", {"prompt": "Why?", "stream": False, "options": WORK}),
    ("/v1/chat/completions", {"messages": QUESTION, "max_tokens": WORK["num_predict"]}),
    ("/v1/chat", {"messages": QUESTION, "max_tokens": WORK["num_predict"]}),
])
def test_a_whole_answer_whose_runner_dies_is_given_by_another_try(fragile, front, path, body):
    gateway = front(provider("ollama", fragile.url))
    is_answered(gateway)
    answer = killed_while(fragile, gateway, path, {"model": "slow", **body})
    assert answer.status == 200 and answer.headers["x-gateway-attempts"] == "2", answer
    assert fragile.loads() == 2
    is_answered(gateway)


def test_vectors_whose_runner_dies_are_given_by_another_try(fragile, front):
    gateway = front(provider("ollama", fragile.url))
    many = {"model": "embeds-slowly", "input": ["line " * 1500] * 4}
    answer = killed_while(fragile, gateway, "/api/embed", many)
    assert answer.status == 200 and len(answer.json()["embeddings"]) == 4, answer


def test_a_stream_whose_runner_dies_ends_with_an_error_and_the_next_is_answered(fragile, front):
    gateway = front(provider("ollama", fragile.url))
    body = {"model": "slow", "messages": QUESTION, "options": WORK}
    with asking(gateway.url, "/api/chat", body) as answer:
        lines = [answer.readline() for _ in range(3)]
        assert all(b'"done":false' in line for line in lines), lines
        assert fragile.kill_runners() == 1
        rest = list(answer)
    assert b'"error"' in rest[-1] and not any(b'"done":true' in line for line in rest), rest[-1]
    is_answered(gateway)


def test_who_asks_after_a_runner_has_died_does_not_notice(fragile, front):
    gateway = front(provider("ollama", fragile.url))
    for _ in range(3):
        is_answered(gateway)
        assert fragile.kill_runners() == 1
    is_answered(gateway)


def test_a_runner_that_dies_while_it_loads_is_loaded_again(fragile, front):
    gateway = front(provider("ollama", fragile.url))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, gateway.url, "/api/chat", SOON)
        awaits(fragile.kill_runners, "a runner is started")
        assert asked.result().status == 200, asked.result()
    assert fragile.loads() == 2


def test_a_request_that_kills_the_runner_each_time_is_stopped_and_others_are_served(fragile, front):
    gateway = front(KEYS + provider("ollama", fragile.url))
    body = {"model": "slow", "messages": QUESTION, "stream": False, "options": WORK}
    with deadly(fragile) as kills:
        # How many tries one request has depends on where its answer was broken off.
        while len(kills) < 3:
            answer = ask(gateway.url, "/api/chat", body, "sk-offender")
            assert answer.status == 502, answer
    loads = fragile.loads()
    answer = ask(gateway.url, "/api/chat", body, "sk-offender")
    assert answer.status in (502, 503) and "made `slow` fail" in answer.text, (answer, kills)
    assert fragile.loads() == loads
    other = ask(gateway.url, "/api/chat", SOON, "sk-bystander")
    assert other.status == 200, other


@contextlib.contextmanager
def deadly(ollama):
    """Within the block each runner dies once it works; the block has one entry for each."""
    kills, over = [], threading.Event()

    def kill():
        while not over.wait(0.01):
            if ollama.works() and ollama.kill_runners():
                kills.append(time.monotonic())

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield kills
    finally:
        over.set()
        thread.join()
