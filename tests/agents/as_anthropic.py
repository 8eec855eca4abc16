"""Anthropic: `/v1/messages`, counting included, and the list of models."""

import base64
import json
import re

from providers import ANSWERED, ASKED, MODEL, Asked, Provider, demand, only, picture, whole

FIELDS = {
    "model", "messages", "max_tokens", "system", "stream", "temperature", "top_p", "top_k", "stop_sequences", "tools",
    "tool_choice", "metadata", "thinking", "service_tier", "container", "output_config", "cache_control", "inference_geo",
}
# Fields that need a word in `anthropic-beta`.
OF_BETAS = {"context_management": "context-management", "mcp_servers": "mcp-client", "speed": "fast-mode"}
BLOCK = {
    "text": {"text", "citations"},
    "image": {"source"},
    "document": {"source", "title", "context", "citations"},
    "tool_use": {"id", "name", "input", "caller"},
    "tool_result": {"tool_use_id", "content", "is_error"},
    "thinking": {"thinking", "signature"},
}
TOOL = {
    "name", "description", "input_schema", "type", "strict", "defer_loading", "eager_input_streaming", "input_examples",
    "allowed_callers",
}
FROM = {
    "assistant": {"text", "tool_use", "thinking"}, "user": {"text", "image", "document", "tool_result"}, "system": {"text"},
}


class Anthropic(Provider):
    def listed(self):
        model = {"type": "model", "id": MODEL, "display_name": MODEL, "created_at": "2026-01-15T09:30:00Z"}
        return whole({"data": [model], "has_more": False, "first_id": MODEL, "last_id": MODEL})

    def refusal(self, words):
        error = {"type": "invalid_request_error", "message": words}
        return whole({"type": "error", "error": error, "request_id": "req_1"}, 400)

    def answer(self, body):
        path = self.path.partition("?")[0]
        counts = path == "/v1/messages/count_tokens"
        demand(counts or path == "/v1/messages", f"no such path {self.path}")
        demand(self.headers.get("anthropic-version") == "2023-06-01", "anthropic-version: header is required")
        demand(self.headers.get("x-api-key"), "x-api-key: header is required")
        betas = self.headers.get("anthropic-beta", "")
        only(body, FIELDS | {name for name, beta in OF_BETAS.items() if beta in betas}, "request")
        demand(body.get("model") == MODEL, f"model: {body.get('model')}")
        demand(counts or body.get("max_tokens", 0) >= 1, "max_tokens: Field required")
        budget = body.get("thinking", {}).get("budget_tokens")
        demand(budget is None or 1024 <= budget < body["max_tokens"], "thinking.budget_tokens")
        asked, marks = Asked(), []
        for tool in body.get("tools", []):
            _only(tool, TOOL, "tools", marks)
            demand(tool.get("type", "custom") == "custom", f"tools: type {tool.get('type')}")
            asked.offers(tool["name"], tool.get("input_schema"), 128)
        demand("tool_choice" not in body or asked.tools, "tool_choice may only be specified while providing tools")
        _system(body.get("system", ""), marks)
        _read(body["messages"], asked, marks, betas)
        demand(len(marks) <= 4, f"a maximum of 4 blocks with cache_control may be provided, found {len(marks)}")
        if counts:
            return whole({"input_tokens": ASKED})
        move, number = self.next_move(asked)
        return (_streamed if body.get("stream") else _whole)(move, number)


def _only(value, allowed, where, marks):
    """`only`, where a mark for the cache may stand."""
    only(value, allowed | {"cache_control"}, where)
    mark = value.get("cache_control")
    if mark:
        only(mark, {"type", "ttl", "scope"}, f"{where}.cache_control")
        marks.append(where)


def _system(system, marks):
    for block in [] if isinstance(system, str) else system:
        _only(block, {"type", "text"}, "system", marks)
        demand(block["type"] == "text" and block["text"], "system: text content blocks must be non-empty")


def _read(messages, asked, marks, betas):
    demand(isinstance(messages, list) and messages, "messages: at least one message is required")
    demand(messages[0].get("role") == "user", "messages: first message must use the user role")
    for at, message in enumerate(messages):
        where, role = f"messages.{at}", message.get("role")
        only(message, {"role", "content"}, where)
        demand(role in FROM and (role != "system" or "mid-conversation-system" in betas), f"{where}: role {role}")
        blocks = message["content"]
        blocks = [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks
        demand(blocks, f"{where}: content must not be empty")
        results = [block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"]
        if not results:
            asked.rests(where)
        demand(all(block["type"] == "tool_result" for block in blocks[: len(results)]), f"{where}: results come first")
        for place, block in enumerate(blocks):
            demand(block.get("type") in FROM[role], f"{where}: {block.get('type')} from {role}")
            # All results of a turn are in the one message after it.
            if results and place == len(results):
                asked.rests(where)
            _block(block, asked, where, marks, role)
        if role != "assistant":
            asked.rests(where)
    asked.rests("the end")
    demand(messages[-1]["role"] != "assistant", "this model does not support assistant message prefill")


def _block(block, asked, where, marks, role):
    kind = block["type"]
    _only(block, BLOCK[kind] | {"type"}, f"{where}.{kind}", marks)
    if kind == "text":
        demand(block["text"].strip(), f"{where}: text content blocks must contain non-whitespace text")
        if role == "user":
            asked.texts.append(block["text"])
    elif kind == "image":
        only(block["source"], {"type", "media_type", "data"}, where)
        asked.pictures.append(picture(block["source"]["data"]))
    elif kind == "document":
        only(block["source"], {"type", "media_type", "data"}, where)
        demand(block["source"]["media_type"] == "application/pdf", f"{where}: {block['source']['media_type']}")
        asked.papers.append(base64.b64decode(block["source"]["data"], validate=True))
    elif kind == "tool_use":
        demand(re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"]), f"{where}: id {block['id']}")
        asked.calls(block["id"], block["input"], where)
    elif kind == "tool_result":
        content = block.get("content", "")
        inner = Asked()
        for part in [{"type": "text", "text": content or "-"}] if isinstance(content, str) else content:
            demand(part["type"] in ("text", "image", "document"), f"{where}: {part['type']} in a result")
            _block(part, inner, where, marks, "user")
        asked.answers(block["tool_use_id"], "\n".join(inner.texts), where)
        asked.pictures += inner.pictures
        asked.papers += inner.papers


def _content(move, number):
    if move.text:
        return [{"type": "text", "text": move.text}]
    return [
        {"type": "tool_use", "id": f"toolu_{number}_{index}", "name": name, "input": arguments}
        for index, (name, arguments) in enumerate(move.calls)
    ]


def _message(number, **more):
    usage = {"input_tokens": ASKED, "output_tokens": ANSWERED, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    head = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": MODEL, "usage": usage}
    return head | {"content": [], "stop_reason": None, "stop_sequence": None} | more


def _whole(move, number):
    return whole(_message(number, content=_content(move, number), stop_reason="tool_use" if move.calls else "end_turn"))


def _streamed(move, number):
    events = [{"type": "message_start", "message": _message(number)}]
    for index, block in enumerate(_content(move, number)):
        if block["type"] == "text":
            text, kind, field, begun = block["text"], "text_delta", "text", block | {"text": ""}
        else:
            text, kind, field, begun = json.dumps(block["input"]), "input_json_delta", "partial_json", block | {"input": {}}
        events.append({"type": "content_block_start", "index": index, "content_block": begun})
        for piece in (text[:7], text[7:]):
            events.append({"type": "content_block_delta", "index": index, "delta": {"type": kind, field: piece}})
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": "tool_use" if move.calls else "end_turn", "stop_sequence": None}
    events += [{"type": "message_delta", "delta": delta, "usage": {"output_tokens": ANSWERED}}, {"type": "message_stop"}]
    return 200, "text/event-stream", "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
