"""`rerankd pull` against a hub on loopback, and against the cache of the Python library huggingface_hub."""
import hashlib
import os
import pathlib
import signal
import subprocess
import time

import pytest

from mock_hub import COMMIT, LARGE, MockHub, Proxy

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests/data/tiny-random"
REPO = "org/reranker"


def model_files():
    files = {p.name: p.read_bytes() for p in MODEL.iterdir() if p.is_file() and p.name != "README.md"}
    return {**files, "pytorch_model.bin": b"x" * 50_000, "onnx/model.onnx": b"y" * 50_000}


@pytest.fixture()
def hub():
    hub = MockHub({REPO: model_files()})
    yield hub
    hub.close()


@pytest.fixture()
def run(rerankd, hub, tmp_path):
    """Runs the binary with the mock hub and an empty cache."""
    ours = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower() and k not in ours}
    env |= {"HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}

    def call(*args, stdin="", **extra):
        """extra: environment variables; None unsets one."""
        changed = {k: v for k, v in {**env, **extra}.items() if v is not None}
        return subprocess.run([rerankd, *args], input=stdin, capture_output=True, text=True, env=changed, timeout=120)

    return call


def cache_files(tmp_path):
    return sorted(str(p.relative_to(tmp_path / "cache")) for p in (tmp_path / "cache").rglob("*") if not p.is_dir())


def test_pull_fetches_what_is_needed_and_nothing_else(run, hub, tmp_path):
    done = run("pull", REPO)
    assert done.returncode == 0, done.stderr
    snapshot = pathlib.Path(done.stdout.strip())
    assert snapshot == tmp_path / "cache/models--org--reranker/snapshots" / COMMIT
    assert (snapshot / "model.safetensors").read_bytes() == (MODEL / "model.safetensors").read_bytes()
    assert (tmp_path / "cache/models--org--reranker/refs/main").read_text() == COMMIT
    assert not hub.downloads("pytorch_model.bin") and not hub.downloads("model.onnx")
    again = len(hub.downloads("model.safetensors"))
    assert run("pull", REPO).returncode == 0
    assert len(hub.downloads("model.safetensors")) == again


# What a repository with files for other engines has; the best for int8 depends on the CPU.
ENGINE_FILES = {f"onnx/{name}": name.encode() * 2000 for name in (
    "model.onnx", "model.onnx_data", "model_fp16.onnx", "model_quint8_avx2.onnx", "model_qint8_avx512_vnni.onnx", "model_O3.onnx")} | {
    f"openvino/{name}": name.encode() for name in (
        "openvino_model.xml", "openvino_model.bin", "openvino_model_qint8_quantized.xml", "openvino_model_qint8_quantized.bin")}  # fmt: skip


@pytest.mark.parametrize(("backend", "precision", "files"), [
    ("onnx", "fp32", {"onnx/model.onnx", "onnx/model.onnx_data"}),
    ("tensorrt", "fp16", {"onnx/model_fp16.onnx"}),
    ("onnx", "int8", {"onnx/model_quint8_avx2.onnx", "onnx/model_qint8_avx512_vnni.onnx"}),
    ("openvino", "fp32", {"openvino/openvino_model.xml", "openvino/openvino_model.bin"}),
    ("openvino", "int8", {"openvino/openvino_model_qint8_quantized.xml", "openvino/openvino_model_qint8_quantized.bin"}),
])  # fmt: skip
def test_the_files_of_an_engine_are_pulled_for_its_backend(run, hub, backend, precision, files):
    hub.repos[REPO] = {**model_files(), **ENGINE_FILES}
    done = run("pull", REPO, "--backend", backend, "--precision", precision)
    assert done.returncode == 0 and "none of" not in done.stderr, done.stderr
    snapshot = pathlib.Path(done.stdout.strip())
    pulled = {str(p.relative_to(snapshot)) for folder in ("onnx", "openvino") for p in snapshot.glob(f"{folder}/*")}
    if (backend, precision) == ("onnx", "int8"):
        assert len(pulled) == 1 and pulled < files
    else:
        assert pulled == files
    assert all((snapshot / name).read_bytes() == ENGINE_FILES[name] for name in pulled)


def test_a_model_that_is_fetched_when_it_is_needed_comes_with_the_file_of_its_backend(run, hub, tmp_path):
    hub.repos[REPO] = {**model_files(), **ENGINE_FILES}
    run("score", "--model", REPO, "--backend", "openvino", "--precision", "int8", stdin="a\tb\n")  # runs where its engine is
    assert (tmp_path / f"cache/models--org--reranker/snapshots/{COMMIT}/openvino/openvino_model_qint8_quantized.bin").exists()
    assert not hub.downloads("openvino_model.xml") and not hub.downloads("model.onnx")


def test_a_repository_without_a_file_for_the_backend_says_so(run):
    done = run("pull", REPO, "--backend", "openvino", "--precision", "int8")
    assert done.returncode == 0
    assert "none of openvino/openvino_model_qint8_quantized.xml" in done.stderr and "runs its weights" in done.stderr
    wrong = run("pull", REPO, "--backend", "onix")
    assert wrong.returncode != 0 and "onix" in wrong.stderr


def test_a_model_by_its_name_is_pulled_and_scored(run, hub):
    first = run("score", "--model", REPO, stdin="a\tb\n")
    assert first.returncode == 0, first.stderr
    local = run("score", "--model", str(MODEL), stdin="a\tb\n")
    assert first.stdout == local.stdout
    hub.close()
    offline = run("score", "--model", REPO, stdin="a\tb\n", HF_HUB_OFFLINE="1")
    assert offline.stdout == local.stdout


def test_the_python_library_uses_our_cache_and_we_use_its(run, hub, tmp_path):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    assert run("pull", REPO).returncode == 0
    ours = huggingface_hub.snapshot_download(REPO, cache_dir=tmp_path / "cache", local_files_only=True)
    assert pathlib.Path(ours).name == COMMIT

    theirs = tmp_path / "theirs"
    hub.requests.clear()
    huggingface_hub.snapshot_download(REPO, cache_dir=theirs, endpoint=hub.endpoint, ignore_patterns=["onnx/*", "*.bin"])
    pulled = run("pull", REPO, HF_HUB_CACHE=str(theirs))
    assert pulled.returncode == 0, pulled.stderr
    assert len(hub.downloads("model.safetensors")) <= 2  # the library's own: redirect and content
    layout = [p.relative_to(tmp_path / "cache/models--org--reranker") for p in (tmp_path / "cache/models--org--reranker/snapshots").rglob("*")]
    assert all((theirs / "models--org--reranker" / p).exists() for p in layout)


def test_a_cut_connection_is_resumed(run, hub):
    hub.cut_after, hub.cuts_left = 7_000, 3
    assert run("pull", REPO).returncode == 0
    ranges = [r[2] for r in hub.requests if r[1].startswith("/cdn/") and r[1].endswith("model.safetensors")]
    assert ranges[:4] == [None, "bytes=7000-", "bytes=14000-", "bytes=21000-"]


def test_a_server_that_cannot_resume_starts_over(run, hub):
    hub.cut_after, hub.cuts_left, hub.ignore_ranges = 7_000, 1, True
    done = run("pull", REPO)
    assert done.returncode == 0, done.stderr
    weights = pathlib.Path(done.stdout.strip()) / "model.safetensors"
    assert weights.read_bytes() == (MODEL / "model.safetensors").read_bytes()


def test_what_was_cut_off_is_kept_for_the_next_pull(run, hub, tmp_path):
    hub.cut_after, hub.cuts_left = 5_000, 100
    failed = run("pull", REPO)
    assert failed.returncode == 1 and "model.safetensors" in failed.stderr
    assert any(f.endswith(".incomplete") for f in cache_files(tmp_path))
    hub.cuts_left = 0
    assert run("pull", REPO).returncode == 0
    assert not any(f.endswith(".incomplete") for f in cache_files(tmp_path))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_wrong_checksum_leaves_nothing_behind(run, hub, tmp_path, name):
    hub.corrupt = {name}
    failed = run("pull", REPO)
    assert failed.returncode == 1 and "checksum" in failed.stderr and name in failed.stderr
    assert not any(f.endswith(name) or f.endswith(".incomplete") for f in cache_files(tmp_path))


@pytest.mark.parametrize(("status", "says"), [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (404, "spelling"), (429, "7 s"), (500, "500")])
def test_refusals_say_what_to_do(run, hub, status, says):
    hub.status[REPO] = status
    failed = run("pull", REPO)
    assert failed.returncode == 1
    assert says in failed.stderr and REPO in failed.stderr


def test_unknown_repository(run):
    failed = run("pull", "org/unknown")
    assert failed.returncode == 1 and "org/unknown" in failed.stderr


def test_token_goes_to_the_hub_and_to_no_other_host(run, hub):
    hub.token = "secret"
    assert run("pull", REPO).returncode == 1
    hub.requests.clear()
    assert run("pull", REPO, HF_TOKEN="secret").returncode == 0
    assert all(r[3] == "Bearer secret" for r in hub.requests if not r[1].startswith("/cdn/"))
    assert all(r[3] is None for r in hub.requests if r[1].startswith("/cdn/"))


def test_repositories_that_are_no_reranker(run, hub):
    hub.repos["org/bare"] = {"README.md": b"hello"}
    hub.repos["org/pickled"] = {k: v for k, v in model_files().items() if "safetensors" not in k}
    hub.repos["org/llm"] = {**model_files(), "config.json": b'{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}'}
    for repo, says in [("org/bare", "config.json"), ("org/pickled", "safetensors"), ("org/llm", "LlamaForCausalLM")]:
        failed = run("pull", repo)
        assert failed.returncode == 1 and says in failed.stderr, failed.stderr
    assert not hub.downloads("org/llm/resolve/%s/model.safetensors" % COMMIT)


def test_offline_and_no_connection(run, hub):
    assert "HF_HUB_OFFLINE" in run("pull", REPO, HF_HUB_OFFLINE="1").stderr
    hub.close()
    failed = run("pull", REPO)
    assert failed.returncode == 1 and hub.endpoint in failed.stderr


def test_full_disk_is_an_error_and_leaves_no_file(run, hub, tmp_path):
    """A file system of 64 KiB, where the machine lets us mount one."""
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small]).returncode != 0:
        pytest.skip("needs to mount a small file system")
    try:
        failed = run("pull", REPO, HF_HUB_CACHE=str(small))
        assert failed.returncode == 1 and "disk full" in failed.stderr
        assert not list(small.rglob("snapshots/*/model.safetensors"))
    finally:
        subprocess.run(["umount", small], check=True)


def test_two_pulls_at_once_fetch_once(rerankd, run, hub, tmp_path):
    env = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(tmp_path / "cache")}
    pulls = [subprocess.Popen([rerankd, "pull", REPO], env=env, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [p.wait(timeout=60) for p in pulls] == [0, 0]
    content = [r for r in hub.requests if r[0] == "GET" and r[1].startswith("/cdn/")]
    assert len([r for r in content if r[1].endswith("model.safetensors")]) == 1


def test_a_killed_pull_shows_nobody_half_a_model_and_is_continued(rerankd, run, hub, tmp_path):
    hub.stall_after = 5_000
    env = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(tmp_path / "cache")}
    pull = subprocess.Popen([rerankd, "pull", f"{REPO}@{COMMIT}"], env=env, stderr=subprocess.DEVNULL)
    assert hub.stalled.wait(60)
    weights = hashlib.sha256(model_files()["model.safetensors"]).hexdigest()
    partial = tmp_path / f"cache/models--org--reranker/blobs/{weights}.incomplete"
    for _ in range(200):  # curl hands over what has arrived so far
        if partial.exists() and partial.stat().st_size == 5_000:
            break
        time.sleep(0.05)
    pull.kill()
    pull.wait()
    assert not any(f.endswith("model.safetensors") for f in cache_files(tmp_path))
    assert REPO not in run("models").stdout
    hub.stall_after = 0
    hub.requests.clear()
    scored = run("score", "--model", f"{REPO}@{COMMIT}", stdin="a\tb\n")  # pulls the rest by itself
    assert scored.returncode == 0, scored.stderr
    ranges = [r[2] for r in hub.requests if r[0] == "GET" and r[1].startswith("/cdn/") and "safetensors" in r[1]]
    assert ranges == ["bytes=5000-"]
    assert not any(f.endswith(".incomplete") for f in cache_files(tmp_path))


@pytest.mark.parametrize("command", [["pull"], ["serve", "--backend", "fake", "--model"]])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_download_can_be_interrupted(rerankd, hub, tmp_path, command, number):
    hub.stall_after = 5_000
    env = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen([rerankd, *command, REPO], env=env, stderr=subprocess.DEVNULL,
                               preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))  # ignored in jobs of a shell's background
    try:
        assert hub.stalled.wait(60)
        process.send_signal(number)
        assert process.wait(timeout=10) in (-number, 128 + number)
    finally:
        process.kill()
        process.wait()
    assert not any(f.endswith("model.safetensors") for f in cache_files(tmp_path))


def test_a_part_that_the_python_library_cached_is_completed(run, hub, tmp_path):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    huggingface_hub.hf_hub_download(REPO, "config.json", cache_dir=tmp_path / "cache", endpoint=hub.endpoint)
    assert "HF_HUB_OFFLINE" in run("score", "--model", REPO, stdin="a\tb\n", HF_HUB_OFFLINE="1").stderr
    scored = run("score", "--model", REPO, stdin="a\tb\n")
    assert scored.returncode == 0, scored.stderr
    assert len(hub.downloads("config.json")) == 1  # the library's


def test_the_python_library_goes_on_where_we_were_cut_off(run, hub, tmp_path):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    hub.cut_after, hub.cuts_left = 5_000, 100
    assert run("pull", REPO).returncode == 1
    hub.cuts_left = 0
    path = huggingface_hub.hf_hub_download(
        REPO, "model.safetensors", cache_dir=tmp_path / "cache", endpoint=hub.endpoint
    )
    assert pathlib.Path(path).read_bytes() == model_files()["model.safetensors"]


def test_a_lock_that_the_python_library_holds_is_waited_for(rerankd, hub, tmp_path):
    filelock = pytest.importorskip("filelock")
    weights = hashlib.sha256(model_files()["model.safetensors"]).hexdigest()
    lock = tmp_path / f"cache/.locks/models--org--reranker/{weights}.lock"
    lock.parent.mkdir(parents=True)
    env = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(tmp_path / "cache")}
    with filelock.FileLock(lock):
        pull = subprocess.Popen([rerankd, "pull", REPO], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):  # its last request before the lock
            if any(r[0] == "HEAD" and r[1].endswith("model.safetensors") for r in hub.requests):
                break
            time.sleep(0.05)
        time.sleep(0.3)
        assert pull.poll() is None and not hub.downloads("model.safetensors")
    assert pull.wait(timeout=60) == 0
    assert hub.downloads("model.safetensors")


def test_a_renamed_repository_is_followed(run, hub):
    hub.renamed = {"old/name": REPO}
    done = run("pull", "old/name")
    assert done.returncode == 0, done.stderr
    assert "models--old--name" in done.stdout


def test_redirects_without_end_are_an_error(run, hub):
    hub.renamed = {"a/b": "b/a", "b/a": "a/b"}
    failed = run("pull", "a/b")
    assert failed.returncode == 1 and "redirects" in failed.stderr


def test_home_of_hugging_face_holds_cache_and_token(run, hub, tmp_path):
    hub.token = "secret"
    home = tmp_path / "hf"
    home.mkdir()
    (home / "token").write_text("secret\n")
    done = run("pull", REPO, HF_HOME=str(home), HF_HUB_CACHE=None)
    assert done.returncode == 0, done.stderr
    assert pathlib.Path(done.stdout.strip()).is_relative_to(home / "hub/models--org--reranker")
    (tmp_path / "other").write_text("wrong")
    assert run("pull", REPO, HF_HOME=str(home), HF_TOKEN_PATH=str(tmp_path / "other")).returncode == 1


def test_only_the_shards_of_the_index_are_fetched(run, hub):
    sharded = {p.name: p.read_bytes() for p in (ROOT / "tests/data/sharded").iterdir()}
    hub.repos["org/sharded"] = {**sharded, "model.fp16.safetensors": b"z" * (LARGE + 1)}
    done = run("pull", "org/sharded")
    assert done.returncode == 0, done.stderr
    fetched = {p.name for p in pathlib.Path(done.stdout.strip()).iterdir()}
    assert {n for n in sharded if n.endswith((".safetensors", ".json"))} <= fetched
    assert "model.fp16.safetensors" not in fetched
    index = "model.safetensors.index.json"
    hub.repos["org/escaping"] = {**sharded, index: b'{"weight_map": {"a": "../../x.safetensors"}}'}
    failed = run("pull", "org/escaping")
    assert failed.returncode == 1 and "../../x.safetensors" in failed.stderr


def test_the_proxy_of_the_environment_is_used(run, hub):
    proxy = Proxy({"hub.test": hub.port, "localhost": hub.port})
    named = {"HF_ENDPOINT": "http://hub.test", "http_proxy": proxy.url}
    done = run("pull", REPO, **named)
    assert done.returncode == 0, done.stderr
    assert any(target.startswith("http://hub.test/api/models/") for _, target in proxy.requests)
    proxy.requests.clear()
    direct = run("pull", f"{REPO}@other", http_proxy=proxy.url, no_proxy="127.0.0.1")
    assert direct.returncode == 0 and not proxy.requests
    proxy.close()
    failed = run("pull", REPO, **named)
    assert failed.returncode == 1 and "hub.test" in failed.stderr


@pytest.fixture()
def tls_hub(tmp_path):
    """A hub with a certificate of its own authority, and the file of that authority."""
    key, certificate = tmp_path / "key.pem", tmp_path / "ca.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    hub = MockHub({REPO: model_files()}, certificate=both)
    yield hub, str(certificate)
    hub.close()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_an_authority_of_ones_own_is_trusted_when_named(run, tls_hub, variable):
    hub, certificate = tls_hub
    refused = run("pull", REPO, HF_ENDPOINT=hub.endpoint)
    assert refused.returncode == 1 and "SSL_CERT_FILE" in refused.stderr and hub.endpoint in refused.stderr
    assert not hub.requests
    done = run("pull", REPO, HF_ENDPOINT=hub.endpoint, **{variable: certificate})
    assert done.returncode == 0, done.stderr


def test_tls_goes_through_a_proxy(run, tls_hub):
    hub, certificate = tls_hub
    proxy = Proxy({"localhost": hub.port})
    try:
        done = run("pull", REPO, HF_ENDPOINT=hub.endpoint, https_proxy=proxy.url, SSL_CERT_FILE=certificate)
        assert done.returncode == 0, done.stderr
        assert {method for method, _ in proxy.requests} == {"CONNECT"}
    finally:
        proxy.close()


def test_an_unreadable_authority_file_is_named(run, tls_hub, tmp_path):
    hub, _ = tls_hub
    failed = run("pull", REPO, HF_ENDPOINT=hub.endpoint, SSL_CERT_FILE=str(tmp_path / "absent.pem"))
    assert failed.returncode == 1 and "absent.pem" in failed.stderr
