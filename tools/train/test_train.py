"""Tests of the recipe's parts that need neither the data nor the pretrained trunk.

    python -m pytest tools/train
"""

import dataclasses
import gzip
import json

import numpy as np
import pytest
import scipy.sparse
import torch
import transformers

import corpus
import encoding
import forward
import lexical
import pools
import quantization
import sampling
import sparse_teacher
import students
import synthetic
import trainer


def small_model(seed: int = 0, layers: int = 1) -> transformers.BertForSequenceClassification:
    torch.manual_seed(seed)
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=200,
            hidden_size=32,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            num_labels=1,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


def some_pools(count: int = 6, size: int = 40) -> list[pools.Pool]:
    rng = np.random.default_rng(3)
    ranked = lambda: -np.sort(-rng.normal(size=size)).astype(np.float32)
    passages = np.arange(size, dtype=np.int32)
    return [pools.Pool(query, pools.Kind(query % 4), passages, ranked()) for query in range(count)]


def some_texts() -> trainer.PairTexts:
    rng = np.random.default_rng(4)
    text = lambda length: rng.integers(110, 200, size=length).astype(np.int32)
    return trainer.PairTexts([text(4) for _ in range(6)], [text(5 + i % 20) for i in range(40)])


CYCLES = (trainer.Cycle(end=4, decay_from=3, rate=1e-3), trainer.Cycle(end=6, decay_from=5, rate=1e-3))
SCHEDULE = trainer.Schedule(cycles=CYCLES, warmup=2, groups_per_step=2, max_length=24, frozen=("bert.embeddings.word",))


# --- Storage format -----------------------------------------------------------------------------


def test_unpacking_restores_every_weight_within_half_a_step():
    weights = small_model().state_dict()
    restored = quantization.unpack(quantization.pack(weights))
    assert restored.keys() == weights.keys()
    for name, weight in weights.items():
        step = weight.abs().amax(dim=-1, keepdim=True) / quantization.LEVELS
        assert torch.all((restored[name] - weight).abs() <= 0.5 * step * (1 + 1e-5)), name


def test_packing_what_was_unpacked_changes_nothing():
    stored = quantization.pack(small_model().state_dict())
    again = quantization.pack(quantization.unpack(stored))
    assert all(torch.equal(again[name], stored[name]) for name in stored if stored[name].dtype == torch.int8)


def test_matrices_are_int8_with_row_scales_and_the_classifier_is_not():
    stored = quantization.pack(small_model().state_dict())
    name = "bert.encoder.layer.0.intermediate.dense.weight"
    assert stored[name].dtype == torch.int8
    assert stored[name + "_scale"].shape == (64,)
    assert stored[name + "_scale"].dtype == torch.float32
    assert stored["classifier.weight"].dtype == torch.float32
    assert int(stored[name].min()) >= -127


def test_a_row_of_zeros_survives():
    stored = quantization.pack({"x.weight": torch.tensor([[0.0, 0.0], [1.0, -2.0]])})
    assert torch.equal(quantization.unpack(stored)["x.weight"][0], torch.zeros(2))


# --- Pairs and batches --------------------------------------------------------------------------


def test_a_pair_keeps_the_query_and_cuts_the_passage():
    ids, types = encoding.pair_ids(np.arange(200, 204), np.arange(300, 340), max_length=16)
    assert ids.tolist() == [101, 200, 201, 202, 203, 102, *range(300, 309), 102]
    assert types.tolist() == [0] * 6 + [1] * 10


def test_padding_is_masked():
    batch = encoding.pad_batch([encoding.single_ids(np.arange(n), 16) for n in (1, 3)])
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch["input_ids"][0, 3:].tolist() == [0, 0]


# --- Data ---------------------------------------------------------------------------------------


@pytest.fixture
def data_folder(tmp_path):
    """A miniature data folder; one passage and one query also stand in the development set."""

    def write(path, records, opener=open):
        path.parent.mkdir(parents=True, exist_ok=True)
        with opener(path, "wt") as out:
            out.writelines(json.dumps(r) + "\n" for r in records)

    write(tmp_path / "msmarco-dl19" / "corpus.jsonl", [{"_id": "1", "title": "", "text": "Held back, this one."}])
    write(tmp_path / "msmarco-dl19" / "queries.jsonl", [{"_id": "1", "text": "held query"}])
    distill = tmp_path / "distill"
    passages = [
        {"_id": "a", "text": "First passage."},
        {"_id": "b", "text": "held back: THIS one"},
        {"_id": "c", "text": "first passage"},
    ]
    write(distill / "corpus.jsonl.gz", passages, gzip.open)
    queries = [{"_id": "q", "text": "a query"}, {"_id": "h", "text": "Held query?"}]
    write(distill / "queries.jsonl.gz", queries, gzip.open)
    write(tmp_path / "msmarco-v1.1-pairs" / "pairs.jsonl", [{"query": "pair query", "document": "pair document"}])
    (distill / "qrels").mkdir()
    (distill / "qrels" / "dl21.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\nq\tb\t3\nq\tc\t2\nq\tz\t3\n")
    (distill / "runs").mkdir()
    for system in corpus.RUN_SYSTEMS:
        for collection in corpus.RUN_COLLECTIONS:
            with gzip.open(distill / "runs" / f"{collection}.{system}.trec.gz", "wt") as out:
                out.write("q Q0 a 1 2.5 x\nq Q0 b 2 1.5 x\n")
    return tmp_path


def test_text_of_the_development_set_is_dropped(data_folder):
    text = corpus.load(data_folder)
    assert text.passages == ["First passage.", "pair document"]
    assert text.queries == ["a query", "pair query"]
    assert text.source == [-1, 1]


def test_judgements_follow_the_deduplicated_text(data_folder):
    text = corpus.load(data_folder)
    assert text.judgements == {0: {0: 2}}
    assert text.runs[0]["splade"] == {0: 2.5}


def test_made_queries_name_what_a_passage_is_about():
    passages = ["A mitochondrion is an organelle of the cell.", "How old is it? Nobody knows.", "ab cd."]
    queries, sources = synthetic.make_queries(passages, 10, np.random.default_rng(0))
    made = dict(zip(sources, queries))
    assert made[0] == "what is mitochondrion"
    assert made[1] == "how old is it?"


def test_lexical_score_is_higher_where_more_query_words_stand():
    passages = [np.array(p) for p in ([5, 6, 7], [5, 8, 9], [10, 11, 12])]
    score = lexical.LexicalScorer(passages, 16).score(np.array([5, 6]), np.arange(3))
    assert score[0] > score[1] > score[2] == 0.0
    assert score[0] <= 1.0


def test_the_best_passages_are_those_of_the_highest_scores():
    rng = np.random.default_rng(6)
    passages = [rng.integers(16, size=12) for _ in range(50)]
    queries = [rng.integers(16, size=3) for _ in range(4)]
    scorer = lexical.LexicalScorer(passages, 16)
    for query, best in zip(queries, scorer.best(queries, 5), strict=True):
        scores = scorer.score(query, np.arange(50))
        assert sorted(scores[best].tolist()) == pytest.approx(np.sort(scores)[-5:].tolist())


def some_signals(vectors) -> pools.Signals:
    """Two queries and 30 passages; `vectors` makes what is stored of a dense matrix."""
    rng = np.random.default_rng(7)
    passages = [rng.integers(16, size=6) for _ in range(30)]
    matrices = [np.maximum(rng.normal(size=(count, 8)), 0.0).astype(np.float32) for count in (2, 30)]
    queries = [np.array([3]), np.array([5, 6])]
    return pools.Signals(queries, lexical.LexicalScorer(passages, 16), *map(vectors, matrices))


def first_stage_pools(signals: pools.Signals, mining: pools.Mining) -> list[pools.Pool]:
    text = corpus.TrainingText(["p"] * 30, ["with a passage", "without"], source=[29, -1], runs={}, judgements={})
    weights = pools.LabelWeights(similarity=2.0, lexical=1.0, splade=0.0, splade_centre=0.0, grade=0.5)
    return pools.build(text, signals, mining, weights, first_synthetic=2, rng=np.random.default_rng(0))


def test_sparse_vectors_give_the_pools_of_dense_ones():
    mining = pools.Mining(nearest=5, lexical=4, least_similarity=0.0)
    dense = first_stage_pools(some_signals(np.asarray), mining)
    sparse = first_stage_pools(some_signals(scipy.sparse.csr_matrix), mining)
    assert [p.kind for p in dense] == [pools.Kind.PAIR, pools.Kind.MINED]
    for a, b in zip(dense, sparse, strict=True):
        assert a.passages.tolist() == b.passages.tolist()
        assert a.targets.tolist() == pytest.approx(b.targets.tolist(), abs=1e-5)


def test_candidates_are_the_nearest_and_the_best_by_words_and_the_own_passage():
    signals = some_signals(np.asarray)
    pool = first_stage_pools(signals, pools.Mining(nearest=3, lexical=2, least_similarity=0.0))[0]
    similarities = signals.similarity(0, np.arange(30))
    assert {29, *np.argsort(-similarities)[:3].tolist()} <= set(pool.passages.tolist())
    assert set(signals.scorer.best(signals.query_ids[:1], 2)[0].tolist()) <= set(pool.passages.tolist())


def test_a_query_without_a_near_passage_is_left_out_unless_it_has_its_own():
    pool_list = first_stage_pools(some_signals(np.asarray), pools.Mining(nearest=3, lexical=0, least_similarity=1e3))
    assert [p.query for p in pool_list] == [0]


def test_sparse_weights_are_the_largest_logit_of_each_piece_that_was_asked_for():
    torch.manual_seed(8)
    config = small_model().config
    model = transformers.BertForMaskedLM(config).eval()
    texts = [np.arange(110, 110 + length) for length in (3, 9, 5)]
    pieces = np.array([2, 50, 120, 199])
    found = sparse_teacher._weights(model, texts, pieces, threads=2).toarray()
    for text, weights in zip(texts, found, strict=True):
        logits = model(**encoding.pad_batch([encoding.single_ids(text, 24)])).logits[0]
        expected = torch.log1p(torch.relu(logits.amax(dim=0)))[pieces]
        assert weights.tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    assert found.max() > 0.0


def test_second_stage_labels_follow_the_run_and_the_judgements():
    text = corpus.TrainingText(
        passages=["p"] * 30,
        queries=["q", "without runs"],
        source=[-1, -1],
        runs={0: {"bm25": {0: 2.0, 1: 1.0}, "splade": {1: 9.0, 2: 6.0, 3: 5.0}}},
        judgements={0: {3: 3, 4: 0}},
    )
    texts = [np.array([5]) for _ in range(30)]
    signals = pools.Signals([np.array([6]), np.array([6])], lexical.LexicalScorer(texts, 16))
    (pool,) = pools.build_from_runs(text, signals, np.random.default_rng(0))
    wanted = dict(zip(pool.passages.tolist(), pool.targets.tolist()))
    assert {0, 1, 2, 3, 4} <= wanted.keys() and pool.query == 0
    assert pool.targets.tolist() == sorted(pool.targets.tolist(), reverse=True)
    assert wanted[1] > wanted[2] > wanted[0]  # By the SPLADE run; 0 is not in it.
    assert wanted[3] > wanted[2]  # Last of the run, but judged perfect.
    assert wanted[4] > wanted[0]  # Grade 0 is -4, less bad than what no signal wants.


# --- Students -----------------------------------------------------------------------------------


def test_the_trunk_of_a_masked_language_model_is_read_under_old_names():
    weights = {f"bert.{name}": weight for name, weight in small_model().bert.state_dict().items()}
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): weight
           for name, weight in weights.items()}  # fmt: skip
    read = students.trunk_weights(old | {"cls.predictions.bias": torch.zeros(200)})
    assert read.keys() == small_model().bert.state_dict().keys()
    assert all(torch.equal(read[name.removeprefix("bert.")], weight) for name, weight in weights.items())


# --- Sampling and training ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, 40, 81, 300])
def test_a_group_takes_distinct_positions_from_top_to_bottom(size):
    picks = sampling.stratified(size, np.random.default_rng(1))
    assert len(set(picks.tolist())) == sampling.GROUP_SIZE
    assert picks.tolist() == sorted(picks.tolist())
    assert picks[-1] < size


def test_a_pool_smaller_than_a_group_is_refused():
    with pytest.raises(ValueError, match="pool of 7"):
        sampling.stratified(7, np.random.default_rng(1))


def test_a_step_depends_on_its_number_and_the_seed_only():
    step = lambda seed, number: [g.passages.tolist() for g in sampling.GroupStream(some_pools(), seed, 4).step(number)]
    assert step(1, 5) == step(1, 5)
    assert step(1, 5) != step(1, 6)
    assert step(1, 5) != step(2, 5)


def test_kinds_without_a_share_are_never_drawn():
    stream = sampling.GroupStream(some_pools(), 1, 64, {pools.Kind.PAIR: 1.0, pools.Kind.MINED: 1.0})
    assert {group.query % 4 for group in stream.step(0)} == {pools.Kind.PAIR, pools.Kind.MINED}


def test_the_loss_is_zero_for_the_wanted_scores_and_grows_with_a_wrong_order():
    wanted = torch.tensor([[3.0, 0.0, -3.0]])
    assert trainer.distillation_loss(wanted, wanted).item() == pytest.approx(0.0, abs=1e-6)
    assert trainer.distillation_loss(wanted.flip(1), wanted) > trainer.distillation_loss(wanted * 0.5, wanted)


def test_the_rate_rises_stays_and_falls_in_every_cycle():
    cycles = (trainer.Cycle(end=6, decay_from=4, rate=1.0), trainer.Cycle(end=9, decay_from=9, rate=0.5))
    schedule = trainer.Schedule(cycles=cycles, warmup=2, groups_per_step=1, max_length=8)
    assert [schedule.rate_at(step) for step in range(10)] == [0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.25, 0.5, 0.5, 0.0]
    assert schedule.steps == 9


def train(folder, schedule, threads: int = 1) -> trainer.Trainer:
    student = trainer.Trainer(small_model(), schedule, folder)
    assert student.run(sampling.GroupStream(some_pools(), 1, schedule.groups_per_step), some_texts(), threads)
    return student


def log_of(folder) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / trainer.LOG_NAME).read_text().splitlines()]


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    train(tmp_path / "whole", SCHEDULE)
    # The first cycle alone, then on with both.
    train(tmp_path / "halves", dataclasses.replace(SCHEDULE, cycles=CYCLES[:1]))
    train(tmp_path / "halves", SCHEDULE)
    assert log_of(tmp_path / "halves") == log_of(tmp_path / "whole")
    whole, halves = (trainer.checkpoint_weights(tmp_path / f) for f in ("whole", "halves"))
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_the_number_of_threads_changes_nothing(tmp_path):
    train(tmp_path / "one", SCHEDULE, threads=1)
    train(tmp_path / "two", SCHEDULE, threads=2)
    assert log_of(tmp_path / "one") == log_of(tmp_path / "two")


def test_groups_computed_together_have_the_gradient_of_groups_alone(tmp_path):
    alone = trainer.Trainer(small_model(), SCHEDULE, tmp_path / "alone")
    schedule = dataclasses.replace(SCHEDULE, groups_per_task=2, pairs_per_batch=16)
    together = trainer.Trainer(small_model(), schedule, tmp_path / "together")
    groups = sampling.GroupStream(some_pools(), 1, 2).step(0)
    (first, of_first), (second, of_second) = (alone._gradients([group], some_texts()) for group in groups)
    loss, gradients = together._gradients(groups, some_texts())
    assert loss == pytest.approx((first + second) / 2, rel=1e-5)
    for whole, a, b in zip(gradients, of_first, of_second, strict=True):
        assert torch.allclose(whole, (a + b) / 2, atol=1e-6)


def test_tasks_that_do_not_fill_a_step_are_refused():
    with pytest.raises(ValueError, match="2 groups of a step do not fill tasks of 3"):
        dataclasses.replace(SCHEDULE, groups_per_task=3)


def test_frozen_weights_stay_and_others_move(tmp_path):
    before = small_model().state_dict()
    train(tmp_path, SCHEDULE)
    after = trainer.checkpoint_weights(tmp_path)
    name = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(before[name], after[name])
    assert not torch.equal(before["classifier.weight"], after["classifier.weight"])


def test_scores_come_back_in_the_order_of_their_pairs(tmp_path):
    model = small_model()
    student = trainer.Trainer(model, SCHEDULE, tmp_path)
    rows = some_texts().rows(sampling.GroupStream(some_pools(), 1, 2).step(0)[0], 24)
    alone = [model(**encoding.pad_batch([row])).logits.item() for row in rows]
    assert student._scores(rows).tolist() == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("layers", [1, 3])
def test_the_short_forward_pass_gives_the_logits_of_the_whole_one(layers):
    model = small_model(layers=layers)
    batch = encoding.pad_batch(some_texts().rows(sampling.GroupStream(some_pools(), 1, 2).step(0)[0], 24))
    assert torch.allclose(forward.logits(model, batch), model(**batch).logits, atol=1e-6)
