#include "serving/http/routes.h"

#include "serving/http/openapi.h"
#include "serving/http/predict.h"
#include "serving/http/rerank.h"
#include "serving/http/score.h"

namespace rerankd::serving {
namespace {

// POST `path` -> `run(service, route label, request, respond)`.
template <typename Run>
void Post(ScoreService& service, const char* path, ErrorBody error, Run run, Router* router) {
  router->Add({"POST", path,
               [&service, path, run](HttpRequest& request, const Respond& respond) {
                 run(service, path, request, respond);
               },
               error});
}

template <const Dialect& (*kDialect)()>
void RerankAs(ScoreService& service, std::string_view route, HttpRequest& request, const Respond& respond) {
  Rerank(service, route, kDialect(), request, respond);
}

}  // namespace

void AddScoringRoutes(ScoreService& service, Router* router) {
  for (const char* path : {"/rerank", "/", "/invocations"})
    Post(service, path, TeiDialect().error, RerankByKeys, router);
  Post(service, "/v1/rerank", UnionDialect().error, RerankAs<UnionDialect>, router);
  Post(service, "/v2/rerank", CohereDialect().error, RerankAs<CohereDialect>, router);
  Post(service, "/predict", TeiDialect().error, Predict, router);
  for (const char* path : {"/score", "/v1/score"}) Post(service, path, UnionDialect().error, Score, router);
  Post(service, "/tokenize", TeiDialect().error, Tokenize, router);
}

Router MakeRoutes(ScoreService& service) {
  Router router(TeiDialect().error);
  AddScoringRoutes(service, &router);
  AddDashboardRoutes(service, &router);
  AddKserveRoutes(service, &router);
  AddInfoRoutes(service, &router);
  AddMetricsRoutes(service, &router);
  AddOpenApiRoutes(&router);
  return router;
}

Router MakeMetricsRoutes(ScoreService& service) {
  Router router(TeiDialect().error);
  AddMetricsRoutes(service, &router);
  return router;
}

}  // namespace rerankd::serving
