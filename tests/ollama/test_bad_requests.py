"""What is wrong with a request is told to who sent it, in Ollama's words, and nobody else notices."""

import pytest

from conftest import provider
from engines import ask
from offences import KEYS, PICTURE, QUESTION, TIMES, is_told, offends

SHOWN = [{"role": "user", "content": "What is it?", "images": [PICTURE]}]
SHOWN_AS_PART = [{"role": "user", "content": [
    {"type": "text", "text": "What is it?"},
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
]}]
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
UNFIT = {"type": "object", "properties": {"city": {"type": "no-such-type"}}, "required": ["city"]}
LONG = [{"role": "user", "content": "line " * 9000}]
NO_VECTORS = "This server does not support embeddings"
NO_PICTURES = "image input is not supported"
NO_MEDIA = "model does not support multimodal requests"

# What is asked, the status and the words that it comes to. Ollama has two ways to its runner, by a model's template.
OFFENCES = {
    "picture": ("/api/chat", {"model": "thinks", "messages": SHOWN}, 400, NO_PICTURES),
    "picture, whole": ("/api/chat", {"model": "thinks", "messages": SHOWN, "stream": False}, 400, NO_PICTURES),
    "picture, OpenAI": ("/v1/chat/completions", {"model": "thinks", "messages": SHOWN_AS_PART}, 400, NO_PICTURES),
    "picture, text": ("/api/generate", {"model": "thinks", "prompt": "What?", "images": [PICTURE]}, 400, NO_MEDIA),
    "picture, plain": ("/api/chat", {"messages": SHOWN}, 400, NO_MEDIA),
    "context": ("/api/chat", {"messages": QUESTION, "options": {"num_ctx": "big"}}, 400, '"num_ctx" must be of type integer'),
    "batch": ("/api/chat", {"messages": QUESTION, "options": {"num_batch": []}}, 400, '"num_batch" must be of type integer'),
    "format": ("/api/chat", {"messages": QUESTION, "format": "yaml"}, 400, "format"),
    "schema": ("/api/chat", {"messages": QUESTION, "format": UNFIT}, 400, "no-such-type"),
    "tool": ("/api/chat", {"messages": QUESTION, "tools": [TOOL]}, 400, "does not support tools"),
    "vectors": ("/api/embed", {"input": "the line"}, 501, NO_VECTORS),
    "vectors, old": ("/api/embeddings", {"prompt": "the line"}, 501, NO_VECTORS),
    "vectors, OpenAI": ("/v1/embeddings", {"input": "the line"}, 501, NO_VECTORS),
    "too long": ("/api/chat", {"model": "thinks", "messages": LONG}, 400, "exceeds the available context size"),
    "too long, OpenAI": ("/v1/chat/completions", {"model": "thinks", "messages": LONG}, 400, "context_length_exceeded"),
}


@pytest.mark.parametrize("offence", OFFENCES)
def test_who_asks_for_what_cannot_be_is_told_why_and_nobody_else_notices(ollama, front, offence):
    path, body, status, words = OFFENCES[offence]
    gateway = front(KEYS + provider("ollama", ollama.url))
    body = {"model": "talks", **body}
    good = ("/api/chat", {"model": body["model"], "messages": QUESTION, "stream": False, "options": {"num_predict": 5}})
    before = refusals(ollama)
    is_told(offends(gateway, path, body, good), status, words)
    # What the gateway refuses by itself never gets there.
    assert refusals(ollama) - before <= 2 * TIMES


def refusals(ollama):
    """How many calls Ollama has refused."""
    return sum(ollama.asked(path) - ollama.asked(path, 200) for path in ("/api/chat", "/api/generate", "/api/embed"))


def test_an_embedder_that_is_asked_to_chat_goes_on_embedding(ollama, front):
    gateway = front(KEYS + provider("ollama", ollama.url))
    good = ("/api/embed", {"model": "embeds", "input": "the line is long"})
    told = offends(gateway, "/api/chat", {"model": "embeds", "messages": QUESTION}, good)
    is_told(told, 400, '"embeds" does not support chat')
    told = offends(gateway, "/api/embed", {"model": "embeds", "input": "line " * 9000, "truncate": False}, good)
    is_told(told, 400, "the input length exceeds the context length")


def test_an_address_that_is_not_ollamas_api_is_told_as_that(ollama, front):
    gateway = front(provider("ollama", f"{ollama.url}/v1"))
    answer = ask(gateway.url, "/api/chat", {"model": "talks", "messages": QUESTION})
    assert answer.status == 502 and "without `/v1`" in answer.text, answer
