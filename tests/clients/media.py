"""A server for speech, transcriptions, images and documents, which says what it was sent.

Its sound is longer than one read and is written piece by piece; a model named `cut` ends in the middle of it.
"""

import base64
import email.parser
import email.policy
import http.server
import json

from running import serving

PIECE = bytes(range(256)) * 64
PIECES = 8


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/audio/speech":
            self._speak(json.loads(body))
        elif self.path == "/v1/audio/transcriptions":
            fields = self._form(body)
            text = f"{fields['model'].decode()} heard {len(fields['file'])} bytes, the last {fields['file'][-1]}"
            self._answer({"text": text, "usage": {"type": "tokens", "input_tokens": 9, "output_tokens": 4, "total_tokens": 13}})
        elif self.path == "/v1/images/generations":
            asked = json.loads(body)
            self._answer({"created": 1_790_000_000, "data": [{"b64_json": "AAAA", "revised_prompt": asked["prompt"]}] * asked["n"]})
        elif self.path == "/v1/chat/completions":
            self._answer(self._read(json.loads(body)))
        elif self.path == "/v1/images/edits":
            fields = self._form(body)
            self._answer({"created": 1_790_000_000, "data": [{"b64_json": str(len(fields["image"]))}]})
        else:
            self._answer({"error": {"message": f"nobody asks at {self.path}", "type": "invalid_request_error"}}, 404)

    def log_message(self, *_):
        pass

    def _speak(self, asked):
        self.send_response(200)
        self.send_header("content-type", "audio/mpeg")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number in range(PIECES):
            if asked["model"] == "cut" and number == 2:
                self.close_connection = True
                return
            self.wfile.write(b"%x\r\n%s\r\n" % (len(PIECE), PIECE))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _read(self, asked):
        parts = [part for message in asked["messages"] for part in message["content"] if part["type"] == "file"]
        documents = [base64.b64decode(part["file"]["file_data"].removeprefix("data:application/pdf;base64,")) for part in parts]
        said = {"role": "assistant", "content": " ".join(f"{len(document)} {document[:5].decode()}" for document in documents)}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
        return {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_790_000_000, "model": asked["model"], "choices": [choice],
            "usage": usage,
        }

    def _form(self, body):
        head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        return {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in form.iter_parts()}

    def _answer(self, answer, status=200):
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def media_server():
    """Serves for the length of a `with` block; gives the URL."""
    return serving(Handler)
