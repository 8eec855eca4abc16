"""What scheduled loads are worth on the real thing: the same arrivals at Ollama alone, `fair` and `warm`, in one run.

With LLM_GATEWAY_OLLAMA_LARGE set to a folder that keeps them, by models of 1.4 GB that take seconds to load; else a short
form by small ones. LLM_GATEWAY_OLLAMA_SECONDS is the time in which the 125 requests arrive: more is less work. The order
and the times of the arrivals are the same in every run, LLM_GATEWAY_OLLAMA_SEED draws others. What `plan --models` makes of
the gateway's own log is printed beside what really came of it. What a reader would get wrong: a client that gives up closes
its connection, as a person does, so what Ollama loses by that is in the numbers.
"""

import collections
import json
import os
import pathlib
import random
import statistics
import subprocess
import threading
import time

import pytest

import models
from conftest import provider
from engines import Ollama, ask, serving
from running import BINARY

LARGE = os.environ.get("LLM_GATEWAY_OLLAMA_LARGE")
SECONDS = int(os.environ.get("LLM_GATEWAY_OLLAMA_SECONDS", "126"))
SEED = int(os.environ.get("LLM_GATEWAY_OLLAMA_SEED", "15"))
KEYS = ("alice", "bob", "carol", "dave", "erin", "frank")
# Models, how many requests in how many seconds, how many tokens an answer has, how long a client waits.
Work = collections.namedtuple("Work", "models requests seconds tokens patience")
SHORT = Work(("talks", "also-talks", "thinks"), 60, 6, 5, 60)
LONG = Work(("large-1", "large-2", "large-3"), 125, SECONDS, 10, 60)
SHAPE = {"layers": 15, "size": 1536, "ends": 30.0}


@pytest.fixture(scope="session")
def large():
    """A home folder with the large models, made once."""
    if not LARGE:
        pytest.skip("takes ten minutes and 5 GB: set LLM_GATEWAY_OLLAMA_LARGE to a folder for the models")
    home = pathlib.Path(LARGE).resolve()
    home.mkdir(parents=True, exist_ok=True)
    with serving(Ollama(home)) as ollama:
        there = {model["name"] for model in ask(ollama.url, "/api/tags").json()["models"]}
        for number, name in enumerate(LONG.models, 1):
            if f"{name}:latest" not in there:
                file = home / f"{name}.gguf"
                models.make(file, seed=number, **SHAPE)
                ollama.create(name, file)
                file.unlink()
    return home


class Measured:
    """What came of the arrivals: the status and the seconds of each, and the loads that they cost."""

    def __init__(self, work, answers, loads):
        self.loads = loads
        self.waits = sorted(seconds for status, seconds in answers if status == 200)
        self.answered, self.of = len(self.waits), work.requests
        self.refused = collections.Counter(status for status, _ in answers if status != 200)

    def __str__(self):
        median, late = statistics.median(self.waits), self.waits[int(0.95 * (self.answered - 1))]
        return (
            f"{self.answered} of {self.of} answered, {self.loads} loads, "
            f"p50 {median:.1f} s, p95 {late:.1f} s, longest {self.waits[-1]:.1f} s, others {dict(self.refused)}"
        )


def arrivals(work):
    """When who asks for what: each key has one model, each model two keys."""
    draw = random.Random(SEED)
    times = sorted(draw.uniform(0, work.seconds) for _ in range(work.requests))
    return [(at, draw.randrange(len(KEYS))) for at in times]


def measured(home, work, room, address_of):
    """What comes of the arrivals at an Ollama of their own, with that room, at the address in front of it."""
    with serving(Ollama(home, OLLAMA_MAX_LOADED_MODELS=str(room))) as ollama:
        url = address_of(ollama)
        answers, began = [], time.monotonic()

        def client(number, at, key):
            time.sleep(max(0, began + at - time.monotonic()))
            options = {"num_predict": work.tokens, "seed": number}
            messages = [{"role": "user", "content": "Why is the line long?"}]
            body = {"model": work.models[key % len(work.models)], "messages": messages, "stream": False, "options": options}
            asked = time.monotonic()
            try:
                status = ask(url, "/api/chat", body, f"sk-{KEYS[key]}", work.patience).status
            except TimeoutError:
                status = "gave up"
            answers.append((status, time.monotonic() - asked))

        threads = [threading.Thread(target=client, args=(number, *one)) for number, one in enumerate(arrivals(work))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Measured(work, answers, ollama.loads())


def compared(home, work, room, front):
    """The same arrivals at Ollama alone, and at gateways in the order of the line and with scheduled loads."""
    keys = '[log]\nformat = "json"\n' + "".join(f'[[keys]]\nname = "{name}"\nkey = "sk-{name}"\n' for name in KEYS)

    gateways = {}

    def through(scheduling):
        def started(ollama):
            text = keys + provider("ollama", ollama.url, more=f'scheduling = "{scheduling}"')
            gateways[scheduling] = front(text)
            return gateways[scheduling].url

        return started

    ways = {"alone": lambda ollama: ollama.url, "fair": through("fair"), "warm": through("warm")}
    found = {}
    for name, address_of in ways.items():
        found[name] = measured(home, work, room, address_of)
        print(f"room for {room}, {name}: {found[name]}")
    return found, planned(gateways["warm"].log, room)


def planned(log, room):
    """What `plan` says of the same requests, from the log of the gateway that served them."""
    plan = subprocess.run(
        [BINARY, "plan", "--models", "-", "--room", str(room), "--slots", "4", "--json"],
        input="\n".join(log), capture_output=True, text=True, env={}, timeout=60,
    )
    assert plan.returncode == 0, plan.stderr
    schedules = {each["served"]: each for each in json.loads(plan.stdout)["schedules"]}
    for name, each in schedules.items():
        waits = each["wait_seconds"]
        print(f"room for {room}, {name} by plan: {each['loads']} loads, p50 {waits['p50']:.1f} s, p95 {waits['p95']:.1f} s")
    return schedules


def test_a_short_rush_at_three_small_models_is_answered_with_fewer_loads(home, front):
    found, _ = compared(home, SHORT, 1, front)
    assert found["warm"].answered == SHORT.requests, str(found["warm"])
    assert found["warm"].loads < found["fair"].loads and found["warm"].loads < found["alone"].loads


@pytest.mark.parametrize("room", [1, 2])
def test_three_large_models_are_all_answered_with_half_the_loads(large, front, room):
    found, _ = compared(large, LONG, room, front)
    assert found["warm"].answered == LONG.requests, str(found["warm"])
    if room == 1:
        assert found["warm"].loads * 2 <= found["alone"].loads
