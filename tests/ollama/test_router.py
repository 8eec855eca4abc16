"""llama.cpp's llama-server as a router of three models with room for one: loads as it orders them, and as the gateway does."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import provider
from engines import LlamaRouter, ask, awaits, serving

MODELS = ("talks", "also-talks", "thinks")
ROUNDS = 8
# A client's patience, in seconds.
LONGEST = 10
COMPLETIONS = "/v1/chat/completions"

pytestmark = pytest.mark.skipif(not LlamaRouter.is_there(), reason="this llama-server is no router")


@pytest.fixture(scope="module")
def folder(files, tmp_path_factory):
    """Three models that can be loaded, and one that cannot."""
    folder = tmp_path_factory.mktemp("routed")
    for name in MODELS:
        (folder / f"{name}.gguf").symlink_to(files[name])
    (folder / "broken.gguf").write_bytes(b"GGUF" + bytes(200))
    return folder


def router(folder):
    """A router with room for one model."""
    return serving(LlamaRouter(folder, "--models-max", "1", "--ctx-size", "512"))


def before(server, scheduling):
    """The lines of a gateway in front of that router."""
    more = f'trust = "local"\nmax_concurrency = 4\nscheduling = "{scheduling}"\ndefault_model = "talks"'
    return provider("llama", f"{server.url}/v1", "openai", more)


def chat(model, number):
    """A chat with a short answer. Those with different numbers share no call."""
    messages = [{"role": "user", "content": "Why is the line long?"}]
    return {"model": model, "messages": messages, "max_tokens": 5, "seed": number}


def in_turn(url, client):
    """One client, which asks again as soon as it is answered or has lost its patience: how often it was answered."""
    answered = 0
    for number in range(ROUNDS):
        with contextlib.suppress(OSError):
            body = chat(MODELS[client % 3], client * ROUNDS + number)
            answered += ask(url, COMPLETIONS, body, patience=LONGEST).status == 200
    return answered


def served(folder, address_of):
    """How many answers six such clients get, two to a model, and for how many loads."""
    with router(folder) as server:
        server.ready()
        url = address_of(server)
        with ThreadPoolExecutor(6) as pool:
            answered = sum(pool.map(lambda client: in_turn(url, client), range(6)))
        return answered, server.loads()


def test_all_are_answered_and_loads_are_few_where_they_are_scheduled(folder, front):
    def through(scheduling):
        return lambda server: front(before(server, scheduling)).url

    # Whoever makes the router load by turns gets fewer answers: it unloads a model under a request that has just come
    # for it, and sometimes never answers that.
    direct = served(folder, lambda server: server.url)
    fair = served(folder, through("fair"))
    warm = served(folder, through("warm"))
    print(f"answers of {6 * ROUNDS}, and loads: direct {direct}, fair {fair}, warm {warm}")
    answered, loads = warm
    assert answered == 6 * ROUNDS and answered >= max(direct[0], fair[0])
    assert 3 <= loads <= 2 * ROUNDS, (direct, fair, warm)


def test_a_model_that_cannot_be_loaded_is_told_and_costs_the_others_nothing(folder, front):
    with router(folder) as server:
        server.ready()
        gateway = front(before(server, "warm"))
        with ThreadPoolExecutor(1) as pool:
            broken = pool.submit(ask, gateway.url, COMPLETIONS, chat("broken", 0))
            for number in range(4):
                assert ask(gateway.url, COMPLETIONS, chat("talks", number)).status == 200
            answer = broken.result()
        assert answer.status == 502 and "load" in answer.text, answer


def test_a_model_is_loaded_and_unloaded_as_the_operator_wishes(folder, front):
    with router(folder) as server:
        server.ready()
        gateway = front(before(server, "warm"))
        for model in ("talks", "thinks"):
            answer = ask(gateway.admin, f"/admin/providers/llama/models/{model}/load", {})
            assert answer.status == 200, answer
            assert server.states()[model] == "loaded"
        assert ask(gateway.admin, "/admin/providers/llama/models/thinks/unload", {}).status == 200
        awaits(lambda: set(server.states().values()) == {"unloaded"}, "all are unloaded")
        assert server.loads() == 2
