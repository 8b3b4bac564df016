"""A small stand-in for the Hugging Face hub on loopback: repositories are created, uploaded to and read from."""

import base64
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_stand_in_that_may_write"
COMMIT = "c" * 40


class Hub:
    """What the server has: the files of each repository, and what it was asked.

    Attributes:
        repositories: `{name: {path: content}}`.
        private: The names of private repositories.
        commits: The message of each commit.
        requests: Every request, such as "POST /api/repos/create".
        refused: `{part of a path: status}`: what it answers with an error.
    """

    def __init__(self, address):
        self.address = address
        self.repositories, self.private, self.commits, self.requests = {}, set(), [], []
        self.refused, self.objects = {}, {}

    def uploads(self):
        """The requests that change something."""
        return [request for request in self.requests if request.startswith(("POST", "PUT"))]


@contextmanager
def hub_server():
    """A running stand-in, which ends with the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.hub = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        """Print nothing."""

    def do_GET(self):
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self):
        hub = self.server.hub
        path = self.path.partition("?")[0]
        hub.requests.append(f"{self.command} {path}")
        body = self._body()
        for part, status in hub.refused.items():
            if part in path:
                return self._send({"error": "refused by the stand-in"}, status)
        is_open = self.command in ("GET", "HEAD") or path.startswith(("/objects", "/api/validate-yaml"))
        if not is_open and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send({"error": "Invalid credentials"}, 401)
        for pattern, handle in _ROUTES:
            if match := re.fullmatch(pattern, path):
                return handle(self, hub, body, *match.groups())
        return self._send({"error": f"the stand-in does not know {path}"}, 404)

    def _body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _send(self, content, status=200, **headers):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(data), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _create(self, hub, body):
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        address = f"{hub.address}/{name}"
        if name in hub.repositories:
            return self._send({"error": "You already created this model repo", "url": address}, 409)
        hub.repositories[name] = {}
        if asked.get("visibility") == "private" or asked.get("private"):
            hub.private.add(name)
        return self._send({"url": address})

    def _validate(self, hub, body):
        self._send({"errors": [], "warnings": []})

    def _preupload(self, hub, body, name):
        files = json.loads(body)["files"]
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in files
        ]
        self._send({"files": modes})

    def _batch(self, hub, body, name):
        objects = [
            {**item, "actions": {"upload": {"href": f"{hub.address}/objects/{item['oid']}"}}}
            for item in json.loads(body)["objects"]
        ]
        self._send({"transfer": "basic", "objects": objects})

    def _put(self, hub, body, oid):
        hub.objects[oid] = body
        self._send(b"")

    def _commit(self, hub, body, name):
        files = hub.repositories[name]
        for line in body.decode().splitlines():
            operation = json.loads(line)
            value = operation["value"]
            match operation["key"]:
                case "header":
                    hub.commits.append(value["summary"])
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = hub.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        self._send({"commitUrl": f"{hub.address}/{name}/commit/{COMMIT}", "commitOid": COMMIT, "success": True})

    def _tree(self, hub, body, name):
        files = hub.repositories[name]
        self._send([{"type": "file", "path": path, "size": len(data), "oid": "0"} for path, data in files.items()])

    def _info(self, hub, body, name):
        if name not in hub.repositories:
            return self._send({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        siblings = [{"rfilename": path} for path in hub.repositories[name]]
        return self._send({"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": []})

    def _file(self, hub, body, name, revision, path):
        data = hub.repositories.get(name, {}).get(path)
        if data is None:
            return self._send({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
        return self._send(data, ETag=f'"{len(data)}"', X_Repo_Commit=revision)


_NAME = "([^/]+/[^/]+)"
_ROUTES = (
    ("/api/repos/create", _Handler._create),
    ("/api/validate-yaml", _Handler._validate),
    (f"/api/models/{_NAME}/preupload/main", _Handler._preupload),
    (rf"/{_NAME}\.git/info/lfs/objects/batch", _Handler._batch),
    ("/objects/([0-9a-f]+)", _Handler._put),
    (f"/api/models/{_NAME}/commit/main", _Handler._commit),
    (f"/api/models/{_NAME}/tree/[^/]+", _Handler._tree),
    (f"/api/models/{_NAME}(?:/revision/[^/]+)?", _Handler._info),
    (f"/{_NAME}/resolve/([^/]+)/(.+)", _Handler._file),
)
