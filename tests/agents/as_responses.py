"""OpenAI where its Responses are asked for: `/v1/responses`, which the gateway carries there as it came."""

import json

from as_openai import OpenAi
from providers import ANSWERED, ASKED, MODEL, Asked, demand, only, picture, whole

FIELDS = {
    "model", "input", "instructions", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "reasoning",
    "include", "text", "store", "max_output_tokens", "temperature", "top_p", "metadata", "prompt_cache_key", "service_tier",
    "truncation", "previous_response_id", "user", "safety_identifier", "prompt_cache_retention", "client_metadata",
}
ITEM = {
    "message": {"role", "content", "status", "id", "phase"},
    "function_call": {"call_id", "name", "arguments", "status", "id", "namespace"},
    "function_call_output": {"call_id", "output", "status", "id"},
    "additional_tools": {"role", "tools", "id"},
}
USAGE = {
    "input_tokens": ASKED, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": ANSWERED,
    "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": ASKED + ANSWERED,
}


class Responses(OpenAi):
    def answer(self, body):
        demand(self.path == "/v1/responses", f"no such path {self.path}")
        only(body, FIELDS, "request")
        demand(body.get("model") == MODEL, f"no such model {body.get('model')}")
        asked = Asked()
        _tools(body.get("tools", []), asked)
        _read(body["input"], asked)
        demand(body.get("stream"), "stream: agents stream")
        move, number = self.next_move(asked)
        return _streamed(move, number)


def _tools(tools, asked):
    for tool in tools:
        if tool["type"] == "function":
            only(tool, {"type", "name", "description", "parameters", "strict", "defer_loading"}, "tools")
            asked.offers(tool["name"], tool.get("parameters"), 64)


def _read(items, asked):
    for at, item in enumerate(items):
        where, kind = f"input.{at}", item.get("type", "message")
        demand(kind in ITEM, f"{where}: type {kind}")
        only(item, ITEM[kind] | {"type"}, where)
        if kind == "message":
            asked.rests(where)
            demand(item["role"] in ("user", "assistant", "system", "developer"), f"{where}: role {item['role']}")
            text = _parts(item["content"], asked, item["role"], where)
            asked.texts += [text] if item["role"] == "user" else []
        elif kind == "function_call":
            asked.calls(item["call_id"], item["arguments"], where)
        elif kind == "function_call_output":
            asked.answers(item["call_id"], _parts(item["output"], asked, "user", where), where)
        else:
            _tools(item["tools"], asked)
    asked.rests("the end")


def _parts(content, asked, role, where):
    if isinstance(content, str):
        return content
    texts = []
    for part in content:
        if part["type"] == "input_image":
            only(part, {"type", "image_url", "detail"}, where)
            asked.pictures.append(picture(part["image_url"].partition(";base64,")[2]))
        else:
            wanted = "output_text" if role == "assistant" else "input_text"
            demand(part["type"] == wanted, f"{where}: part {part['type']} from {role}")
            texts.append(part["text"])
    return "\n".join(texts)


def _items(move, number):
    if move.text:
        part = {"type": "output_text", "text": move.text, "annotations": []}
        return [{"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed", "content": [part]}]
    items = []
    for index, (name, arguments) in enumerate(move.calls):
        more = {"id": f"fc_{number}_{index}", "call_id": f"call_{number}_{index}", "name": name}
        items.append({"type": "function_call", "status": "completed", "arguments": json.dumps(arguments), **more})
    return items


def _streamed(move, number):
    items = _items(move, number)
    response = {"id": f"resp_{number}", "object": "response", "created_at": 1, "model": MODEL}
    events = [("response.created", {"response": response | {"status": "in_progress", "output": []}})]
    for index, item in enumerate(items):
        events += [(f"response.output_item.{state}", {"output_index": index, "item": item}) for state in ("added", "done")]
    events.append(("response.completed", {"response": response | {"status": "completed", "output": items, "usage": USAGE}}))
    lines = [
        f"event: {name}\ndata: {json.dumps({'type': name, 'sequence_number': number, **more})}\n\n"
        for number, (name, more) in enumerate(events)
    ]
    return 200, "text/event-stream", "".join(lines)
