"""An OpenAI-compatible server: `/v1/chat/completions` and the list of models."""

import base64
import json

from providers import ANSWERED, ASKED, MODEL, Asked, Provider, demand, only, picture, whole

FIELDS = {
    "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p",
    "presence_penalty", "frequency_penalty", "seed", "stop", "tools", "tool_choice", "parallel_tool_calls",
    "response_format", "reasoning_effort", "logprobs", "top_logprobs", "n", "user", "metadata", "store", "logit_bias",
    "prompt_cache_key", "safety_identifier", "service_tier", "verbosity", "prompt_cache_retention", "modalities",
}
MESSAGE = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "tool_calls", "refusal", "audio"},
    "tool": {"role", "content", "tool_call_id"},
}
USAGE = {"prompt_tokens": ASKED, "completion_tokens": ANSWERED, "total_tokens": ASKED + ANSWERED}


class OpenAi(Provider):
    below = "/v1"

    def listed(self):
        return whole({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "tests"}]})

    def refusal(self, words):
        error = {"message": words, "type": "invalid_request_error", "param": None, "code": None}
        return whole({"error": error}, 400)

    def answer(self, body):
        demand(self.path == "/v1/chat/completions", f"no such path {self.path}")
        only(body, FIELDS, "request")
        demand(body.get("model") == MODEL, f"no such model {body.get('model')}")
        demand("max_tokens" not in body or "max_completion_tokens" not in body, "max_tokens and max_completion_tokens")
        demand(body.get("stream") or "stream_options" not in body, "stream_options without stream")
        asked = Asked()
        for tool in body.get("tools", []):
            only(tool, {"type", "function"}, "tools")
            demand(tool["type"] == "function", f"tools: type {tool['type']}")
            only(tool["function"], {"name", "description", "parameters", "strict"}, "tools")
            asked.offers(tool["function"]["name"], tool["function"].get("parameters"), 64)
        demand("tools" not in body or body["tools"], "tools: must not be empty")
        demand("tool_choice" not in body or asked.tools, "tool_choice without tools")
        _read(body["messages"], asked)
        move, number = self.next_move(asked)
        return (_streamed if body.get("stream") else _whole)(body, move, number)


def _read(messages, asked):
    demand(isinstance(messages, list) and messages, "messages: must not be empty")
    for at, message in enumerate(messages):
        where, role = f"messages.{at}", message.get("role")
        demand(role in MESSAGE, f"{where}: role {role}")
        only(message, MESSAGE[role], where)
        if role != "tool":
            asked.rests(where)
        # Not OpenAI's rule, but that of the templates with which others serve models.
        demand(role != "system" or at == 0, f"{where}: a system message must be at the beginning")
        content, calls = message.get("content"), message.get("tool_calls")
        demand(content is not None or calls, f"{where}: content is needed")
        text = _parts(content, asked, role, where)
        if role == "user":
            asked.texts.append(text)
        elif role == "tool":
            asked.answers(message["tool_call_id"], text, where)
        if calls is not None:
            demand(calls, f"{where}: tool_calls must not be empty")
        for call in calls or []:
            only(call, {"id", "type", "function"}, where)
            only(call["function"], {"name", "arguments"}, where)
            asked.calls(call["id"], call["function"]["arguments"], where)
    asked.rests("the end")


def _parts(content, asked, role, where):
    if content is None or isinstance(content, str):
        return content or ""
    texts = []
    for part in content:
        kind = part["type"]
        demand(kind == "text" or role == "user", f"{where}: {kind} from {role}")
        demand(kind in ("text", "image_url", "file"), f"{where}: part {kind}")
        only(part, {"type", kind}, where)
        if kind == "text":
            texts.append(part["text"])
        elif kind == "image_url":
            only(part[kind], {"url", "detail"}, where)
            asked.pictures.append(picture(part[kind]["url"].partition(";base64,")[2]))
        else:
            only(part[kind], {"file_data", "filename", "file_id"}, where)
            head, _, data = part[kind]["file_data"].partition(";base64,")
            demand(head == "data:application/pdf" and part[kind].get("filename"), f"{where}: file {head}")
            asked.papers.append(base64.b64decode(data, validate=True))
    demand(content, f"{where}: content must not be empty")
    return "\n".join(texts)


def _calls(move, number):
    return [
        {"id": f"call_{number}_{index}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for index, (name, arguments) in enumerate(move.calls)
    ]


def _whole(body, move, number):
    message = {"role": "assistant", "content": move.text}
    if move.calls:
        message["tool_calls"] = _calls(move, number)
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if move.calls else "stop"}
    return whole({
        "id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice], "usage": USAGE,
    })


def _streamed(body, move, number):
    deltas = [{"role": "assistant", "content": ""}]
    for index, call in enumerate(_calls(move, number)):
        arguments, call["function"] = call["function"]["arguments"], call["function"] | {"arguments": ""}
        deltas.append({"tool_calls": [{"index": index, **call}]})
        for piece in (arguments[:9], arguments[9:]):
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    if move.text:
        deltas += [{"content": move.text[:5]}, {"content": move.text[5:]}]
    choices = [[{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas]
    choices.append([{"index": 0, "delta": {}, "finish_reason": "tool_calls" if move.calls else "stop"}])
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    chunks = [head | {"choices": choice} for choice in choices]
    if body.get("stream_options", {}).get("include_usage"):
        chunks.append(head | {"choices": [], "usage": USAGE})
    events = [json.dumps(chunk) for chunk in chunks] + ["[DONE]"]
    return 200, "text/event-stream", "".join(f"data: {event}\n\n" for event in events)
