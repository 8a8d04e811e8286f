// The Open Inference Protocol (KServe v2) over HTTP. Inputs: `query`, BYTES [1] or [N], and `texts`, BYTES
// [N]. Outputs in input order: `scores`, FP32 [N] or [N, labels]; `tokens`, INT32 [N]; `truncated`, BOOL [N].
#include <charconv>

#include "serving/error_map.h"
#include "serving/http/calls.h"
#include "serving/http/kserve_tensors.h"
#include "serving/http/routes.h"

namespace rerankd::serving {
namespace {

std::string KserveError(const Failure& failure) { return Dump({{"error", ClientMessage(failure.status)}}); }

// The protocol knows 400 for what is wrong with a request.
Failure Invalid(const Status& status) { return {status, status.code() == Code::kInvalidArgument ? 400 : 0}; }

HttpReply JsonReply(const Json& json, int status = 200) {
  HttpReply reply;
  reply.status = status;
  reply.body = Dump(json);
  return reply;
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

Json Tensors(const std::vector<KserveTensor>& tensors) {
  Json list = Json::array();
  for (const KserveTensor& tensor : tensors)
    list.push_back({{"name", tensor.name}, {"datatype", tensor.datatype}, {"shape", tensor.shape}});
  return list;
}

HttpReply ModelMetadata(const ModelInfo& model) {
  return JsonReply({{"name", model.name},
                    {"platform", std::string(kKservePlatform)},
                    {"inputs", Tensors(KserveInputs())},
                    {"outputs", Tensors(KserveOutputs(model.num_labels))}});
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

Result<HttpReply> MakeReply(const InferCall& call, const Answer& answer) {
  RERANKD_ASSIGN_OR_RETURN(const auto outputs, MakeKserveOutputs(call.call, answer.result));
  InferBody body = FormatInferReply(call, outputs);
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
  Result<InferCall> asked = ParseInferCall(model, call.request.body, *json_bytes);
  if (!asked.ok()) return call.Refuse(Invalid(asked.status()));
  Result<ScoreRequest> score = TakeScoreRequest(&asked->call);
  if (!score.ok()) return call.Refuse(Invalid(score.status()));
  SubmitCall(call, model.name, std::move(*score),
             [asked = std::move(*asked)](const Answer& answer, const ModelInfo&) {
               return MakeReply(asked, answer);
             });
}

// `answer` for the model that the path names; `route` labels the metrics.
template <typename Answers>
Handler ForModel(ScoreService& service, std::string_view route, Answers answer) {
  return [&service, route, answer](HttpRequest& request, const Respond& respond) {
    const std::vector<std::string>& parts = request.path_parts;
    const Result<const ModelInfo*> model =
        FindKserveModel(service.engine(), parts[0], parts.size() > 1 ? parts[1] : "");
    if (!model.ok()) return Call{service, route, KserveError, request, respond}.Refuse({model.status()});
    answer(**model, request, respond);
  };
}

constexpr std::string_view kMetadata = "/v2/models/{model}", kReady = "/v2/models/{model}/ready",
                           kInfer = "/v2/models/{model}/infer";

void AddModelRoutes(ScoreService& service, const std::string& prefix, Router* router) {
  const Handler ready =
      ForModel(service, kReady, [&service](const ModelInfo& model, HttpRequest&, const Respond& respond) {
        RespondWith(respond, ModelReady(service, model));
      });
  const Handler metadata =
      ForModel(service, kMetadata, [](const ModelInfo& model, HttpRequest&, const Respond& respond) {
        RespondWith(respond, ModelMetadata(model));
      });
  const Handler infer = ForModel(
      service, kInfer, [&service](const ModelInfo& model, HttpRequest& request, const Respond& respond) {
        Infer({service, kInfer, KserveError, request, respond}, model);
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
