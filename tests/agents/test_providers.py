"""The scripted providers refuse what their vendors would, else what the agents' tests say of the gateway would mean nothing."""

import copy
import json
import urllib.error
import urllib.request

import pytest

import script
from as_gemini import SIGNATURE
from conftest import KINDS, RESPONSES, handler_of
from providers import MODEL, playing

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
FUNCTION = {"name": "read_file", "description": "Reads a file", "parameters": SCHEMA}
CALL = {"id": "call_1", "type": "function", "function": {"name": "read_file", "arguments": '{"path": "first.txt"}'}}
TASK = {"role": "user", "content": script.TASK}
TEXT = "the next file is second-00.txt"

# By kind: its path, and a conversation in which one call has its result. The call is the last but one, its result the last.
GOOD = {
    "ollama": ("/api/chat", "messages", {
        "model": MODEL, "tools": [{"type": "function", "function": FUNCTION}], "messages": [
            TASK,
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": "call_1", "function": {"name": "read_file", "arguments": {"path": "first.txt"}}},
            ]},
            {"role": "tool", "content": TEXT, "tool_name": "read_file", "tool_call_id": "call_1"},
        ],
    }),
    "openai": ("/v1/chat/completions", "messages", {
        "model": MODEL, "tools": [{"type": "function", "function": FUNCTION}], "messages": [
            TASK, {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": TEXT, "tool_call_id": "call_1"},
        ],
    }),
    "anthropic": ("/v1/messages", "messages", {
        "model": MODEL, "max_tokens": 100, "tools": [{"name": "read_file", "input_schema": SCHEMA}], "messages": [
            TASK, {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "read_file", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": TEXT}]},
        ],
    }),
    "gemini": (f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse", "contents", {
        "tools": [{"functionDeclarations": [{"name": "read_file", "parametersJsonSchema": SCHEMA}]}], "contents": [
            {"role": "user", "parts": [{"text": script.TASK}]},
            {"role": "model", "parts": [{"functionCall": {"name": "read_file", "args": {}}, "thoughtSignature": SIGNATURE}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "read_file", "response": {"result": TEXT}}}]},
        ],
    }),
    RESPONSES: ("/v1/responses", "input", {
        "model": MODEL, "stream": True, "tools": [{"type": "function", **FUNCTION}], "input": [
            TASK, {"type": "function_call", "call_id": "call_1", "name": "read_file", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": TEXT},
        ],
    }),
}


@pytest.fixture(params=[*KINDS, RESPONSES])
def asking(request, tmp_path):
    """The kind's conversation, the name of its list of turns, and what is answered to it: `ask(body)`, a status and a text."""
    path, turns, body = GOOD[request.param]
    handler = handler_of(request.param)
    with playing(handler, tmp_path) as play:
        def ask(body):
            headers = {"content-type": "application/json", "anthropic-version": "2023-06-01", "x-api-key": "sk-scripted",
                       "x-goog-api-key": "sk-scripted"}
            url = play.url.removesuffix(handler.below) + path
            try:
                with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        yield copy.deepcopy(body), turns, ask


def test_a_good_request_is_answered_with_the_next_call(asking):
    body, _, ask = asking
    status, text = ask(body)
    assert status == 200 and "second-00.txt" in text, text


def test_an_unknown_field_is_refused(asking):
    body, _, ask = asking
    status, text = ask(body | {"made_up": True})
    assert status == 400 and "made_up" in text


def test_an_unknown_field_of_a_turn_is_refused(asking):
    body, turns, ask = asking
    body[turns][-1]["made_up"] = True
    status, text = ask(body)
    assert status == 400 and "made_up" in text


def test_a_call_without_a_result_is_refused(asking):
    body, turns, ask = asking
    body[turns][-1] = body[turns][0]
    assert ask(body)[0] == 400


def test_a_result_without_a_call_is_refused(asking):
    body, turns, ask = asking
    del body[turns][-2]
    assert ask(body)[0] == 400


def test_a_result_for_another_call_is_refused(asking):
    body, turns, ask = asking
    text = json.dumps(body[turns][-1]).replace("call_1", "call_2").replace("toolu_1", "toolu_2").replace("read_file", "other")
    body[turns][-1] = json.loads(text)
    assert ask(body)[0] == 400


def test_a_second_result_for_a_call_is_refused(asking):
    body, turns, ask = asking
    body[turns].append(body[turns][-1])
    assert ask(body)[0] == 400


def test_an_unknown_role_is_refused(asking):
    body, turns, ask = asking
    body[turns][0]["role"] = "narrator"
    assert ask(body)[0] == 400
