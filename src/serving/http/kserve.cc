// The Open Inference Protocol (KServe v2) over HTTP. Inputs: `query`, BYTES [1] or [N], and `texts`, BYTES
// [N]. Outputs in input order: `scores`, FP32 [N] or [N, labels]; `tokens`, INT32 [N]; `truncated`, BOOL [N].
#include <charconv>

#include "core/scoring.h"
#include "serving/http/calls.h"
#include "serving/http/kserve_tensors.h"
#include "serving/http/routes.h"

namespace rerankd::serving {
namespace {

std::string KserveError(const Failure& failure) { return Dump({{"error", failure.status.message()}}); }

// The protocol knows 400 for what is wrong with a request.
Failure Invalid(const Status& status) { return {status, status.code() == Code::kInvalidArgument ? 400 : 0}; }

HttpReply JsonReply(const Json& json, int status = 200) {
  HttpReply reply;
  reply.status = status;
  reply.body = Dump(json);
  return reply;
}

Json Tensor(const char* name, const char* datatype, std::vector<int64_t> shape) {
  return {{"name", name}, {"datatype", datatype}, {"shape", std::move(shape)}};
}

HttpReply ServerMetadata() {
  return JsonReply({{"name", "rerankd"},
                    {"version", RERANKD_VERSION},
                    {"extensions", Json::array({"binary_tensor_data"})}});
}

HttpReply Alive(const ScoreService& service) {
  const bool ready = service.Ready().ok();
  return JsonReply({{"live", true}, {"ready", ready}}, ready ? 200 : 503);
}

HttpReply ModelMetadata(const ModelInfo& model) {
  const Json scores = model.num_labels == 1 ? Tensor("scores", "FP32", {-1})
                                            : Tensor("scores", "FP32", {-1, model.num_labels});
  return JsonReply({{"name", model.name},
                    {"platform", "rerankd_safetensors"},
                    {"inputs", Json::array({Tensor("query", "BYTES", {-1}), Tensor("texts", "BYTES", {-1})})},
                    {"outputs", Json::array({scores, Tensor("tokens", "INT32", {-1}),
                                             Tensor("truncated", "BOOL", {-1})})}});
}

HttpReply ModelReady(const ScoreService& service, const ModelInfo& model) {
  const bool ready = service.Ready(&model).ok();
  return JsonReply({{"name", model.name}, {"ready", ready}}, ready ? 200 : 503);
}

Result<std::optional<size_t>> JsonBytes(const HttpRequest& request) {
  const std::string_view text = request.Header("inference-header-content-length");
  if (text.empty()) return std::optional<size_t>();
  size_t bytes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  if (error == std::errc() && end == text.data() + text.size()) return std::optional(bytes);
  return InvalidArgument("inference-header-content-length: '" + std::string(text) + "' is not a size");
}

// One query for all texts, or one each.
Result<ScoreRequest> MakeRequest(InferCall* call) {
  const StringTensor* query = call->Find("query");
  const StringTensor* texts = call->Find("texts");
  if (query == nullptr || texts == nullptr || call->inputs.size() != 2)
    return InvalidArgument("`inputs` must be the two tensors `query` and `texts`");
  const size_t queries = query->values.size(), count = texts->values.size();
  if (count == 0) return InvalidArgument("input 'texts' is empty: send at least 1 text");
  if (queries != 1 && queries != count)
    return InvalidArgument("input 'query' must have 1 value or as many as 'texts' (" + std::to_string(count) +
                           "), not " + std::to_string(queries));
  if (queries == 1) return ScoreRequest::ForQuery(query->values[0], texts->values);
  std::vector<TextPair> pairs;
  for (size_t i = 0; i < count; ++i) pairs.emplace_back(query->values[i], texts->values[i]);
  return ScoreRequest::ForPairs(std::move(pairs));
}

// Parameter `activation`: raw (default), model, sigmoid or softmax.
Result<std::optional<Activation>> ReadActivation(const Json& parameters) {
  RERANKD_ASSIGN_OR_RETURN(const std::string name, OptionalString(parameters, "activation", "raw"));
  if (name == "model") return std::optional<Activation>();
  const Result<Activation> activation = ParseActivation(name);
  if (activation.ok()) return std::optional(*activation);
  return InvalidArgument("parameter `activation` must be raw, model, sigmoid or softmax, not '" + name + "'");
}

Result<HttpReply> MakeReply(const InferCall& call, std::optional<Activation> activation, const Answer& answer,
                            const ModelInfo& model) {
  std::vector<float> scores = answer.result.logits;
  const int labels = answer.result.num_labels;
  Activate(activation.value_or(model.activation), labels, scores);
  const auto count = static_cast<int64_t>(scores.size()) / labels;
  const std::vector<int64_t> shape =
      labels == 1 ? std::vector<int64_t>{count} : std::vector<int64_t>{count, labels};
  const OutputTensor outputs[] = {Fp32Tensor("scores", shape, scores),
                                  Int32Tensor("tokens", answer.result.tokens),
                                  BoolTensor("truncated", answer.result.truncated)};
  InferBody body = FormatInferReply(call, model.name, outputs);
  HttpReply reply;
  if (body.has_binary) {
    reply.content_type = "application/octet-stream";
    reply.headers.emplace_back("inference-header-content-length", std::to_string(body.json_bytes));
  }
  reply.body = std::move(body.text);
  return reply;
}

void Infer(const Call& call, const ModelInfo& model) {
  const Result<std::optional<size_t>> json_bytes = JsonBytes(call.request);
  if (!json_bytes.ok()) return call.Refuse(Invalid(json_bytes.status()));
  Result<InferCall> asked = ParseInferCall(call.request.body, *json_bytes);
  if (!asked.ok()) return call.Refuse(Invalid(asked.status()));
  const auto activation = ReadActivation(asked->parameters);
  if (!activation.ok()) return call.Refuse(Invalid(activation.status()));
  Result<ScoreRequest> score = MakeRequest(&*asked);
  if (!score.ok()) return call.Refuse(Invalid(score.status()));
  TextLimits limits;
  Status read = ReadTeiTruncation(asked->parameters, &limits);
  if (read.ok()) read = ReadOverflowOptions(asked->parameters, &limits.overflow);
  if (read.ok()) read = CheckOutputs(*asked);
  if (!read.ok()) return call.Refuse(Invalid(read));
  score->pair_options = limits.pair;
  score->overflow = limits.overflow;
  asked->inputs.clear();
  SubmitCall(
      call, model.name, std::move(*score),
      [asked = std::move(*asked), activation = *activation](const Answer& answer, const ModelInfo& ran) {
        return MakeReply(asked, activation, answer, ran);
      });
}

// `answer` for the model that the path names.
template <typename Answers>
Handler ForModel(ScoreService& service, Answers answer) {
  return [&service, answer](HttpRequest& request, const Respond& respond) {
    const Result<const ModelInfo*> model = service.engine().FindModel(request.path_parts.front());
    if (!model.ok()) return RespondError(respond, KserveError, {model.status()});
    answer(**model, request, respond);
  };
}

void AddModelRoutes(ScoreService& service, const std::string& prefix, Router* router) {
  const Handler ready =
      ForModel(service, [&service](const ModelInfo& model, HttpRequest&, const Respond& respond) {
        RespondWith(respond, ModelReady(service, model));
      });
  const Handler metadata =
      ForModel(service, [](const ModelInfo& model, HttpRequest&, const Respond& respond) {
        RespondWith(respond, ModelMetadata(model));
      });
  const Handler infer =
      ForModel(service, [&service](const ModelInfo& model, HttpRequest& request, const Respond& respond) {
        Infer({service, "/v2/models/{model}/infer", KserveError, request, respond}, model);
      });
  router->Add({"POST", prefix + "/infer", infer, KserveError, Access::kKey});
  router->Add({"GET", prefix + "/ready", ready, KserveError, Access::kOpen});
  router->Add({"GET", prefix, metadata, KserveError, Access::kKey});
}

}  // namespace

void AddKserveRoutes(ScoreService& service, Router* router) {
  const auto get = [router](const char* path, auto make, Access access) {
    router->Add({"GET", path, [make](HttpRequest&, const Respond& respond) { RespondWith(respond, make()); },
                 KserveError, access});
  };
  get("/v2", ServerMetadata, Access::kKey);
  get(
      "/v2/health/live",
      [] {
        return JsonReply({{"live", true}});
      },
      Access::kOpen);
  get(
      "/v2/health/ready", [&service] { return Alive(service); }, Access::kOpen);
  AddModelRoutes(service, "/v2/models/{model}/versions/{version}", router);
  AddModelRoutes(service, "/v2/models/{model}", router);
}

}  // namespace rerankd::serving
