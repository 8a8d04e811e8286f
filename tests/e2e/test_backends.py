"""What a user sees of backends that are here and of those that are not. What they compute: tests/backends."""
import json
import os
import pathlib
import re
import subprocess

import pytest

from served import TINY, Served

NAMES = ["native", "fake", "pytorch", "mps", "cuda", "compiled", "onnx", "tensorrt", "mlx", "openvino"]
PAIRS = b"what is tea\tTea is a drink made from leaves.\nwhat is tea\tThe river cools the power plant.\n"


def run(rerankd, *args, env=None, **options):
    return subprocess.run([rerankd, *args], capture_output=True, timeout=120, env={**os.environ, **(env or {})}, **options)


def backends(rerankd, env=None):
    return json.loads(run(rerankd, "inspect", "--model", "tiny", "--json", env=env).stdout)["backends"]


def test_inspect_lists_every_backend_with_its_devices_or_the_reason(rerankd):
    listed = backends(rerankd)
    assert [b["name"] for b in listed] == NAMES
    for backend in listed:
        assert backend["state"] == ("ready" if backend["devices"] else "missing"), backend
        if backend["devices"]:
            assert "missing" not in backend and backend["details"], backend
        else:
            assert backend["missing"] and backend["get"], backend


@pytest.mark.parametrize("json_wanted", [True, False])
def test_inspect_lists_everything_when_the_chosen_backend_is_not_here(rerankd, tmp_path, json_wanted):
    (tmp_path / "rerankd_onnx.so").write_bytes(b"not a plugin")
    env = {"RERANKD_PLUGIN_PATH": str(tmp_path)}
    done = run(rerankd, "inspect", "--model", "tiny", "--backend", "onnx", *["--json"] * json_wanted, env=env)
    error = done.stderr.decode().strip().splitlines()[-1]
    assert done.returncode == 1 and "backend 'onnx' is not here" in error and "cannot be loaded" in error
    if not json_wanted:
        assert all(name in done.stdout.decode() for name in NAMES) and b"broken" in done.stdout
        return
    shown = json.loads(done.stdout)
    states = {b["name"]: b["state"] for b in shown["backends"]}
    assert list(states) == NAMES and states["native"] == "ready" and states["onnx"] == "broken"
    assert shown["error"] in error and "model" not in shown


@pytest.mark.parametrize("name", NAMES[2:])
def test_a_backend_scores_like_native_or_says_why_it_cannot(rerankd, name):
    here = next(b for b in backends(rerankd) if b["name"] == name)
    done = run(rerankd, "score", "--model", "tiny", "--backend", name, input=PAIRS)
    packages = pathlib.Path(rerankd).parent / "plugins/compiled/tiny"
    if here["devices"] and (name != "compiled" or packages.exists()):
        expected = run(rerankd, "score", "--model", "tiny", "--precision", "fp32", input=PAIRS)
        scores = [[float(line) for line in out.stdout.split()] for out in (done, expected)]
        assert len(scores[0]) == 2 and scores[0] == pytest.approx(scores[1], abs=1e-4), done.stderr.decode()
    else:
        assert done.returncode != 0 and done.stdout == b""
        message = done.stderr.decode()
        assert name in message, message
        assert here.get("missing", "compile.py") in message


def test_two_backends_serve_two_models_in_one_process(rerankd):
    """Plugins where two are here, else what every build has."""
    ready = [b["name"] for b in backends(rerankd) if b["state"] == "ready" and b["name"] in ("onnx", "pytorch", "openvino", "mlx")]
    first, second = [*ready, "native", "fake"][:2]
    models = {"tiny": first, str(TINY): second}
    instances = ", ".join(f"{{name: {model}, backend: {backend}}}" for model, backend in models.items())
    texts = [line.split("\t")[1] for line in PAIRS.decode().splitlines()]
    with Served(rerankd, config=f"model_pool: {{instances: [{instances}]}}\n", model=None) as served:
        for model, backend in models.items():
            expected = run(rerankd, "score", "--model", model, "--backend", backend, input=PAIRS)
            body = {"model": model, "query": "what is tea", "texts": texts, "raw_scores": True}
            status, _, reply = served.http("POST", "/rerank", body)
            assert status == 200, reply
            scores = {result["index"]: result["score"] for result in json.loads(reply)}
            assert [scores[0], scores[1]] == pytest.approx([float(line) for line in expected.stdout.split()], abs=1e-4)
        shown = json.loads(served.http("GET", "/info")[2])
        assert {first, second} <= set(re.findall(r"[a-z]+", json.dumps(shown)))


def test_a_folder_without_plugins_breaks_nothing_else(rerankd, tmp_path):
    (tmp_path / "rerankd_onnx.so").write_bytes(b"not a plugin")
    env = {"RERANKD_PLUGIN_PATH": str(tmp_path)}
    onnx = next(b for b in backends(rerankd, env) if b["name"] == "onnx")
    assert "cannot be loaded" in onnx["missing"] and str(tmp_path) in onnx["missing"]
    assert run(rerankd, "score", "--model", "tiny", input=PAIRS, env=env).returncode == 0
    failed = run(rerankd, "score", "--model", "tiny", "--backend", "onnx", input=PAIRS, env=env)
    assert failed.returncode != 0 and b"cannot be loaded" in failed.stderr


def test_a_library_that_is_not_onnx_runtime_is_named(rerankd):
    env = {"RERANKD_ONNXRUNTIME": "/nowhere/libonnxruntime.so"}
    onnx = next(b for b in backends(rerankd, env) if b["name"] == "onnx")
    assert onnx["missing"] and ("/nowhere/libonnxruntime.so" in onnx["missing"] or "no rerankd_onnx.so" in onnx["missing"])
