"""The bytes of answers against the types that the clients declare.

The clients build their objects without looking; typed clients in other languages do not. So everything here is checked
with the declared types, required fields and closed sets of values included.
"""

import json
import urllib.request

import pydantic
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

from running import PATIENCE

TURN = {"role": "user", "content": "Why is the line long?"}
CALL = {"role": "user", "content": "get_weather 'Oslo'"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHAT = {"messages": [TURN]}
CHAT_TOOL = {"messages": [CALL], "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]}
INPUT_TOOL = {"input": [CALL], "tools": [{"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}]}
MESSAGES = {"messages": [TURN], "max_tokens": 100}
MESSAGES_TOOL = {"messages": [CALL], "max_tokens": 100, "tools": [{"name": "get_weather", "input_schema": SCHEMA}]}
USAGE = {"stream_options": {"include_usage": True}}
THINKING = {"max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 1024}}

CASES = {
    "chat": ("/v1/chat/completions", ChatCompletion, ChatCompletionChunk, CHAT),
    "chat cut": ("/v1/chat/completions", ChatCompletion, ChatCompletionChunk, {**CHAT, "max_tokens": 3}),
    "chat tool": ("/v1/chat/completions", ChatCompletion, ChatCompletionChunk, CHAT_TOOL),
    "chat reasoning": ("/v1/chat/completions", ChatCompletion, ChatCompletionChunk, {**CHAT, "model": "qwen3"}),
    "completion": ("/v1/completions", Completion, Completion, {"prompt": "Once"}),
    "response": ("/v1/responses", Response, ResponseStreamEvent, {"input": "Why?"}),
    "response cut": ("/v1/responses", Response, ResponseStreamEvent, {"input": "Why?", "max_output_tokens": 16}),
    "response tool": ("/v1/responses", Response, ResponseStreamEvent, INPUT_TOOL),
    "response reasoning": ("/v1/responses", Response, ResponseStreamEvent, {"input": "Why?", "model": "qwen3"}),
    "message": ("/v1/messages", Message, RawMessageStreamEvent, MESSAGES),
    "message cut": ("/v1/messages", Message, RawMessageStreamEvent, {**MESSAGES, "max_tokens": 3}),
    "message tool": ("/v1/messages", Message, RawMessageStreamEvent, MESSAGES_TOOL),
    "message thinking": ("/v1/messages", Message, RawMessageStreamEvent, {**MESSAGES, **THINKING, "model": "qwen3"}),
}


@pytest.fixture(scope="module")
def post(gateway):
    """Sends a body to a path, and gives the text of the answer."""

    def post(path, body):
        headers = {"authorization": f"Bearer {gateway.key}", "content-type": "application/json"}
        request = urllib.request.Request(gateway.url + path, json.dumps({"model": "llama3.1", **body}).encode(), headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.read().decode()

    return post


@pytest.mark.parametrize("case", CASES)
def test_a_whole_answer_is_of_its_declared_type(post, case):
    path, whole, _, body = CASES[case]
    pydantic.TypeAdapter(whole).validate_python(json.loads(post(path, body)))


@pytest.mark.parametrize("case", CASES)
def test_every_event_of_a_stream_is_of_its_declared_type(post, case):
    path, _, event, body = CASES[case]
    wanted = pydantic.TypeAdapter(event)
    usage = USAGE if path in ("/v1/chat/completions", "/v1/completions") else {}
    blocks = post(path, {**body, **usage, "stream": True}).strip().split("\n\n")
    seen = 0
    for block in blocks:
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        if fields["data"] == "[DONE]" or fields.get("event") == "ping":
            continue
        read = json.loads(fields["data"])
        if event is Completion:
            # Null until the last piece, as the API itself has it; the type knows whole answers only.
            for choice in read["choices"]:
                choice["finish_reason"] = choice["finish_reason"] or "stop"
        wanted.validate_python(read)
        assert fields.get("event", read.get("type")) == read.get("type")
        seen += 1
    assert seen > 2
