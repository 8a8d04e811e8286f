#!/usr/bin/env python3
"""One peer in a process of its own: loads a model, then scores whatever requests come in, text in to score out.

Started by run.py. Each line of standard input is {"requests": [[query, [document, …]], …]}; the answer is one line,
{"seconds": …, "scores": [[…], …], "rss_mb": …}. Loading and reading the line are not timed, tokenising is. Every peer runs
with the settings that were found best for it on 2 cores (docs/benchmarks/peers.md): sentence-transformers as people call
it, a predict() a query; ONNX Runtime and OpenVINO on pairs sorted by their number of tokens, in slices padded to their
own longest, without waiting between queries.
"""
import argparse
import json
import os
import pathlib
import queue
import sys
import threading
import time

MAX_TOKENS = 512


class SentenceTransformers:
    """CrossEncoder.predict, torch fp32."""

    def __init__(self, options, model):
        import torch
        from sentence_transformers import CrossEncoder

        torch.set_num_threads(options.threads)
        self.batch_size = options.batch_size
        self.model = CrossEncoder(str(model), device="cpu", max_length=MAX_TOKENS)
        self.logit = torch.nn.Identity()

    def score(self, requests):
        return [
            self.model.predict([(query, d) for d in documents], batch_size=self.batch_size, show_progress_bar=False,
                               activation_fn=self.logit).tolist()
            for query, documents in requests
        ]  # fmt: skip


class Sliced:
    """Tokenises a request, sorts its pairs by length and hands slices of them to run(inputs, done)."""

    def __init__(self, options, tokenizer):
        import numpy
        from tokenizers import Tokenizer

        self.numpy, self.batch_size = numpy, options.batch_size
        self.tokenizer = Tokenizer.from_file(str(tokenizer))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.no_padding()

    def score(self, requests):
        scores = [[0.0] * len(documents) for _, documents in requests]
        for result, (query, documents) in zip(scores, requests):
            encodings = self.tokenizer.encode_batch([(query, d) for d in documents])
            order = sorted(range(len(documents)), key=lambda i: len(encodings[i].ids))
            for first in range(0, len(order), self.batch_size):
                places = order[first : first + self.batch_size]
                self.run(self.inputs([encodings[i] for i in places]), self.writer(result, places))
        self.finish()
        return scores

    def inputs(self, encodings):
        longest = max(len(e.ids) for e in encodings)
        ids, mask, types = (self.numpy.zeros((len(encodings), longest), dtype="int64") for _ in range(3))
        for row, e in enumerate(encodings):
            ids[row, : len(e.ids)], types[row, : len(e.ids)], mask[row, : len(e.ids)] = e.ids, e.type_ids, 1
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}

    @staticmethod
    def writer(result, places):
        def write(logits):
            for place, logit in zip(places, logits.reshape(-1).tolist()):
                result[place] = logit

        return write


class OnnxRuntime(Sliced):
    """A single-threaded session a core, each fed by a thread of its own."""

    def __init__(self, options, model):
        super().__init__(options, model.parent / "tokenizer.json")
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        self.waiting = queue.Queue(maxsize=4 * options.threads)
        for _ in range(options.threads):
            session = onnxruntime.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])
            threading.Thread(target=self.work, args=(session,), daemon=True).start()

    def work(self, session):
        names = {i.name for i in session.get_inputs()}
        while True:
            inputs, done = self.waiting.get()
            done(session.run(None, {k: v for k, v in inputs.items() if k in names})[0])
            self.waiting.task_done()

    def run(self, inputs, done):
        self.waiting.put((inputs, done))

    def finish(self):
        self.waiting.join()


class OpenVino(Sliced):
    """Throughput hint, a stream a core, two infer requests a stream."""

    def __init__(self, options, model):
        super().__init__(options, model.parent / "tokenizer.json")
        import openvino

        settings = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(options.threads),
                    "INFERENCE_NUM_THREADS": str(options.threads), "INFERENCE_PRECISION_HINT": options.hint}  # fmt: skip
        compiled = openvino.Core().compile_model(str(model), "CPU", settings)
        self.names = {name for i in compiled.inputs for name in i.names}
        self.jobs = openvino.AsyncInferQueue(compiled, 2 * options.threads)
        self.jobs.set_callback(lambda request, done: done(request.get_output_tensor(0).data))

    def run(self, inputs, done):
        self.jobs.start_async({k: v for k, v in inputs.items() if k in self.names}, done)

    def finish(self):
        self.jobs.wait_all()


KINDS = {"sentence-transformers": SentenceTransformers, "onnxruntime": OnnxRuntime, "openvino": OpenVino}


def peak_rss_mb():
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("model", type=pathlib.Path, help="model folder, or the file that prepare.py made")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--hint", default="f32", help="OpenVINO's INFERENCE_PRECISION_HINT")
    options = parser.parse_args()
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="true", RAYON_NUM_THREADS=str(options.threads))

    peer = KINDS[options.kind](options, options.model)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        requests = json.loads(line)["requests"]
        start = time.perf_counter()
        scores = peer.score(requests)
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "scores": scores, "rss_mb": peak_rss_mb()}), flush=True)


if __name__ == "__main__":
    main()
