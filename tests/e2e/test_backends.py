"""What a user sees of backends that are here and of those that are not. What they compute: tests/backends."""
import json
import os
import subprocess

import pytest

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
        if backend["devices"]:
            assert "missing" not in backend and backend["details"], backend
        else:
            assert backend["missing"] and backend["get"], backend


@pytest.mark.parametrize("name", NAMES[2:])
def test_a_backend_scores_like_native_or_says_why_it_cannot(rerankd, name):
    here = next(b for b in backends(rerankd) if b["name"] == name)
    done = run(rerankd, "score", "--model", "tiny", "--backend", name, input=PAIRS)
    if here["devices"] and name != "compiled":  # which needs a package besides its engine
        expected = run(rerankd, "score", "--model", "tiny", input=PAIRS)
        scores = [[float(line) for line in out.stdout.split()] for out in (done, expected)]
        assert len(scores[0]) == 2 and scores[0] == pytest.approx(scores[1], abs=1e-4), done.stderr.decode()
    else:
        assert done.returncode != 0 and done.stdout == b""
        message = done.stderr.decode()
        assert name in message, message
        assert here.get("missing", "compile.py") in message


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
