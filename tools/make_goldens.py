#!/usr/bin/env python3
"""Regenerates the golden logits that the parity tests compare with (tests/parity/README.md).

    python tools/make_goldens.py random                                  # tests/data/*: small random models
    python tools/make_goldens.py model --model build/minilm --name minilm --data ../shared/data

A development tool: needs torch, transformers and safetensors, which neither the build nor the tests do.
Logits are those of transformers in fp32, one pair at a time, so that no padding takes part.
"""

import argparse
import hashlib
import json
import pathlib
import shutil
import sys

import safetensors.torch
import tokenizers
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools" / "train"))
import quantization  # noqa: E402  the int8 storage format

PARITY = ROOT / "tests" / "parity"
DATA = ROOT / "tests" / "data"
OWN_PAIRS = 200
RANDOM_PAIRS = 40
DL19_RANKS = [1, 16, 31, 46, 61, 76, 91]  # of each query's run: 43 * 7 = 301 pairs
SEED = 20240607

# The random models. The stored precision is applied before the goldens are computed.
RANDOM_MODELS = {
    "tiny-random": dict(hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=160,
                        max_position_embeddings=128, labels=1, act="gelu", storage="F32"),
    "labels3-f16": dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
                        max_position_embeddings=64, labels=3, act="gelu_new", storage="F16"),
    "relu-bf16": dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=72,
                      max_position_embeddings=96, labels=2, act="relu", storage="BF16"),
    "sharded": dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                    max_position_embeddings=96, labels=1, act="gelu", storage="sharded"),
    "int8": dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=1, intermediate_size=96,
                 max_position_embeddings=64, labels=1, act="gelu", storage="rerankd-int8"),
}

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
EXTRA_CHARACTERS = "東京日本°½∑é"
SUFFIXES = "ing ed er est ly s es tion ment ness able al ous ive ity ic ant ent ers en th".split()


def own_texts():
    texts = json.loads((PARITY / "texts.json").read_text(encoding="utf-8"))
    return texts["queries"], texts["documents"]


def own_pairs(count):
    """`count` different (query index, document index), spread evenly; query i meets document i early."""
    queries, documents = own_texts()
    pairs = [(q, (q + step) % len(documents)) for step in range(len(documents)) for q in range(len(queries))]
    return pairs[:: len(pairs) // count][:count]


def vocabulary():
    """Pieces for the random models: ASCII, then the most frequent words of our own texts, some suffixes."""
    queries, documents = own_texts()
    words = tokenizers.pre_tokenizers.BertPreTokenizer()
    normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    counts = {}
    for text in queries + documents:
        for word, _ in words.pre_tokenize_str(normalizer.normalize_str(text)):
            if word.isascii() and 1 < len(word) < 15:
                counts[word] = counts.get(word, 0) + 1
    characters = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    alphanumeric = [c for c in characters if c.isalnum()]
    pieces = SPECIAL + characters + list(EXTRA_CHARACTERS) + ["##" + c for c in alphanumeric]
    pieces += ["##" + suffix for suffix in SUFFIXES if len(suffix) > 1]
    pieces += sorted(counts, key=lambda word: (-counts[word], word))
    return list(dict.fromkeys(pieces))[:512]


def write_tokenizer(folder, pieces):
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": None,
                "tokenize_chinese_chars": True, "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]",
                "cls_token": "[CLS]", "mask_token": "[MASK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")


def bert_tokenizer(folder):
    """The fast tokenizer of a model folder, from tokenizer.json where there is one, else from vocab.txt."""
    if (folder / "tokenizer.json").exists():
        return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer = tokenizers.implementations.BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)._tokenizer
    # The template that transformers writes; the class above has an older form of the same.
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")])
    return tokenizer


def random_config(spec, vocab_size):
    labels = {i: f"LABEL_{i}" for i in range(spec["labels"])}
    sizes = {key: value for key, value in spec.items() if key not in ("labels", "act", "storage")}
    return transformers.BertConfig(
        vocab_size=vocab_size, hidden_act=spec["act"], id2label=labels,
        label2id={name: i for i, name in labels.items()}, type_vocab_size=2, **sizes)


def randomise(model):
    """Weights that make every part matter: uneven attention, shifted LayerNorms, logits spread over units."""
    generator = torch.Generator().manual_seed(SEED)
    normal = lambda shape: torch.randn(shape, generator=generator)
    for name, weight in model.named_parameters():
        if "LayerNorm.weight" in name:
            value = 1 + 0.2 * normal(weight.shape)
        elif weight.dim() == 1:
            value = 0.2 * normal(weight.shape)
        elif "embeddings" in name:
            value = normal(weight.shape)
        else:
            gain = 4 if name.startswith("classifier") else 1.4
            value = gain * normal(weight.shape) / weight.shape[1] ** 0.5
        weight.data.copy_(value)


def round_to_storage(model, storage):
    """Changes the weights to what the file will hold; returns the tensors to store."""
    weights = model.state_dict()
    if storage == "rerankd-int8":
        stored = quantization.pack(weights)
        model.load_state_dict(quantization.unpack(stored))
        return stored
    dtype = {"F16": torch.float16, "BF16": torch.bfloat16}.get(storage, torch.float32)
    stored = {name: weight.to(dtype).contiguous() for name, weight in weights.items()}
    model.load_state_dict({name: weight.float() for name, weight in stored.items()})
    return stored


def save_weights(folder, stored, storage):
    if storage != "sharded":
        safetensors.torch.save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(stored)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, members in shards.items():
        safetensors.torch.save_file({n: stored[n] for n in members}, folder / file, metadata={"format": "pt"})
    weight_map = {name: file for file, members in shards.items() for name in members}
    total = sum(tensor.numel() * tensor.element_size() for tensor in stored.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def save_config(folder, config, storage):
    values = config.to_dict()
    for key in ("_name_or_path", "transformers_version", "dtype"):
        values.pop(key, None)
    values["architectures"] = ["BertForSequenceClassification"]
    if storage == "rerankd-int8":
        values["quantization_config"] = quantization.QUANTIZATION_CONFIG
    (folder / "config.json").write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")


def encode(tokenizer, query, document, max_length):
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    return tokenizer.encode(query, document)


def score(model, encoding):
    """The logits of one pair as a list of floats."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([encoding.ids]), token_type_ids=torch.tensor([encoding.type_ids]),
                       attention_mask=torch.ones((1, len(encoding.ids)), dtype=torch.long)).logits
    return logits[0].tolist()


def golden_rows(model, tokenizer, named_pairs):
    """[query name, document name, tokens, logit…] of (name, name, query, document), and the fp64 distance."""
    max_length = model.config.max_position_embeddings
    encodings = [encode(tokenizer, query, document, max_length) for _, _, query, document in named_pairs]
    single = [score(model, encoding) for encoding in encodings]
    double = model.double()
    distance = max(abs(a - b) for encoding, logits in zip(encodings, single)
                   for a, b in zip(logits, score(double, encoding)))
    model.float()
    rows = [[q, d, len(e.ids), *logits] for (q, d, _, _), e, logits in zip(named_pairs, encodings, single)]
    return rows, distance


def write_rows(path, rows, names):
    lines = ["\t".join(names + ["tokens", *(f"logit{i}" for i in range(len(rows[0]) - 3))])]
    for query, document, tokens, *logits in rows:
        lines.append("\t".join([str(query), str(document), str(tokens), *("%.9g" % x for x in logits)]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def summary(rows, distance):
    logits = torch.tensor([row[3:] for row in rows], dtype=torch.float64)
    return {"pairs": len(rows), "logit_mean": round(logits.mean().item(), 4), "logit_std": round(logits.std().item(), 4),
            "fp64_max_abs_difference": float("%.3g" % distance)}


def record(path, values):
    versions = {"torch": torch.__version__, "transformers": transformers.__version__,
                "tokenizers": tokenizers.__version__, "python": sys.version.split()[0]}
    path.write_text(json.dumps({"versions": versions, **values}, indent=1, sort_keys=True) + "\n")


def named_own_pairs(count):
    queries, documents = own_texts()
    return [(q, d, queries[q], documents[d]) for q, d in own_pairs(count)]


def make_random(name, spec, pieces):
    folder = DATA / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_tokenizer(folder, pieces)
    tokenizer = bert_tokenizer(folder)
    if name == "tiny-random":
        tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    model = transformers.BertForSequenceClassification(random_config(spec, len(pieces))).eval()
    randomise(model)
    save_weights(folder, round_to_storage(model, spec["storage"]), spec["storage"])
    save_config(folder, model.config, spec["storage"])
    rows, distance = golden_rows(model, tokenizer, named_own_pairs(RANDOM_PAIRS))
    write_rows(folder / "golden.tsv", rows, ["query", "document"])
    files = {path.name: sha256(path) for path in sorted(folder.glob("*.safetensors"))}
    return {"own": summary(rows, distance), "sha256": files, **spec}


def make_all_random():
    pieces = vocabulary()
    models = {name: make_random(name, spec, pieces) for name, spec in RANDOM_MODELS.items()}
    record(DATA / "goldens.json", {"seed": SEED, "models": models})


def dl19_pairs(folder):
    """(query id, document id, query, passage) of the fixed ranks of the BM25 run."""
    read = lambda name: (json.loads(line) for line in open(folder / name, encoding="utf-8"))
    queries = {line["_id"]: line["text"] for line in read("queries.jsonl")}
    run = [line.split() for line in open(folder / "runs" / "bm25.top100.trec")]
    chosen = [(qid, docid) for qid, _, docid, rank, *_ in run if int(rank) in DL19_RANKS]
    wanted = {docid for _, docid in chosen}
    corpus = {line["_id"]: line for line in read("corpus.jsonl") if line["_id"] in wanted}
    passage = lambda line: (line["title"] + " " + line["text"]) if line.get("title") else line["text"]
    return [(qid, docid, queries[qid], passage(corpus[docid])) for qid, docid in chosen]


def make_model(folder, name, data):
    model = quantization.load(folder)
    tokenizer = bert_tokenizer(folder)
    results = {"sha256": {"model.safetensors": sha256(folder / "model.safetensors")}}
    sets = {"own": (named_own_pairs(OWN_PAIRS), ["query", "document"])}
    if data is not None:
        sets["dl19"] = (dl19_pairs(data / "msmarco-dl19"), ["query_id", "document_id"])
    for set_name, (pairs, names) in sets.items():
        rows, distance = golden_rows(model, tokenizer, pairs)
        write_rows(PARITY / f"{name}_{set_name}.tsv", rows, names)
        results[set_name] = summary(rows, distance)
    record(PARITY / f"{name}.json", results)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("random", help="the small random models and their goldens in tests/data")
    model = commands.add_parser("model", help="goldens of a model folder, fp32 or rerankd-int8")
    model.add_argument("--model", required=True, type=pathlib.Path)
    model.add_argument("--name", required=True, help="goldens are called NAME_own.tsv, NAME_dl19.tsv, NAME.json")
    model.add_argument("--data", type=pathlib.Path, help="folder that holds msmarco-dl19; without it no DL19 goldens")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.command == "random":
        make_all_random()
    else:
        make_model(arguments.model, arguments.name, arguments.data)


if __name__ == "__main__":
    main()
