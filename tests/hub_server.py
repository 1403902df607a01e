"""A small server that speaks the Hub's API: create, preupload, LFS, commit, resolve."""

import base64
import hashlib
import http.server
import json
import re
import threading


class Hub(http.server.ThreadingHTTPServer):
    """One repository in memory; `files` is what was committed, `log` the requests' paths."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}  # large files by their sha256
        self.created: list[dict] = []
        self.log: list[str] = []
        self.refuse = False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def commit(self) -> str:
        content = b"".join(name.encode() + data for name, data in sorted(self.files.items()))
        return hashlib.sha1(content).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_):
        pass

    def answer(self, value=None, status=200, headers=(), body: bytes | None = None):
        body = json.dumps(value).encode() if body is None else body
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        for name, text in headers:
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def content(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_POST(self):
        hub, body = self.server, self.content()
        hub.log.append(self.path)
        if hub.refuse or self.headers.get("authorization") != "Bearer hf_test":
            self.answer({"error": "you may not write here"}, status=403)
        elif self.path == "/api/repos/create":
            hub.created.append(json.loads(body))
            self.answer({"url": f"{hub.address}/user/name"})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif self.path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            modes = {True: "lfs", False: "regular"}
            self.answer(
                {
                    "files": [
                        {
                            "path": file["path"],
                            "uploadMode": modes[file["path"].endswith("safetensors")],
                            "shouldIgnore": False,
                        }
                        for file in files
                    ]
                }
            )
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            self.answer(
                {
                    "transfer": "basic",
                    "objects": [
                        {
                            **item,
                            "authenticated": True,
                            "actions": {"upload": {"href": f"{hub.address}/lfs/{item['oid']}"}},
                        }
                        for item in objects
                    ],
                }
            )
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    hub.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    hub.files[value["path"]] = hub.objects[value["oid"]]
            self.answer(
                {
                    "commitUrl": f"{hub.address}/user/name/commit/{hub.commit}",
                    "commitOid": hub.commit,
                    "success": True,
                }
            )
        else:
            self.answer({"error": f"no {self.path}"}, status=404)

    def do_PUT(self):
        self.server.log.append(self.path)
        body = self.content()
        oid = self.path.rpartition("/")[2]
        assert hashlib.sha256(body).hexdigest() == oid
        self.server.objects[oid] = body
        self.answer({})

    def do_GET(self):
        hub = self.server
        hub.log.append(self.path)
        if re.fullmatch(r"/api/models/user/name(/revision/\w+)?(\?.*)?", self.path):
            siblings = [{"rfilename": name} for name in hub.files]
            self.answer(
                {"id": "user/name", "sha": hub.commit, "siblings": siblings, "private": False}
            )
        elif re.match(r"/api/models/user/name/tree/\w+", self.path):
            self.answer(
                [
                    {
                        "type": "file",
                        "path": name,
                        "size": len(data),
                        "oid": hashlib.sha1(data).hexdigest(),
                    }
                    for name, data in hub.files.items()
                ]
            )
        elif match := re.fullmatch(r"/user/name/resolve/\w+/(.+)", self.path):
            data = hub.files.get(match[1])
            if data is None:
                self.answer(status=404, headers=[("X-Error-Code", "EntryNotFound")])
            else:
                etag = hashlib.sha256(data).hexdigest()
                self.answer(
                    body=data, headers=[("ETag", f'"{etag}"'), ("X-Repo-Commit", hub.commit)]
                )
        else:
            self.answer({"error": f"no {self.path}"}, status=404)

    do_HEAD = do_GET
