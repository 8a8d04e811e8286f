"""The recipe: the fixed numbers of both students and the stages that lead to them."""

import dataclasses
import pathlib
import shutil
from typing import Callable

import numpy as np
import safetensors.numpy
import scipy.sparse
import torch

import corpus
import encoding
import lexical
import pools
import quantization
import sampling
import sparse_teacher
import students
import synthetic
import teacher
import trainer

SEED = 20261125
VOCABULARY = 30522
REFINEMENT_LOG = "refinement_log.jsonl"

@dataclasses.dataclass(frozen=True)
class FirstStage:
    """What a student learns from first, and how long.

    vectors: makes the teacher's of queries and passages, once for a work folder. made_queries: how many are made from
    passages. shares: how often a group's query is of each kind.
    """

    vectors: Callable[[trainer.PairTexts, pathlib.Path], tuple]
    made_queries: int
    mining: pools.Mining
    labels: pools.LabelWeights
    shares: dict[pools.Kind, float]
    schedule: trainer.Schedule


def _dense_vectors(texts: trainer.PairTexts, work: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Those of the bi-encoder: float32 [queries, 384] and [passages, 384]."""
    return (
        _embeddings(work / "query_vectors.safetensors", texts.queries),
        _embeddings(work / "passage_vectors.safetensors", texts.passages),
    )


def _sparse_vectors(texts: trainer.PairTexts, work: pathlib.Path) -> tuple[scipy.sparse.csr_matrix, ...]:
    """Those of the small SPLADE encoder: float32 [queries, pieces] and [passages, pieces]."""
    paths = [work / "query_weights.npz", work / "passage_weights.npz"]
    if not all(path.exists() for path in paths):
        work.mkdir(parents=True, exist_ok=True)
        for path, vectors in zip(paths, sparse_teacher.embed(texts.queries, texts.passages, torch.get_num_threads())):
            scipy.sparse.save_npz(path, vectors)
    return tuple(scipy.sparse.load_npz(path) for path in paths)


FIRST_STAGES = {
    "default": FirstStage(
        vectors=_dense_vectors,
        made_queries=6000,
        mining=pools.Mining(nearest=64, lexical=0, least_similarity=0.45),
        labels=pools.LabelWeights(similarity=12.0, lexical=2.5, splade=6.0, splade_centre=0.4, grade=0.65),
        shares=sampling.KIND_SHARES,
        schedule=trainer.Schedule(
            cycles=(
                trainer.Cycle(end=400, decay_from=290, rate=1.2e-4),
                trainer.Cycle(end=680, decay_from=500, rate=1e-4),
            ),
            warmup=40,
            groups_per_step=4,
            max_length=128,
            frozen=("bert.embeddings.", "bert.encoder.layer.0.", "bert.encoder.layer.1."),
        ),
    ),
    "tiny": FirstStage(
        vectors=_sparse_vectors,
        made_queries=0,
        mining=pools.Mining(nearest=30, lexical=40, least_similarity=0.0),
        labels=pools.LabelWeights(
            similarity=3.0, similarity_centre=3.3, lexical=1.0, splade=5.0, splade_centre=0.6, grade=0.65
        ),
        shares={pools.Kind.RUN: 0.25, pools.Kind.PAIR: 0.4, pools.Kind.MINED: 0.35},
        schedule=trainer.Schedule(
            cycles=(trainer.Cycle(end=1000, decay_from=60, rate=8e-4),),
            warmup=60,
            groups_per_step=8,
            max_length=128,
            frozen=("bert.embeddings.word_embeddings.", "bert.embeddings.position_embeddings."),
            groups_per_task=4,
            pairs_per_batch=16,
        ),
    ),
}


# The second stage: the same student, only queries with runs, labels without a teacher.
REFINEMENTS = {
    "default": trainer.Schedule(
        cycles=(trainer.Cycle(end=400, decay_from=150, rate=8e-5),),
        warmup=10,
        groups_per_step=4,
        max_length=128,
        frozen=("bert.embeddings.", "bert.encoder.layer.0.", "bert.encoder.layer.1."),
    ),
}


def prepare(name: str, data: pathlib.Path, work: pathlib.Path) -> tuple[list[pools.Pool], trainer.PairTexts]:
    """Text, teacher's vectors and pools of the first stage of student `name`; the vectors are kept in `work`."""
    stage = FIRST_STAGES[name]
    text = corpus.load(data)
    first_synthetic = len(text.queries)
    queries, sources = synthetic.make_queries(text.passages, stage.made_queries, np.random.default_rng((SEED, 1)))
    text.queries.extend(queries)
    text.source.extend(sources)
    texts = _encoded(text)
    scorer = lexical.LexicalScorer(texts.passages, VOCABULARY)
    signals = pools.Signals(texts.queries, scorer, *stage.vectors(texts, work))
    rng = np.random.default_rng((SEED, 2))
    return pools.build(text, signals, stage.mining, stage.labels, first_synthetic, rng), texts


def prepare_runs(data: pathlib.Path) -> tuple[list[pools.Pool], trainer.PairTexts]:
    """Text and pools of the second stage: of the queries that have runs."""
    text = corpus.load(data)
    texts = _encoded(text)
    signals = pools.Signals(texts.queries, lexical.LexicalScorer(texts.passages, VOCABULARY))
    return pools.build_from_runs(text, signals, np.random.default_rng((SEED, 3))), texts


def _encoded(text: corpus.TrainingText) -> trainer.PairTexts:
    tokenizer = encoding.load_tokenizer(teacher.trunk_directory())
    return trainer.PairTexts(
        queries=encoding.encode_texts(tokenizer, text.queries),
        passages=encoding.encode_texts(tokenizer, text.passages),
    )


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


def train(name: str, data: pathlib.Path, work: pathlib.Path, threads: int) -> bool:
    """First stage of student `name`, packed into `work/first/name`; False if it was stopped before its end."""
    stage = FIRST_STAGES[name]
    torch.set_num_threads(threads)  # The training of another student before leaves it at one.
    all_pools, texts = prepare(name, data, work)
    model = students.build(name, SEED)
    stream = sampling.GroupStream(all_pools, SEED, stage.schedule.groups_per_step, stage.shares)
    if not trainer.Trainer(model, stage.schedule, work / name).run(stream, texts, threads):
        return False
    packed = first_stages(work) / name
    quantization.save_packed(model, teacher.trunk_directory(), packed)
    shutil.copyfile(work / name / trainer.LOG_NAME, packed / trainer.LOG_NAME)
    return True


def first_stages(work: pathlib.Path) -> pathlib.Path:
    """Folder of the packed first stages that were trained in `work`."""
    return work / "first"


def refine(name: str, start: pathlib.Path, data: pathlib.Path, work: pathlib.Path, threads: int) -> bool:
    """Second stage of student `name` from the packed directory `start`; False if it was stopped before its end."""
    schedule = REFINEMENTS[name]
    run_pools, texts = prepare_runs(data)
    stream = sampling.GroupStream(run_pools, SEED + 1, schedule.groups_per_step)
    return trainer.Trainer(quantization.load(start), schedule, _refined(work, name)).run(stream, texts, threads)


def _refined(work: pathlib.Path, name: str) -> pathlib.Path:
    return work / name / "refined"


def export(name: str, start: pathlib.Path, work: pathlib.Path, out: pathlib.Path):
    """Writes the latest checkpoint of `name`'s last stage to `out/name` in the storage format, and as it is to `work`.

    start: packed first stage; its log is copied.
    """
    trunk = teacher.trunk_directory()
    model = quantization.load(start)
    first_log = (start / trainer.LOG_NAME).read_bytes()  # `start` may be the directory that is written.
    refined = name in REFINEMENTS
    model.load_state_dict(trainer.checkpoint_weights(_refined(work, name) if refined else work / name))
    quantization.save_packed(model, trunk, out / name)
    quantization.save_plain(model, trunk, work / name / "unquantised")
    (out / name / trainer.LOG_NAME).write_bytes(first_log)
    if refined:
        shutil.copyfile(_refined(work, name) / trainer.LOG_NAME, out / name / REFINEMENT_LOG)
