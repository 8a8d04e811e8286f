"""Every command in README and docs runs, in order, page by page: fenced blocks marked `bash` are executed as written.

Blocks marked `sh` hold commands that cannot run inside a test (make); their targets must exist. A `rerankd serve` block
runs in the background, on free ports instead of the ones written, until the page ends.
"""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import pytest
from served import Served

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def blocks(page, language):
    return [text for found, text in FENCE.findall(page.read_text()) if found == language]


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


class Server:
    """A `rerankd serve` block in the background."""

    def __init__(self, command, cwd, env):
        self.process = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=cwd, env=env, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if line.startswith("rerankd ready"):
                return
        raise AssertionError(f"the server of this block never became ready: {command}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.stderr.read()
        assert self.process.wait(timeout=30) == 0


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "bash")], ids=lambda p: p.name)
def test_commands_run_as_written(page, rerankd, tmp_path):
    ports = {"50051": free_port(), "8080": free_port()}
    programs = [pathlib.Path(rerankd).parent, pathlib.Path(sys.executable).parent, os.environ["PATH"]]
    env = {**os.environ, "PATH": ":".join(map(str, programs))}
    for name in ("experiments", "proto", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    servers = []
    try:
        for text in blocks(page, "bash"):
            for written, port in ports.items():
                text = re.sub(rf"\b{written}\b", port, text)
            if text.startswith("rerankd serve"):
                servers.append(Server(text.strip(), tmp_path, env))
                continue
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=tmp_path, env=env, capture_output=True, text=True,
                                  timeout=300)  # fmt: skip
            assert done.returncode == 0, f"{text}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
    finally:
        for server in servers:
            server.stop()


def test_every_route_has_an_example(rerankd):
    """docs/api.md calls every route that /openapi.json describes, and those that are for people."""
    page = "\n".join(blocks(ROOT / "docs/api.md", "bash"))
    calls = re.findall(r"^curl \S+ (?:--max-time 1 )?localhost:8080(/[^\s'\"]*)((?:[^\n\\]|\\\n)*)", page, re.M)
    shown = {("post" if " -d " in rest else "get", path.replace("/$model", "/{model}").replace("/versions/1", "/versions/{version}"))
             for path, rest in calls}  # fmt: skip
    with Served(rerankd, "--backend", "fake") as served:
        described = json.loads(served.http("GET", "/openapi.json")[2])["paths"]
    routes = {(method, path) for path, methods in described.items() for method in methods}
    people = {("get", path) for path in ("/", "/dashboard", "/events", "/api-doc/openapi.json")}
    assert routes | people == shown


def test_make_targets_in_the_readme_exist():
    targets = re.findall(r"^make ([\w-]+)", "\n".join(blocks(ROOT / "README.md", "sh")), re.M)
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_links_between_pages_exist():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_settings_that_pages_name_exist(rerankd):
    """`section.key` in a page: sections are those of docs/settings.md, where each key stands too."""
    listed = subprocess.run([rerankd, "settings", "--markdown"], check=True, capture_output=True, text=True).stdout
    known = set(re.findall(r"^\| `([\w.]+)`", listed, re.M))
    sections = {key.split(".")[0] for key in known if "." in key}
    for page in [*PAGES, *(ROOT / "docs/adr").glob("*.md"), ROOT / "CONTRIBUTING.md"]:
        for name in re.findall(r"`([a-z_]+\.[a-z_.]+)(?:: [^`]*)?`", page.read_text()):
            if name.endswith((".safetensors", ".onnx", ".json")):
                continue  # a file
            assert name.split(".")[0] not in sections or name in listed, f"{page.name}: no setting {name}"


def test_settings_page_is_generated(rerankd):
    done = subprocess.run([rerankd, "settings", "--markdown"], check=True, capture_output=True, text=True)
    assert (ROOT / "docs/settings.md").read_text() == done.stdout, "run: rerankd settings --markdown > docs/settings.md"
