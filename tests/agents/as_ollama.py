"""An Ollama: `/api/chat`, `/api/tags` and `/api/show`, for a model that sees and calls tools."""

import json

from providers import ANSWERED, ASKED, MODEL, Asked, Provider, demand, only, picture, whole

NAME = f"{MODEL}:latest"
DATE = "2026-01-15T09:30:00Z"
DETAILS = {"format": "gguf", "family": "test", "families": ["test"], "parameter_size": "1B", "quantization_level": "Q4_K_M"}
# Ollama skips fields that it does not know; a gateway that has made one up is wrong all the same.
FIELDS = {
    "model", "messages", "tools", "stream", "format", "think", "options", "keep_alive", "logprobs", "top_logprobs",
    "truncate", "shift",
}
MESSAGE = {"role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id"}


class Ollama(Provider):
    def listed(self):
        if self.path == "/api/version":
            return whole({"version": "0.33.0"})
        model = {"name": NAME, "model": NAME, "modified_at": DATE, "size": 1, "digest": "0" * 64, "details": DETAILS}
        return whole({"models": [model] if self.path == "/api/tags" else []})

    def refusal(self, words):
        return whole({"error": words}, 400)

    def answer(self, body):
        if self.path == "/api/show":
            known = {"general.architecture": "test", "test.context_length": 131072}
            return whole({"details": DETAILS, "model_info": known, "capabilities": ["completion", "tools", "vision"]})
        demand(self.path == "/api/chat", f"no such path {self.path}")
        only(body, FIELDS, "request")
        demand(body.get("model") in (MODEL, NAME), f"no such model {body.get('model')}")
        demand(not body.get("think"), f"{NAME} does not support thinking")
        asked = Asked()
        for tool in body.get("tools") or []:
            only(tool, {"type", "function"}, "tools")
            only(tool["function"], {"name", "description", "parameters"}, "tools")
            asked.offers(tool["function"]["name"], tool["function"].get("parameters"), 128)
        _read(body["messages"], asked)
        move, number = self.next_move(asked)
        message = {"role": "assistant", "content": move.text or ""}
        if move.calls:
            message["tool_calls"] = [
                {"id": f"call_{number}_{index}", "function": {"index": index, "name": name, "arguments": arguments}}
                for index, (name, arguments) in enumerate(move.calls)
            ]
        return _lines(body, message)


def _read(messages, asked):
    demand(isinstance(messages, list) and messages, "messages: must not be empty")
    waiting = []
    for at, message in enumerate(messages):
        where, role = f"messages.{at}", message.get("role")
        demand(role in ("system", "user", "assistant", "tool"), f"{where}: role {role}")
        only(message, MESSAGE, where)
        demand(isinstance(message.get("content", ""), str), f"{where}: content is no text")
        if role != "tool":
            asked.rests(where)
        asked.pictures += [picture(data) for data in message.get("images") or []]
        text = message.get("content", "")
        if role == "user":
            asked.texts.append(text)
        elif role == "tool":
            # Who sends no id means the calls in their order, and says the tool's name.
            meant = next((call for call in waiting if message.get("tool_call_id") in (None, call[0])), None)
            demand(meant, f"{where}: no call {message.get('tool_call_id')}")
            demand(message.get("tool_name") in (None, meant[1]), f"{where}: {message.get('tool_name')} is not {meant}")
            waiting.remove(meant)
            asked.answers(meant[0], text, where)
        for call in message.get("tool_calls") or []:
            demand(role == "assistant", f"{where}: calls from {role}")
            only(call, {"id", "function"}, where)
            only(call["function"], {"index", "name", "arguments"}, where)
            demand(isinstance(call["function"]["arguments"], dict), f"{where}: arguments are no object")
            waiting.append((call.get("id", f"the call at {at}.{len(waiting)}"), call["function"]["name"]))
            asked.calls(waiting[-1][0], call["function"]["arguments"], where)
    asked.rests("the end")


def _lines(body, message):
    end = {
        "done": True, "done_reason": "stop", "total_duration": 9, "load_duration": 1, "prompt_eval_count": ASKED,
        "prompt_eval_duration": 1, "eval_count": ANSWERED, "eval_duration": 1,
    }
    head = {"model": body["model"], "created_at": DATE}
    if body.get("stream") is False:
        return whole(head | {"message": message} | end)
    lines = [head | {"message": message, "done": False}, head | {"message": {"role": "assistant", "content": ""}} | end]
    return 200, "application/x-ndjson", "".join(json.dumps(line) + "\n" for line in lines)
