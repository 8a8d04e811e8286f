"""The window of dynamic batching and the threads of the tokenizer pool, with the real binary."""
import concurrent.futures
import json
import pathlib
import time

from served import Served, wait_for

BODY = {"query": "what is tea", "texts": ["a drink made from leaves", "a river in the north"]}
WINDOW = "batching: {{enabled: true, max_batch_size: 4, timeout_ms: {ms}{more}}}\n"


def rerank(served, body=BODY):
    """Seconds until the answer."""
    start = time.monotonic()
    assert served.http("POST", "/rerank", body)[0] == 200
    return time.monotonic() - start


def test_a_lone_request_waits_for_the_window_and_no_longer(rerankd):
    with Served(rerankd, "--backend", "fake", config=WINDOW.format(ms=700, more="")) as served:
        assert 0.69 < rerank(served) < 20


def test_a_full_window_is_released_at_once(rerankd):
    with Served(rerankd, "--backend", "fake", config=WINDOW.format(ms=20_000, more="")) as served:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert max(pool.map(lambda _: rerank(served), range(4))) < 15


def test_a_window_is_also_full_at_its_tokens(rerankd):
    with Served(rerankd, "--backend", "fake", config=WINDOW.format(ms=20_000, more=", max_batch_tokens: 50")) as served:
        assert rerank(served, {"query": "q", "texts": ["word " * 100]}) < 15


def test_scores_of_a_sorted_window_return_to_their_own_texts(rerankd):
    """Four requests of different lengths in one batch, sorted by length: each gets the scores that it gets alone."""
    bodies = [{"query": f"query {i}", "texts": ["word " * n for n in (40 - i, 1 + i, 20)]} for i in range(4)]
    with Served(rerankd, "--backend", "native") as plain:
        alone = [json.loads(plain.http("POST", "/rerank", body)[2]) for body in bodies]
    with Served(rerankd, "--backend", "native", config=WINDOW.format(ms=20_000, more=", length_aware: true")) as served:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda body: json.loads(served.http("POST", "/rerank", body)[2]), bodies))
    assert together == alone


def test_the_tokenizer_pool_has_its_threads_and_all_of_them_work(rerankd):
    with Served(rerankd, "--backend", "fake", config="tokenizer_pool: {num_workers: 3}\n") as served:

        def pool():
            tasks = pathlib.Path(f"/proc/{served.process.pid}/task").iterdir()
            return [task for task in tasks if (task / "comm").read_text().startswith("tokenizer-")]

        wait_for(lambda: len(pool()) == 3, "not three threads that name themselves")
        threads = pool()

        def worked(task):  # nanoseconds on a core
            return int((task / "schedstat").read_text().split()[0])

        before = [worked(task) for task in threads]
        texts = ["a drink made from the leaves of a plant that grows on hills " * 20] * 200
        for i in range(100):
            rerank(served, {"query": f"q{i}", "texts": [f"{i} {j} {text}" for j, text in enumerate(texts)]})
            if all(worked(task) - start > 1_000_000 for task, start in zip(threads, before)):
                return
        raise AssertionError("a thread did not tokenise")
