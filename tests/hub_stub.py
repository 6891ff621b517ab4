"""A Hugging Face Hub small enough to read: it creates, commits, lists and serves files.

Uploads are "regular" (base64 inside the commit), so neither LFS nor xet is spoken. Start it
before huggingface_hub is imported, which reads HF_ENDPOINT then; in tests: a subprocess.
"""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
from urllib.parse import unquote, urlsplit

MISSING = {"X-Error-Code": "RepoNotFound"}
NO_ENTRY = {"X-Error-Code": "EntryNotFound"}


class Repositories:
    """Every repository as a list of commits, each the whole tree: path to bytes."""

    def __init__(self):
        self.commits = {}
        self.requests = []

    def tree(self, repo, revision):
        """Give the commit and the files that a revision names, or None."""
        commits = self.commits.get(repo, [])
        for sha, files in reversed(commits):
            if revision in {"main", sha}:
                return sha, files
        return None

    def commit(self, repo, added):
        """Add files to a repository, and name the commit by what it holds."""
        files = {**(self.commits[repo][-1][1] if self.commits.get(repo) else {}), **added}
        listing = "".join(f"{p} {hashlib.sha1(b).hexdigest()}" for p, b in sorted(files.items()))
        sha = hashlib.sha1(f"{repo} {len(self.commits.get(repo, []))} {listing}".encode())
        self.commits.setdefault(repo, []).append((sha.hexdigest(), files))
        return sha.hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """The routes that huggingface_hub calls."""

    protocol_version = "HTTP/1.1"
    repositories: Repositories

    def log_message(self, *_):
        """Keep quiet."""

    def reply(self, body, status=200, headers=None):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def payload(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def route(self, routes):
        path = unquote(urlsplit(self.path).path)
        self.repositories.requests.append(f"{self.command} {path}")
        for pattern, answer in routes.items():
            if match := re.fullmatch(pattern, path):
                return answer(*match.groups())
        return self.reply({"error": f"no route {path}"}, 404)

    def do_POST(self):
        """Create a repository, or take a commit."""
        body = self.payload()
        self.route(
            {
                "/api/repos/create": lambda: self.create(json.loads(body)),
                "/api/validate-yaml": lambda: self.reply({"errors": [], "warnings": []}),
                "/api/models/(.+)/preupload/main": lambda _: self.preupload(json.loads(body)),
                "/api/models/(.+)/commit/main": lambda repo: self.commit(repo, body),
            }
        )

    def do_GET(self):
        """Describe a repository, list a tree, or serve a file."""
        self.route(
            {
                "/api/models/(.+?)/revision/(.+)": self.info,
                "/api/models/(.+?)/tree/([^/]+)": self.list_tree,
                "/api/models/([^/]+/[^/]+)": lambda repo: self.info(repo, "main"),
                "/(.+?)/resolve/([^/]+)/(.+)": self.serve,
                "/api/whoami-v2": lambda: self.reply({"name": "me", "type": "user", "orgs": []}),
            }
        )

    def do_HEAD(self):
        """Answer as to GET, without the body."""
        self.do_GET()

    def create(self, wanted):
        repo = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
        if not self.repositories.commits.get(repo):
            self.repositories.commit(repo, {".gitattributes": b""})
        self.reply({"url": f"{self.server.endpoint}/{repo}", "name": repo, "id": repo})

    def preupload(self, wanted):
        files = [
            {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
            for file in wanted["files"]
        ]
        self.reply({"files": files})

    def commit(self, repo, body):
        lines = [json.loads(line) for line in body.splitlines() if line]
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            for line in lines
            if line["key"] == "file"
        }
        sha = self.repositories.commit(repo, files)
        url = f"{self.server.endpoint}/{repo}/commit/{sha}"
        self.reply({"commitUrl": url, "commitOid": sha, "hookOutput": "", "success": True})

    def info(self, repo, revision):
        found = self.repositories.tree(repo, revision)
        if found is None:
            return self.reply({"error": "Repository not found"}, 404, MISSING)
        sha, files = found
        siblings = [{"rfilename": path} for path in files]
        return self.reply({"id": repo, "modelId": repo, "sha": sha, "siblings": siblings})

    def list_tree(self, repo, revision):
        found = self.repositories.tree(repo, revision)
        if found is None:
            return self.reply({"error": "Repository not found"}, 404, MISSING)
        return self.reply(
            [
                {
                    "type": "file",
                    "path": path,
                    "size": len(content),
                    "oid": hashlib.sha1(content).hexdigest(),
                }
                for path, content in found[1].items()
            ]
        )

    def serve(self, repo, revision, path):
        found = self.repositories.tree(repo, revision)
        if found is None:
            return self.reply({"error": "Repository not found"}, 404, MISSING)
        sha, files = found
        if path not in files:
            return self.reply({"error": "Entry not found"}, 404, NO_ENTRY | {"X-Repo-Commit": sha})
        etag = f'"{hashlib.sha1(files[path]).hexdigest()}"'
        return self.reply(files[path], headers={"X-Repo-Commit": sha, "ETag": etag})


@contextlib.contextmanager
def serve():
    """Run a Hub on the loopback interface.

    Gives its endpoint and its repositories.
    """
    repositories = Repositories()
    handler = type("BoundHandler", (Handler,), {"repositories": repositories})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.endpoint, repositories
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
