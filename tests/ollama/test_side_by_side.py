"""The main job: what a client hears through the gateway is what Ollama says itself.

With a seed the models say the same each time, so both answers are compared as a whole, but for what is measured or
made up anew for each of them.
"""

import json

import ollama as client
import pytest

from engines import ask

OPTIONS = {"seed": 7, "num_predict": 200}
QUESTION = [{"role": "user", "content": "Why is the line long?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather", "description": "Say how the weather is.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
PLACE = {
    "type": "object", "properties": {"city": {"type": "string"}, "people": {"type": "integer"}}, "required": ["city", "people"],
}
CALLED = [
    *QUESTION,
    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}]},
    {"role": "tool", "tool_name": "get_weather", "content": "rain"},
]
NEW_EACH_TIME = ("created_at", "total_duration", "load_duration", "prompt_eval_duration", "eval_duration", "context", "id")

CHATS = {
    "plain": {"model": "talks"},
    "system": {"model": "talks", "messages": [{"role": "system", "content": "Be brief."}, *QUESTION]},
    "cut": {"model": "talks", "options": {"seed": 7, "num_predict": 4}},
    "stop": {"model": "talks", "options": {"seed": 7, "stop": [" a", " t"]}},
    "object": {"model": "talks", "format": "json"},
    "schema": {"model": "talks", "format": PLACE},
    "thinks": {"model": "thinks", "think": True},
    "thinks unasked": {"model": "thinks"},
    "does not think": {"model": "thinks", "think": False},
    "tool": {"model": "thinks", "think": False, "tools": [WEATHER]},
    "result": {"model": "thinks", "think": False, "tools": [WEATHER], "messages": CALLED},
    "tagged": {"model": "talks:latest"},
    "nothing": {"model": "talks", "messages": []},
}


def without(value):
    """What two answers to the same question have in common."""
    if isinstance(value, dict):
        return {name: without(one) for name, one in value.items() if name not in NEW_EACH_TIME}
    return [without(one) for one in value] if isinstance(value, list) else value


def both(direct, gateway, path, body=None):
    """What Ollama says, and what the gateway says."""
    answers = [ask(one.url, path, body) for one in (direct, gateway)]
    assert [answer.status for answer in answers] == [200, 200], answers
    return answers


@pytest.mark.parametrize("chat", CHATS)
def test_a_whole_chat_is_ollamas_own(ollama, gateway, chat):
    body = {"messages": QUESTION, "options": OPTIONS, "stream": False, **CHATS[chat]}
    own, through = both(ollama, gateway, "/api/chat", body)
    assert without(through.json()) == without(own.json())
    assert through.headers["x-gateway-attempts"] == "1"


@pytest.mark.parametrize("chat", CHATS)
def test_a_streamed_chat_joins_to_ollamas_own(ollama, gateway, chat):
    body = {"messages": QUESTION, "options": OPTIONS, **CHATS[chat]}
    own, through = (joined(answer.lines()) for answer in both(ollama, gateway, "/api/chat", body))
    assert through == own


def joined(lines):
    """What the pieces of a chat come to."""
    *_, last = lines
    assert last["done"] and not any(line["done"] for line in lines[:-1])
    whole = {"content": "", "thinking": "", "tool_calls": []}
    for line in lines:
        for name in whole:
            whole[name] += line["message"].get(name) or type(whole[name])()
    return without({**last, "message": whole})


@pytest.mark.parametrize("body", [{"prompt": "Why?"}, {"prompt": "Why?", "system": "Be brief."}, {"prompt": "Why?", "format": PLACE}])
def test_a_text_is_ollamas_own(ollama, gateway, body):
    body = {"model": "talks", "options": OPTIONS, **body}
    own, through = both(ollama, gateway, "/api/generate", {**body, "stream": False})
    assert without(through.json()) == without(own.json())
    own, through = both(ollama, gateway, "/api/generate", body)
    assert [without(line) for line in through.lines()] == [without(line) for line in own.lines()]


@pytest.mark.parametrize("path, body", [
    ("/api/embed", {"input": "the line is long"}),
    ("/api/embed", {"input": ["the line", "a turn"]}),
    ("/api/embed", {"input": "the line is long", "dimensions": 8}),
    ("/api/embeddings", {"prompt": "the line is long"}),
    ("/v1/embeddings", {"input": ["the line", "a turn"]}),
])
def test_embeddings_are_ollamas_own(ollama, gateway, path, body):
    own, through = both(ollama, gateway, path, {"model": "embeds", **body})
    assert numbers(through.json()) == pytest.approx(numbers(own.json()), rel=1e-5)


def numbers(answer):
    """All numbers of an answer's vectors, one after the other."""
    vectors = answer.get("embeddings") or [one["embedding"] for one in answer.get("data", [])] or [answer.get("embedding")]
    assert vectors[0]
    return [number for vector in vectors for number in vector]


def test_lists_and_descriptions_are_ollamas_own(ollama, gateway):
    own, through = both(ollama, gateway, "/api/tags")
    assert by_name(through) == by_name(own)
    for model in ("talks", "thinks", "embeds"):
        own, through = both(ollama, gateway, "/api/show", {"model": model})
        assert through.json() == own.json()


def by_name(answer):
    return {model["name"]: model for model in answer.json()["models"]}


@pytest.mark.parametrize("stream", [False, True])
def test_every_dialect_says_what_ollama_says(ollama, gateway, stream):
    said = ask(ollama.url, "/api/chat", {"model": "talks", "messages": QUESTION, "options": OPTIONS, "stream": False}).json()
    text = said["message"]["content"]
    usual = {"model": "talks", "messages": QUESTION, "stream": stream}
    answers = {
        "/v1/chat/completions": {"seed": 7, "max_tokens": 200}, "/v1/completions": {"prompt": "Why is the line long?", "seed": 7, "max_tokens": 200},
    }
    for path, more in answers.items():
        answer = ask(gateway.url, path, {**usual, **more})
        pieces = events(answer) if stream else [answer.json()]
        choices = [choice for piece in pieces for choice in piece["choices"]]
        told = "".join((choice.get("delta") or choice.get("message") or {}).get("content") or choice.get("text") or "" for choice in choices)
        assert told.strip() == text.strip(), path
        assert choices[-1]["finish_reason"] == "stop"
    # These have no word for a seed.
    native = ask(gateway.url, "/v1/chat", {**usual, "max_tokens": 4})
    told = "".join(piece.get("delta", "") for piece in events(native)) if stream else native.json()["content"]
    assert 1 <= len(told.split()) <= 4
    spoken = ask(gateway.url, "/v1/messages", {**usual, "max_tokens": 4})
    told = "".join(piece.get("delta", {}).get("text", "") for piece in events(spoken)) if stream else spoken.json()["content"][0]["text"]
    assert 1 <= len(told.split()) <= 4


def events(answer):
    """The data of server-sent events, but for the mark at their end."""
    data = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert answer.status == 200 and data, answer
    return [json.loads(one) for one in data if one != "[DONE]"]


def test_ollamas_client_for_python_finds_nothing_missing(gateway):
    through = client.Client(host=gateway.url)
    answer = through.chat("thinks", QUESTION, think=True, options=OPTIONS)
    assert answer.message.thinking and answer.message.content and answer.done_reason == "stop"
    assert answer.prompt_eval_count > 0 and answer.eval_count > 0
    [call] = through.chat("thinks", QUESTION, tools=[WEATHER], think=False, options=OPTIONS).message.tool_calls
    assert call.function.name == "get_weather" and call.function.arguments["city"]
    assert "tools" in through.show("thinks").capabilities
    assert len(through.embed("embeds", ["the line", "a turn"]).embeddings) == 2
    assert {model.model for model in through.list().models} >= {"talks:latest", "thinks:latest", "embeds:latest"}
