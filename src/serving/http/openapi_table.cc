// What /openapi.json says about each route, and the schemas of bodies.
#include "serving/http/openapi.h"

namespace rerankd::serving {
namespace {

constexpr RouteDoc kDocs[] = {
    {"POST", "/rerank", "rerank", "Rank texts (TEI), documents (infinity, Jina) or score text_pairs",
     "RerankByKeysRequest", "RerankByKeysReply"},
    {"POST", "/", "rerank", "The same as POST /rerank", "RerankByKeysRequest", "RerankByKeysReply"},
    {"POST", "/invocations", "rerank", "The same as POST /rerank, for SageMaker", "RerankByKeysRequest",
     "RerankByKeysReply"},
    {"POST", "/v1/rerank", "rerank", "Rank documents (Jina, Cohere v1, vLLM)", "DocumentsRequest",
     "DocumentsReply"},
    {"POST", "/v2/rerank", "rerank", "Rank documents (Cohere v2)", "DocumentsRequest", "CohereReply"},
    {"POST", "/predict", "score", "Score pairs, every label (TEI)", "PredictRequest", "PredictReply"},
    {"POST", "/score", "score", "Score pairs in input order (vLLM)", "ScoreRequest", "ScoreReply"},
    {"POST", "/v1/score", "score", "Score pairs in input order (vLLM)", "ScoreRequest", "ScoreReply"},
    {"POST", "/tokenize", "score", "Show the tokens of texts (TEI)", "TokenizeRequest", "TokenizeReply"},
    {"GET", "/v2", "open inference", "What this server is", "", "Object"},
    {"GET", "/v2/health/live", "open inference", "Whether the process answers", "", "Object"},
    {"GET", "/v2/health/ready", "open inference", "Whether requests are taken", "", "Object"},
    {"GET", "/v2/models/{model}", "open inference", "Inputs and outputs of a model", "", "Object"},
    {"GET", "/v2/models/{model}/ready", "open inference", "Whether a model takes requests", "", "Object"},
    {"POST", "/v2/models/{model}/infer", "open inference", "Score texts for a query", "InferRequest",
     "InferReply"},
    {"GET", "/v2/models/{model}/versions/{version}", "open inference", "The same; there is one version", "",
     "Object"},
    {"GET", "/v2/models/{model}/versions/{version}/ready", "open inference", "The same; there is one version",
     "", "Object"},
    {"POST", "/v2/models/{model}/versions/{version}/infer", "open inference",
     "The same; there is one version", "InferRequest", "InferReply"},
    {"GET", "/health", "server", "Whether the process answers", "", ""},
    {"GET", "/ping", "server", "Whether the process answers, for SageMaker", "", ""},
    {"GET", "/ready", "server", "Whether requests are taken", "", "Object"},
    {"GET", "/info", "server", "Model and limits (TEI)", "", "Object"},
    {"GET", "/models", "server", "The models", "", "ModelsReply"},
    {"GET", "/v1/models", "server", "The models", "", "ModelsReply"},
    {"GET", "/metrics", "server", "Metrics in Prometheus' text format", "", "text"},
    {"GET", "/metrics.json", "server", "Metrics as JSON", "", "Object"},
    {"GET", "/reset", "server", "Starts the JSON metrics anew", "", "Object"},
    {"GET", "/openapi.json", "server", "This description", "", "Object"},
    {"GET", "/docs", "server", "This description for people", "", "html"},
};

}  // namespace

std::span<const RouteDoc> RouteDocs() { return kDocs; }

const std::string_view kOpenApiSchemas = R"json({
"Object": {"type": "object"},
"Error": {"type": "object",
  "description": "In the dialect of the route: TEI error and error_type; documents message, detail and error.message; the Open Inference Protocol error."},
"Count": {"type": ["integer", "null"], "minimum": 0, "maximum": 2147483647},
"Flag": {"type": ["boolean", "null"]},
"Name": {"type": ["string", "null"]},
"Truncation": {"type": ["string", "null"], "enum": ["Left", "Right", "left", "right", null]},
"Limits": {"description": "How much of long texts is scored", "properties": {
  "max_tokens_per_doc": {"$ref": "#/components/schemas/Count"}, "max_tokens_per_query": {"$ref": "#/components/schemas/Count"},
  "overflow": {"type": ["string", "null"], "enum": ["truncate", "error", "max_window", null]},
  "max_chunks_per_doc": {"$ref": "#/components/schemas/Count"},
  "window": {"$ref": "#/components/schemas/Count"}, "stride": {"$ref": "#/components/schemas/Count"}}},
"TeiRequest": {"type": "object", "required": ["query", "texts"],
  "properties": {
    "query": {"type": "string", "minLength": 1},
    "texts": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    "raw_scores": {"$ref": "#/components/schemas/Flag"}, "return_text": {"$ref": "#/components/schemas/Flag"},
    "return_tokens": {"$ref": "#/components/schemas/Flag"}, "truncate": {"$ref": "#/components/schemas/Flag"},
    "truncation_direction": {"$ref": "#/components/schemas/Truncation"}}, "allOf": [{"$ref": "#/components/schemas/Limits"}],
  "not": {"anyOf": [{"required": ["documents"]}, {"required": ["text_pairs"]}]},
  "example": {"query": "what is tea", "texts": ["Tea is a drink.", "The moon orbits the earth."]}},
"TeiReply": {"type": "array", "items": {"type": "object", "required": ["index", "score"],
  "properties": {"index": {"type": "integer"}, "score": {"type": "number"}, "text": {"type": "string"},
    "tokens": {"type": "integer"}, "truncated": {"type": "boolean"}}}},
"Document": {"oneOf": [{"type": "string"},
  {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}]},
"DocumentsRequest": {"type": "object", "required": ["query", "documents"],
  "properties": {
    "query": {"type": "string", "minLength": 1},
    "documents": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Document"}},
    "model": {"$ref": "#/components/schemas/Name"},
    "top_n": {"$ref": "#/components/schemas/Count"},
    "return_documents": {"$ref": "#/components/schemas/Flag"}, "raw_scores": {"$ref": "#/components/schemas/Flag"},
    "use_activation": {"$ref": "#/components/schemas/Flag"},
    "rank_fields": {"type": ["array", "null"], "minItems": 1, "items": {"type": "string", "const": "text"}},
    "truncate_prompt_tokens": {"type": ["integer", "null"], "minimum": -1, "maximum": 2147483647, "not": {"const": 0}},
    "truncation_side": {"type": ["string", "null"], "enum": ["left", "right", null]}},
  "allOf": [{"$ref": "#/components/schemas/Limits"}],
  "example": {"model": "default", "query": "what is tea", "documents": ["Tea is a drink.", "The moon orbits the earth."]}},
"Result": {"type": "object", "required": ["index", "relevance_score", "tokens", "truncated"],
  "properties": {"index": {"type": "integer"}, "relevance_score": {"type": "number"}, "tokens": {"type": "integer"},
    "truncated": {"type": "boolean"}, "document": {}}},
"DocumentsReply": {"type": "object", "required": ["id", "model", "object", "usage", "results"],
  "properties": {"id": {"type": "string"}, "model": {"type": "string"}, "object": {"const": "rerank"},
    "usage": {"$ref": "#/components/schemas/Usage"}, "meta": {"type": "object"},
    "results": {"type": "array", "items": {"$ref": "#/components/schemas/Result"}}}},
"CohereReply": {"type": "object", "required": ["id", "results", "meta"],
  "properties": {"id": {"type": "string"}, "meta": {"type": "object"},
    "results": {"type": "array", "items": {"$ref": "#/components/schemas/Result"}}}},
"Usage": {"type": "object", "required": ["prompt_tokens", "total_tokens"],
  "properties": {"prompt_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}}},
"Pair": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "string"}},
"TextPairsRequest": {"type": "object", "required": ["text_pairs"],
  "properties": {"text_pairs": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Pair"}},
    "model": {"$ref": "#/components/schemas/Name"}, "return_tokens": {"$ref": "#/components/schemas/Flag"},
    "truncate": {"$ref": "#/components/schemas/Flag"},
    "truncation_direction": {"$ref": "#/components/schemas/Truncation"}}, "allOf": [{"$ref": "#/components/schemas/Limits"}],
  "not": {"anyOf": [{"required": ["documents"]}, {"required": ["texts"]}]}},
"TextPairsReply": {"type": "object", "required": ["scores"],
  "properties": {"scores": {"type": "array", "items": {"type": "number"}},
    "tokens": {"type": "array", "items": {"type": "integer"}},
    "truncated": {"type": "array", "items": {"type": "boolean"}}}},
"InfinityRequest": {"allOf": [{"$ref": "#/components/schemas/DocumentsRequest"},
  {"not": {"anyOf": [{"required": ["texts"]}, {"required": ["text_pairs"]}]}}]},
"RerankByKeysRequest": {"oneOf": [{"$ref": "#/components/schemas/TeiRequest"},
  {"$ref": "#/components/schemas/InfinityRequest"}, {"$ref": "#/components/schemas/TextPairsRequest"}]},
"RerankByKeysReply": {"oneOf": [{"$ref": "#/components/schemas/TeiReply"},
  {"$ref": "#/components/schemas/DocumentsReply"}, {"$ref": "#/components/schemas/TextPairsReply"}]},
"PredictRequest": {"type": "object", "required": ["inputs"],
  "properties": {
    "inputs": {"oneOf": [{"$ref": "#/components/schemas/Pair"},
      {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Pair"}}]},
    "raw_scores": {"$ref": "#/components/schemas/Flag"}, "truncate": {"$ref": "#/components/schemas/Flag"},
    "truncation_direction": {"$ref": "#/components/schemas/Truncation"}, "model": {"$ref": "#/components/schemas/Name"}}, "allOf": [{"$ref": "#/components/schemas/Limits"}],
  "example": {"inputs": [["what is tea", "Tea is a drink."]]}},
"PredictReply": {"type": "array"},
"Texts": {"oneOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": {"type": "string"}}]},
"ScoreRequest": {"type": "object", "required": ["text_1", "text_2"],
  "properties": {"text_1": {"type": "string"}, "text_2": {"$ref": "#/components/schemas/Texts"},
    "model": {"$ref": "#/components/schemas/Name"}, "use_activation": {"$ref": "#/components/schemas/Flag"}}, "allOf": [{"$ref": "#/components/schemas/Limits"}],
  "description": "Also N texts in text_1 for N in text_2; data_1 and data_2, queries and documents or items are other spellings.",
  "example": {"text_1": "what is tea", "text_2": ["Tea is a drink.", "The moon orbits the earth."]}},
"ScoreReply": {"type": "object", "required": ["id", "object", "model", "data", "usage"],
  "properties": {"id": {"type": "string"}, "object": {"const": "list"}, "created": {"type": "integer"},
    "model": {"type": "string"}, "usage": {"$ref": "#/components/schemas/Usage"},
    "data": {"type": "array", "items": {"type": "object", "required": ["index", "object", "score"],
      "properties": {"index": {"type": "integer"}, "object": {"const": "score"}, "score": {"type": "number"}}}}}},
"TokenizeRequest": {"type": "object", "required": ["inputs"],
  "properties": {"inputs": {"$ref": "#/components/schemas/Texts"}, "model": {"$ref": "#/components/schemas/Name"},
    "add_special_tokens": {"$ref": "#/components/schemas/Flag"}},
  "example": {"inputs": "what is tea"}},
"TokenizeReply": {"type": "array", "items": {"type": "array", "items": {"type": "object", "required": ["id", "text", "special"]}}},
"ModelsReply": {"type": "object", "required": ["object", "data"],
  "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": {"type": "object", "required": ["id"]}}}},
"StringTensor": {"type": "object", "required": ["name", "shape", "datatype", "data"],
  "properties": {"name": {"enum": ["query", "texts"]}, "datatype": {"const": "BYTES"},
    "shape": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1}}, "data": {"type": "array"}}},
"InferRequest": {"type": "object", "required": ["inputs"],
  "properties": {"id": {"type": "string"}, "parameters": {"type": "object"},
    "inputs": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"$ref": "#/components/schemas/StringTensor"}},
    "outputs": {"type": "array", "items": {"type": "object", "required": ["name"],
      "properties": {"name": {"enum": ["scores", "tokens", "truncated"]}}}}},
  "example": {"inputs": [{"name": "query", "shape": [1], "datatype": "BYTES", "data": ["what is tea"]},
    {"name": "texts", "shape": [2], "datatype": "BYTES", "data": ["Tea is a drink.", "The moon orbits the earth."]}]}},
"InferReply": {"type": "object", "required": ["model_name", "outputs"],
  "properties": {"model_name": {"type": "string"}, "id": {"type": "string"},
    "outputs": {"type": "array", "items": {"type": "object", "required": ["name", "datatype", "shape"]}}}}
})json";

const std::string_view kDocsPage = R"html(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>rerankd</title>
<meta name="viewport" content="width=device-width">
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff; }
h2 { border-bottom: 1px solid #ccc; text-transform: capitalize; }
summary { cursor: pointer; padding: .3rem 0; } code { font-weight: 600; }
.method { display: inline-block; width: 3.5rem; font: 600 12px monospace; color: #06c; }
textarea { width: 100%; min-height: 8rem; font: 13px monospace; box-sizing: border-box; }
pre { background: #f4f4f4; padding: .6rem; overflow: auto; max-height: 24rem; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } pre, textarea { background: #242424; color: #ddd; } .method { color: #6af; } }
</style></head><body>
<h1>rerankd</h1><p id="about"></p>
<p><label>API key <input id="key" type="password" autocomplete="off"></label> <a href="/openapi.json">openapi.json</a></p>
<main id="routes"></main>
<script>
const make = (tag, text, cls) => { const e = document.createElement(tag); if (text) e.textContent = text; if (cls) e.className = cls; return e; };
const resolve = (api, schema) => schema.$ref ? resolve(api, api.components.schemas[schema.$ref.split("/").pop()]) : schema;
const example = (api, schema) => { const s = resolve(api, schema); return s.example ?? (s.oneOf ? example(api, s.oneOf[0]) : {}); };
function route(api, path, method, op) {
  const box = make("details"), head = make("summary"), send = make("button", "send"), out = make("pre");
  head.append(make("span", method.toUpperCase(), "method"), make("code", path), " " + op.summary);
  box.append(head);
  let body;
  if (op.requestBody) {
    body = make("textarea");
    body.value = JSON.stringify(example(api, op.requestBody.content["application/json"].schema), null, 1);
    box.append(body);
  }
  send.onclick = async () => {
    const headers = body ? { "content-type": "application/json" } : {};
    const key = document.getElementById("key").value;
    if (key) headers.authorization = "Bearer " + key;
    const reply = await fetch(path, { method: method.toUpperCase(), headers, body: body && body.value });
    out.textContent = reply.status + "\n" + await reply.text();
  };
  if (!path.includes("{")) box.append(send, out);
  return box;
}
fetch("/openapi.json").then(r => r.json()).then(api => {
  document.getElementById("about").textContent = api.info.description;
  const groups = {};
  for (const [path, methods] of Object.entries(api.paths))
    for (const [method, op] of Object.entries(methods)) (groups[op.tags[0]] ??= []).push(route(api, path, method, op));
  for (const [tag, boxes] of Object.entries(groups)) document.getElementById("routes").append(make("h2", tag), ...boxes);
});
</script></body></html>
)html";

}  // namespace rerankd::serving
