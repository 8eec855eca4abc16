"""The main job: what a client hears through the gateway is what Ollama says itself.

With a seed the models say the same each time, so both answers are compared as a whole, but for what is measured or
made up anew for each of them.
"""

import json
from concurrent.futures import ThreadPoolExecutor

import ollama as client
import pytest

from engines import ask, asking

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
    "type": "object", "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["city", "people"],
}
CALLED = [
    *QUESTION,
    {"role": "assistant", "content": "", "tool_calls": [
        {"function": {"name": "get_weather", "arguments": {"city": "Oslo"}}},
    ]},
    {"role": "tool", "tool_name": "get_weather", "content": "rain"},
]
WORDS = "people ask again about small things that come back with an answer".split()
NEW_EACH_TIME = (
    "created_at", "total_duration", "load_duration", "prompt_eval_duration", "eval_duration", "context", "id",
)

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


@pytest.mark.parametrize("more", [{}, {"system": "Be brief."}, {"format": PLACE}])
def test_a_text_is_ollamas_own(ollama, gateway, more):
    body = {"model": "talks", "prompt": "Why?", "options": OPTIONS, **more}
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
    in_openais_form = [one["embedding"] for one in answer.get("data", [])]
    vectors = answer.get("embeddings") or in_openais_form or [answer.get("embedding")]
    assert vectors[0]
    return [number for vector in vectors for number in vector]


def test_of_many_at_once_each_gets_its_own_vector_though_others_leave(ollama, gateway):
    texts = [f"the line {word} is {number} long" for number, word in enumerate(WORDS * 10)]
    asked = [{"model": "embeds", "input": text} for text in texts]
    leaves = set(texts[::5])
    own = {body["input"]: numbers(ask(ollama.url, "/api/embed", body).json()) for body in asked}

    def asks(body):
        with asking(gateway.url, "/api/embed", body) as answer:
            return None if body["input"] in leaves else json.loads(answer.read())

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(asks, asked))
    for body, answer in zip(asked, answers, strict=True):
        assert answer is None or numbers(answer) == pytest.approx(own[body["input"]], rel=1e-5), body


def test_lists_and_descriptions_are_ollamas_own(ollama, gateway):
    own, through = both(ollama, gateway, "/api/tags")
    assert by_name(through) == by_name(own)
    for model in ("talks", "thinks", "embeds"):
        own, through = both(ollama, gateway, "/api/show", {"model": model})
        assert through.json() == own.json()


def by_name(answer):
    return {model["name"]: model for model in answer.json()["models"]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path, more, pieces", [
    ("/v1/chat/completions", {"messages": QUESTION}, lambda data: of_choices(data, "delta", "message")),
    ("/v1/completions", {"prompt": QUESTION[0]["content"]}, lambda data: of_choices(data)),
])
def test_openais_clients_read_what_ollama_says(ollama, gateway, stream, path, more, pieces):
    body = {"model": "talks", "messages": QUESTION, "options": OPTIONS, "stream": False}
    said = ask(ollama.url, "/api/chat", body).json()["message"]["content"]
    answer = ask(gateway.url, path, {"model": "talks", "seed": 7, "max_tokens": 200, "stream": stream, **more})
    data = events(answer) if stream else [answer.json()]
    assert pieces(data).strip() == said.strip()
    assert [choice["finish_reason"] for piece in data for choice in piece["choices"]][-1] == "stop"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["talks", "thinks"])
def test_a_completion_is_all_that_ollama_itself_gives(ollama, gateway, model, stream):
    # Ollama's own default of these two is another one there than elsewhere.
    body = {"model": model, "prompt": QUESTION[0]["content"], "seed": 7, "max_tokens": 40, "temperature": 0.8,
            "top_p": 0.9}
    own = ask(ollama.url, "/v1/completions", body).json()["choices"][0]
    answer = ask(gateway.url, "/v1/completions", {**body, "stream": stream})
    data = events(answer) if stream else [answer.json()]
    assert of_choices(data) == own["text"]
    assert [choice["finish_reason"] for piece in data for choice in piece["choices"]][-1] == own["finish_reason"]


def of_choices(data, *within):
    """The text of OpenAI's choices."""
    choices = [choice for piece in data for choice in piece["choices"]]
    holders = [next((choice[name] for name in within if name in choice), choice) for choice in choices]
    return "".join(holder.get("content") or holder.get("text") or "" for holder in holders)


@pytest.mark.parametrize("path, whole, piece", [
    ("/v1/chat", lambda data: data["content"], lambda data: data.get("delta", "")),
    ("/v1/messages", lambda data: data["content"][0]["text"], lambda data: data.get("delta", {}).get("text", "")),
])
def test_dialects_without_a_word_for_a_seed_tell_a_few_words(gateway, path, whole, piece):
    body = {"model": "talks", "messages": QUESTION, "max_tokens": 4}
    streamed = "".join(map(piece, events(ask(gateway.url, path, {**body, "stream": True}))))
    for told in (whole(ask(gateway.url, path, body).json()), streamed):
        assert 1 <= len(told.split()) <= 4, told


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
