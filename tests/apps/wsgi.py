"""A small WSGI application: what a server must carry to and from a Python site."""

import hashlib
import json
import time


def application(environ, start_response):
    path = environ["PATH_INFO"]
    handler = ROUTES.get(path, not_found)
    return handler(environ, start_response)


def answer(start_response, body, status="200 OK", kind="text/plain", more=()):
    fields = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start_response(status, fields + list(more))
    return [body]


def home(environ, start_response):
    return answer(start_response, b"hello from wsgi\n")


def environment(environ, start_response):
    """The request as the application sees it."""
    seen = {name: value for name, value in environ.items() if isinstance(value, str)}
    return answer(start_response, json.dumps(seen, sort_keys=True).encode(), kind="application/json")


def upload(environ, start_response):
    """Length and digest of the request's body, however it came."""
    digest, length = hashlib.sha256(), 0
    while chunk := environ["wsgi.input"].read(65536):
        digest.update(chunk)
        length += len(chunk)
    return answer(start_response, f"{length} {digest.hexdigest()}".encode())


def stream(environ, start_response):
    """A body without a length: gunicorn sends it in chunks."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (f"line {number}\n".encode() for number in range(100))


def download(environ, start_response):
    """Some megabytes whose content can be checked."""
    block = bytes(range(256)) * 256
    count = int(environ.get("QUERY_STRING") or 64)
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(count * len(block)))])
    return (block for _ in range(count))


def redirect(environ, start_response):
    return answer(start_response, b"", "302 Found", more=[("Location", "/login?next=/"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/")])


def slow(environ, start_response):
    """Takes as many milliseconds as the query says."""
    time.sleep(int(environ.get("QUERY_STRING") or 0) / 1000)
    return answer(start_response, b"at last\n")


def crash(environ, start_response):
    raise RuntimeError("on purpose")


def not_found(environ, start_response):
    return answer(start_response, b"no such page\n", "404 Not Found")


ROUTES = {
    "/": home,
    "/environ": environment,
    "/upload": upload,
    "/stream": stream,
    "/download": download,
    "/redirect": redirect,
    "/slow": slow,
    "/crash": crash,
}
