"""The recipe: the fixed numbers of both students and the stages that lead to them."""

import pathlib

import numpy as np
import safetensors.numpy

import corpus
import encoding
import lexical
import pools
import quantization
import sampling
import students
import synthetic
import teacher
import trainer

SEED = 20261125
SYNTHETIC_QUERIES = 6000
VOCABULARY = 30522

SCHEDULES = {
    "default": trainer.Schedule(
        cycles=(
            trainer.Cycle(end=400, decay_from=290, rate=1.2e-4),
            trainer.Cycle(end=680, decay_from=500, rate=1e-4),
        ),
        warmup=40,
        groups_per_step=4,
        max_length=128,
        frozen=("bert.embeddings.", "bert.encoder.layer.0.", "bert.encoder.layer.1."),
    ),
    "tiny": trainer.Schedule(
        cycles=(trainer.Cycle(end=1500, decay_from=700, rate=5e-4),),
        warmup=50,
        groups_per_step=8,
        max_length=128,
    ),
}


def prepare(data: pathlib.Path, work: pathlib.Path) -> tuple[list[pools.Pool], trainer.PairTexts]:
    """Text, teacher embeddings and labelled candidate pools; embeddings are kept in `work`."""
    text = corpus.load(data)
    first_synthetic = len(text.queries)
    queries, sources = synthetic.make_queries(text.passages, SYNTHETIC_QUERIES, np.random.default_rng((SEED, 1)))
    text.queries.extend(queries)
    text.source.extend(sources)
    tokenizer = encoding.load_tokenizer(teacher.trunk_directory())
    texts = trainer.PairTexts(
        queries=encoding.encode_texts(tokenizer, text.queries),
        passages=encoding.encode_texts(tokenizer, text.passages),
    )
    signals = pools.Signals(
        query_vectors=_embeddings(work / "query_vectors.safetensors", texts.queries),
        passage_vectors=_embeddings(work / "passage_vectors.safetensors", texts.passages),
        query_ids=texts.queries,
        scorer=lexical.LexicalScorer(texts.passages, VOCABULARY),
    )
    return pools.build(text, signals, first_synthetic, np.random.default_rng((SEED, 2))), texts


def _embeddings(path: pathlib.Path, texts: list[np.ndarray]) -> np.ndarray:
    """Teacher embeddings of `texts`, from `path` if they were made before: float32 [texts, 384]."""
    if path.exists():
        vectors = safetensors.numpy.load_file(path)["vectors"]
        if len(vectors) == len(texts):
            return vectors
    vectors = teacher.embed(texts)
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file({"vectors": vectors}, path)
    return vectors


def train(name: str, all_pools: list[pools.Pool], texts: trainer.PairTexts, work: pathlib.Path, threads: int) -> bool:
    """Trains student `name` to the end of its schedule; False if it was stopped before."""
    schedule = SCHEDULES[name]
    model = students.build(name, teacher.trunk_directory(), SEED)
    stream = sampling.GroupStream(all_pools, SEED, schedule.groups_per_step)
    return trainer.Trainer(model, schedule, work / name).run(stream, texts, threads)


def export(name: str, work: pathlib.Path, out: pathlib.Path):
    """Writes the latest checkpoint of `name` to `out/name` in the storage format, and as it is to `work`."""
    model = students.build(name, teacher.trunk_directory(), SEED)
    model.load_state_dict(trainer.checkpoint_weights(work / name))
    quantization.save_packed(model, teacher.trunk_directory(), out / name)
    quantization.save_plain(model, teacher.trunk_directory(), work / name / "unquantised")
    log = work / name / trainer.LOG_NAME
    (out / name / trainer.LOG_NAME).write_bytes(log.read_bytes())
