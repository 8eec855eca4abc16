"""llama.cpp's llama-server alone, as a provider that speaks OpenAI's API."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import provider
from engines import LlamaServer, ask, asking, awaits, serving
from offences import KEYS, PICTURE, QUESTION, is_told, offends

SHOWN = [{"role": "user", "content": [
    {"type": "text", "text": "What is it?"},
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
]}]
SHOWN_BY_OLLAMA = [{"role": "user", "content": "What is it?", "images": [PICTURE]}]
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
}}}
LONG = [{"role": "user", "content": "line " * 900}]
UNFIT = {"type": "json_schema", "json_schema": {"name": "place", "schema": {"type": "no-such-type"}}}
SHORT = {"model": "talks", "messages": QUESTION, "max_tokens": 5}
COMPLETIONS = "/v1/chat/completions"


@pytest.fixture(scope="module")
def llama(files):
    """A llama-server with a model that chats, thinks and calls tools, in a small context."""
    with serving(LlamaServer(files["thinks"], "--ctx-size", "512", "--alias", "talks")) as server:
        yield server.ready()


@pytest.fixture(scope="module")
def embedder(files):
    """One that gives vectors of short texts."""
    small = ["--ubatch-size", "64", "--batch-size", "64"]
    with serving(LlamaServer(files["embeds"], "--embeddings", *small, "--alias", "embeds")) as server:
        yield server.ready()


def before(server):
    """The lines of a gateway in front of that server."""
    return KEYS + provider("llama", f"{server.url}/v1", "openai", 'trust = "local"')


@pytest.mark.parametrize("more", [
    {}, {"max_tokens": 4}, {"chat_template_kwargs": {"enable_thinking": True}},
    {"response_format": {"type": "json_object"}}, {"tools": [WEATHER]},
])
def test_an_answer_is_llama_servers_own(llama, front, more):
    gateway = front(before(llama))
    body = {"model": "talks", "messages": QUESTION, "seed": 7, "max_tokens": 200, **more}
    own, through = (ask(url, COMPLETIONS, body, "sk-bystander").json() for url in (llama.url, gateway.url))
    assert essence(through) == essence(own)


def essence(answer):
    """What an answer comes to, but for the names that each call gets anew."""
    [choice] = answer["choices"]
    message = choice["message"]
    calls = [call["function"] for call in message.get("tool_calls") or []]
    texts = [message.get(name) or "" for name in ("content", "reasoning_content")]
    return choice["finish_reason"], texts, calls


def test_calls_go_on_beyond_what_a_connection_may_carry(llama, front):
    # llama-server ends a connection after a hundred calls, and after each error.
    gateway = front(before(llama))
    for number in range(250):
        answer = ask(gateway.url, COMPLETIONS, {**SHORT, "max_tokens": 1, "seed": number}, "sk-bystander")
        assert answer.status == 200 and answer.headers["x-gateway-attempts"] == "1", answer


def test_a_model_that_loads_is_waited_for_and_answers_as_soon_as_it_is_up(files, front):
    with serving(LlamaServer(files["slow"], "--ctx-size", "512", "--alias", "talks")) as server:
        gateway = front(before(server))
        with ThreadPoolExecutor(4) as pool, server.starved():
            awaits(lambda: server.health() == 503, "llama-server loads")

            def asks():
                answer = ask(gateway.url, COMPLETIONS, SHORT, "sk-bystander")
                return answer, time.monotonic()

            asked = [pool.submit(asks) for _ in range(4)]
            # Longer than three tries with their pauses take.
            until = time.monotonic() + 2
            awaits(lambda: time.monotonic() > until or server.health() != 503, "a while")
            done = [one.result() for one in asked if one.done()]
            # Asked in this order, whoever has an answer while the model still loads was given it too early.
            assert not (done and server.health() == 503), done
        server.ready()
        up = time.monotonic()
        for answer, at in (one.result() for one in asked):
            assert answer.status == 200, answer
            assert at - up < 2.5


OFFENCES = {
    "picture": (COMPLETIONS, {"messages": SHOWN}, 400, "image input is not supported"),
    "picture, streamed": (COMPLETIONS, {"messages": SHOWN, "stream": True}, 400, "image input is not supported"),
    "picture, Ollama": ("/api/chat", {"messages": SHOWN_BY_OLLAMA}, 400, "image input is not supported"),
    "vectors": ("/v1/embeddings", {"input": "the line"}, 501, "This server does not support embeddings"),
    "too long": (COMPLETIONS, {"messages": LONG}, 400, "context_length_exceeded"),
    "schema": (COMPLETIONS, {"messages": QUESTION, "response_format": UNFIT}, 400, "no-such-type"),
    "grammar": (COMPLETIONS, {"messages": QUESTION, "grammar": "root ::= ((("}, 400, "failed to parse grammar"),
}


@pytest.mark.parametrize("offence", OFFENCES)
def test_who_asks_for_what_cannot_be_is_told_why_and_nobody_else_notices(llama, front, offence):
    path, body, status, words = OFFENCES[offence]
    gateway = front(before(llama))
    told = offends(gateway, path, {"model": "talks", **body}, (COMPLETIONS, SHORT))
    is_told(told, status, words)
    for answer in told:
        assert int(answer.headers.get("x-gateway-attempts", 1)) <= 2, answer.headers


def test_texts_that_are_too_long_for_vectors_are_told_and_short_ones_are_served(embedder, front):
    gateway = front(before(embedder))
    good = ("/v1/embeddings", {"model": "embeds", "input": "the line"})
    told = offends(gateway, "/v1/embeddings", {"model": "embeds", "input": "line " * 200}, good)
    is_told(told, 400, "too large to process")


def test_a_server_that_dies_under_an_answer_and_comes_back_is_used_again(files, front):
    with serving(LlamaServer(files["slow"], "--ctx-size", "2048", "--alias", "talks")) as server:
        server.ready()
        gateway = front(before(server))
        with asking(gateway.url, COMPLETIONS, {**SHORT, "max_tokens": 1500, "stream": True}, "sk-offender") as answer:
            assert answer.readline().startswith(b"data: ")
            server.kill()
            rest = list(answer)
        assert any(b'"error"' in line for line in rest) and not any(b"[DONE]" in line for line in rest), rest[-3:]
        server.start()
        awaits(lambda: ask(gateway.url, COMPLETIONS, SHORT, "sk-bystander").status == 200, "it is used again")
