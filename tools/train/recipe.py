"""The recipe: the fixed numbers of both students and the stages that lead to them."""

import pathlib
import shutil

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
REFINEMENT_LOG = "refinement_log.jsonl"

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


# The second stage: the same student, only queries with runs, labels without the bi-encoder.
REFINEMENTS = {
    "default": trainer.Schedule(
        cycles=(trainer.Cycle(end=400, decay_from=150, rate=8e-5),),
        warmup=10,
        groups_per_step=4,
        max_length=128,
        frozen=("bert.embeddings.", "bert.encoder.layer.0.", "bert.encoder.layer.1."),
    ),
    "tiny": trainer.Schedule(
        cycles=(trainer.Cycle(end=400, decay_from=200, rate=3e-4),),
        warmup=20,
        groups_per_step=8,
        max_length=128,
        frozen=("bert.embeddings.word_embeddings.",),
    ),
}


def prepare(data: pathlib.Path, work: pathlib.Path) -> tuple[list[pools.Pool], trainer.PairTexts]:
    """Text, teacher embeddings and pools of the first stage; embeddings are kept in `work`."""
    text = corpus.load(data)
    first_synthetic = len(text.queries)
    queries, sources = synthetic.make_queries(text.passages, SYNTHETIC_QUERIES, np.random.default_rng((SEED, 1)))
    text.queries.extend(queries)
    text.source.extend(sources)
    texts = _encoded(text)
    signals = pools.Signals(
        query_ids=texts.queries,
        scorer=lexical.LexicalScorer(texts.passages, VOCABULARY),
        query_vectors=_embeddings(work / "query_vectors.safetensors", texts.queries),
        passage_vectors=_embeddings(work / "passage_vectors.safetensors", texts.passages),
    )
    return pools.build(text, signals, first_synthetic, np.random.default_rng((SEED, 2))), texts


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


def train(name: str, all_pools: list[pools.Pool], texts: trainer.PairTexts, work: pathlib.Path, threads: int) -> bool:
    """First stage of student `name`, packed into `work/first/name`; False if it was stopped before its end."""
    schedule = SCHEDULES[name]
    trunk = teacher.trunk_directory()
    model = students.build(name, trunk, SEED)
    stream = sampling.GroupStream(all_pools, SEED, schedule.groups_per_step)
    if not trainer.Trainer(model, schedule, work / name).run(stream, texts, threads):
        return False
    packed = first_stages(work) / name
    quantization.save_packed(model, trunk, packed)
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
    """Writes the latest refinement of `name` to `out/name` in the storage format, and as it is to `work`.

    start: packed first stage; its log is copied.
    """
    trunk = teacher.trunk_directory()
    model = quantization.load(start)
    model.load_state_dict(trainer.checkpoint_weights(_refined(work, name)))
    first_log = (start / trainer.LOG_NAME).read_bytes()  # `start` may be the directory that is written.
    quantization.save_packed(model, trunk, out / name)
    quantization.save_plain(model, trunk, work / name / "unquantised")
    (out / name / trainer.LOG_NAME).write_bytes(first_log)
    shutil.copyfile(_refined(work, name) / trainer.LOG_NAME, out / name / REFINEMENT_LOG)
