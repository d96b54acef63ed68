"""A server that answers as vLLM does, which cannot run without a GPU; it keeps what it was asked."""

import base64
import json
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace


def photo_of(body: dict) -> bytes:
    """The photo in a request."""
    (url,) = (b["image_url"]["url"] for b in body["messages"][-1]["content"] if b["type"] == "image_url")
    return base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))


def completion(text, tokens=(), finish_reason="stop", **message) -> dict:
    """A reply as vLLM documents it; `tokens` are pairs of a decoded token and its log-probability."""
    content = [{"token": t, "logprob": p, "bytes": list(t.encode()), "top_logprobs": []} for t, p in tokens]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "reasoning": None} | message,
        "logprobs": {"content": content} if tokens else None,
        "finish_reason": finish_reason,
        "stop_reason": None,
    }
    count = {"prompt_tokens": 40, "completion_tokens": len(tokens) or 3, "total_tokens": 43}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "inspector",
        "choices": [choice],
        "usage": count,
    }


def refusal(status: int, message: str) -> tuple[int, dict]:
    """An error as vLLM documents it."""
    return status, {"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}}


def obedient(body: dict) -> dict | None:
    """The one word that a check of the schema allows, or None for any other request."""
    grammar = body.get("structured_outputs", {}).get("grammar", "")
    if grammar == 'root ::= "LNG"':
        return completion("LNG")
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    return completion('"LNG"') if schema.get("enum") == ["LNG"] else None


@contextmanager
def stand_in(reply, models=("inspector",)):
    """Gives `url` and `asked` (headers, body and port of each request for an answer).

    `reply` takes a request's body and returns the reply's, or (status, body); a body is JSON, bytes, or
    pieces of them that are sent one by one; None ends the connection without a reply.
    """
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            listed = [{"id": m, "object": "model", "created": 0, "owned_by": "vllm"} for m in models]
            self._send(200, {"object": "list", "data": listed})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append(SimpleNamespace(headers=self.headers, body=body, port=self.client_address[1]))
            said = reply(body)
            if said is None:
                self.close_connection = True
                return
            self._send(*(said if isinstance(said, tuple) else (200, said)))

        def _send(self, status, body):
            content = json.dumps(body).encode() if isinstance(body, dict) else body
            pieces = [content] if isinstance(content, bytes) else content
            self.send_response(status)
            if isinstance(content, bytes):
                self.send_header("content-length", str(len(content)))
            self.send_header("content-type", "application/json" if isinstance(body, dict) else "text/html")
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            with suppress(ConnectionError):  # who asked has given up
                for piece in pieces:
                    self.wfile.write(piece)
            self.close_connection = pieces is content

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}/v1", asked=asked)
    finally:
        server.shutdown()
        server.server_close()
