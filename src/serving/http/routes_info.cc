// What the server says about itself: health, readiness, model, metrics.
#include "serving/http/json.h"
#include "serving/http/rerank.h"
#include "serving/http/routes.h"

namespace rerankd::serving {
namespace {

HttpReply JsonReply(const Json& json) {
  HttpReply reply;
  reply.body = Dump(json);
  return reply;
}

HttpReply Ready(const ScoreService& service) {
  const Status ready = service.Ready();
  return ready.ok() ? JsonReply({{"ready", true}}) : ErrorReply(TeiDialect().error, {ready});
}

Json ModelType(const ModelInfo& model) {
  Json id2label = Json::object(), label2id = Json::object();
  for (size_t i = 0; i < model.labels.size(); ++i) {
    id2label[std::to_string(i)] = model.labels[i];
    label2id[model.labels[i]] = i;
  }
  return {{model.num_labels == 1 ? "reranker" : "classifier",
           {{"id2label", std::move(id2label)}, {"label2id", std::move(label2id)}}}};
}

Json Instances(const Engine& engine) {
  Json list = Json::array();
  for (const InstanceInfo& instance : engine.instances()) {
    list.push_back({{"name", instance.name},
                    {"model", engine.models()[static_cast<size_t>(instance.model)].name},
                    {"backend", instance.caps.name},
                    {"device", instance.caps.device},
                    {"precision", instance.caps.precision},
                    {"details", instance.caps.details},
                    {"workers", instance.workers}});
  }
  return list;
}

// TEI's keys; ours under "rerankd".
HttpReply Info(ScoreService& service) {
  const Settings& settings = service.settings();
  const ModelInfo& model = service.engine().model();
  const BackendCaps caps =
      service.engine().instances().empty() ? BackendCaps{} : service.engine().instances().front().caps;
  const int batch_tokens =
      settings.scheduler.batch_tokens > 0 ? settings.scheduler.batch_tokens : caps.batch_tokens;
  return JsonReply({{"model_id", model.name},
                    {"model_sha", nullptr},
                    {"model_dtype", caps.precision == "fp32" ? "float32" : caps.precision},
                    {"served_model_name", model.name},
                    {"model_type", ModelType(model)},
                    {"max_concurrent_requests", settings.scheduler.max_queue_requests},
                    {"max_input_length", model.max_length},
                    {"max_batch_tokens", batch_tokens},
                    {"max_batch_requests", nullptr},
                    {"max_client_batch_size", settings.server.max_documents},
                    {"auto_truncate", true},
                    {"tokenization_workers", settings.tokenizer_pool.num_workers},
                    {"version", RERANKD_VERSION},
                    {"sha", nullptr},
                    {"docker_label", nullptr},
                    {"rerankd",
                     {{"activation", std::string(ActivationName(model.activation))},
                      {"num_labels", model.num_labels},
                      {"pipeline_mode", settings.pipeline_mode},
                      {"instances", Instances(service.engine())}}}});
}

HttpReply Models(ScoreService& service) {
  const EngineStats stats = service.engine().stats();
  const int limit = service.settings().scheduler.max_queue_requests;
  const double fraction = limit > 0 ? static_cast<double>(stats.queued_requests) / limit : 0;
  Json data = Json::array();
  for (const ModelInfo& model : service.engine().models())
    data.push_back({{"id", model.name},
                    {"object", "model"},
                    {"owned_by", "infinity"},  // its client refuses every other owner
                    {"created", UnixSeconds()},
                    {"aliases", model.aliases},
                    {"capabilities", Json::array({"rerank"})},
                    {"max_length", model.max_length},
                    {"stats", {{"queue_fraction", fraction}, {"queue_absolute", stats.queued_requests}}}});
  return JsonReply({{"object", "list"}, {"data", std::move(data)}});
}

HttpReply Prometheus(ScoreService& service) {
  HttpReply reply;
  reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
  reply.body = service.PrometheusText();
  return reply;
}

HttpReply ReferenceMetricsReply(ScoreService& service) {
  HttpReply reply;
  reply.body = service.ReferenceMetricsJson();
  return reply;
}

HttpReply Reset(ScoreService& service) {
  service.ResetMetrics();
  return JsonReply({{"status", "reset"}});
}

// GET `path` -> make(request), at once.
template <typename Make>
void Get(const char* path, Make make, Router* router, Access access = Access::kKey) {
  router->Add({"GET", path,
               [make](HttpRequest& request, const Respond& respond) { RespondWith(respond, make(request)); },
               TeiDialect().error, access});
}

HttpReply HealthOf(const ScoreService& service, const HttpRequest& request) {
  const Status working = service.Working();
  return working.ok() ? Health(request) : ErrorReply(TeiDialect().error, {working});
}

}  // namespace

HttpReply Health(const HttpRequest& request) {
  if (request.Accepts("application/json")) return JsonReply({{"status", "ok"}, {"unix", UnixSeconds()}});
  HttpReply reply;
  reply.content_type = "";
  return reply;
}

void AddInfoRoutes(ScoreService& service, Router* router) {
  const auto health = [&service](const HttpRequest& request) { return HealthOf(service, request); };
  for (const char* path : {"/health", "/ping"}) Get(path, health, router, Access::kOpen);
  Get(
      "/ready", [&service](const HttpRequest&) { return Ready(service); }, router, Access::kOpen);
  Get(
      "/info", [&service](const HttpRequest&) { return Info(service); }, router);
  for (const char* path : {"/models", "/v1/models"})
    Get(
        path, [&service](const HttpRequest&) { return Models(service); }, router);
}

void AddMetricsRoutes(ScoreService& service, Router* router) {
  const auto metrics = [&service](const HttpRequest& request) {
    return request.Accepts("application/json") ? ReferenceMetricsReply(service) : Prometheus(service);
  };
  Get("/metrics", metrics, router, Access::kOpen);
  Get(
      "/metrics.json", [&service](const HttpRequest&) { return ReferenceMetricsReply(service); }, router,
      Access::kOpen);
  Get(
      "/reset", [&service](const HttpRequest&) { return Reset(service); }, router, Access::kAdmin);
}

}  // namespace rerankd::serving
