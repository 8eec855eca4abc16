"""Google's Gemini: `streamGenerateContent`, counting, and the list of models.

What a reader would get wrong: a call has no id here, its results follow in the order of the calls, and the first call of
each turn bears a signature that has to come back.
"""

import base64
import json

from providers import ANSWERED, ASKED, MODEL, Asked, Provider, demand, only, picture, whole

FIELDS = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "cachedContent"}
CONFIG = {
    "temperature", "topP", "topK", "maxOutputTokens", "stopSequences", "seed", "candidateCount", "presencePenalty",
    "frequencyPenalty", "responseMimeType", "responseSchema", "responseJsonSchema", "responseLogprobs", "logprobs",
    "thinkingConfig", "responseModalities",
}
PART = {"text", "inlineData", "functionCall", "functionResponse", "thought", "thoughtSignature"}
SIGNATURE = base64.b64encode(b"signed by the scripted model").decode()


class Gemini(Provider):
    def listed(self):
        model = {"name": f"models/{MODEL}", "displayName": MODEL, "supportedGenerationMethods": ["generateContent"]}
        return whole({"models": [model]})

    def refusal(self, words):
        return whole({"error": {"code": 400, "message": words, "status": "INVALID_ARGUMENT"}}, 400)

    def answer(self, body):
        path, _, query = self.path.partition("?")
        demand(self.headers.get("x-goog-api-key"), "x-goog-api-key: header is required")
        counts = path == f"/v1beta/models/{MODEL}:countTokens"
        streams = path == f"/v1beta/models/{MODEL}:streamGenerateContent" and query == "alt=sse"
        demand(counts or streams, f"no such path {self.path}")
        if counts:
            return whole({"totalTokens": ASKED})
        only(body, FIELDS, "request")
        only(body.get("generationConfig", {}), CONFIG, "generationConfig")
        asked = Asked()
        for tool in body.get("tools", []):
            only(tool, {"functionDeclarations"}, "tools")
            for function in tool["functionDeclarations"]:
                only(function, {"name", "description", "parametersJsonSchema"}, "tools")
                asked.offers(function["name"], function.get("parametersJsonSchema", {"type": "object"}), 64)
        demand("toolConfig" not in body or asked.tools, "toolConfig without tools")
        _read(body["contents"], asked)
        move, _ = self.next_move(asked)
        return _streamed(move)


def _read(contents, asked):
    demand(isinstance(contents, list) and contents, "contents: must not be empty")
    # What has been called and not answered yet: place and name.
    waiting = []
    for at, content in enumerate(contents):
        where, role = f"contents.{at}", content.get("role")
        only(content, {"role", "parts"}, where)
        demand(role in ("user", "model"), f"{where}: role {role}")
        demand(content.get("parts"), f"{where}: parts must not be empty")
        answered = [part for part in content["parts"] if "functionResponse" in part]
        demand(len(answered) == len(waiting), f"{where}: {len(answered)} responses for the calls {waiting}")
        has_called = False
        for place, part in enumerate(content["parts"]):
            only(part, PART, where)
            if "functionCall" in part:
                demand(role == "model", f"{where}: functionCall from {role}")
                demand(has_called or part.get("thoughtSignature") == SIGNATURE, f"{where}: the signature is missing")
                has_called = True
                only(part["functionCall"], {"id", "name", "args"}, where)
                waiting.append(((at, place), part["functionCall"]["name"]))
                asked.calls((at, place), part["functionCall"]["args"], where)
            elif "functionResponse" in part:
                demand(role == "user", f"{where}: functionResponse from {role}")
                only(part["functionResponse"], {"id", "name", "response"}, where)
                call, name = waiting.pop(0)
                demand(part["functionResponse"]["name"] == name, f"{where}: a response of {name} is due")
                asked.answers(call, "\n".join(map(str, part["functionResponse"]["response"].values())), where)
            elif "inlineData" in part:
                demand(role == "user", f"{where}: inlineData from {role}")
                _blob(part["inlineData"], asked, where)
            else:
                demand(isinstance(part.get("text"), str), f"{where}: a part without anything")
                asked.texts += [part["text"]] if role == "user" else []
    demand(not waiting, f"calls without a response: {waiting}")


def _blob(blob, asked, where):
    only(blob, {"mimeType", "data"}, where)
    if blob["mimeType"] == "application/pdf":
        asked.papers.append(base64.b64decode(blob["data"], validate=True))
    else:
        demand(blob["mimeType"].startswith("image/"), f"{where}: {blob['mimeType']}")
        asked.pictures.append(picture(blob["data"]))


def _streamed(move):
    if move.calls:
        parts = [{"functionCall": {"name": name, "args": arguments}} for name, arguments in move.calls]
        parts[0]["thoughtSignature"] = SIGNATURE
    else:
        parts = [{"text": move.text[:6]}, {"text": move.text[6:]}]
    usage = {"promptTokenCount": ASKED, "candidatesTokenCount": ANSWERED, "totalTokenCount": ASKED + ANSWERED}
    answers = [{"content": {"role": "model", "parts": [part]}, "index": 0} for part in parts]
    answers[-1]["finishReason"] = "STOP"
    head = {"modelVersion": MODEL, "responseId": "scripted", "usageMetadata": usage}
    events = [head | {"candidates": [answer]} for answer in answers]
    return 200, "text/event-stream", "".join(f"data: {json.dumps(event)}\r\n\r\n" for event in events)
