// The HTTP routes over a ScoreService.
#pragma once

#include "serving/http/router.h"
#include "serving/score_service.h"

namespace rerankd::serving {

// `service` outlives the server that runs the routes.
Router MakeRoutes(ScoreService& service);
// /metrics, /metrics.json and /reset alone.
Router MakeMetricsRoutes(ScoreService& service);

// One group each.
void AddScoringRoutes(ScoreService& service, Router* router);
void AddKserveRoutes(ScoreService& service, Router* router);
void AddInfoRoutes(ScoreService& service, Router* router);
void AddDashboardRoutes(ScoreService& service, Router* router);
void AddMetricsRoutes(ScoreService& service, Router* router);

// Alive: the process answers (and, at /health and /ping, has workers left). Stays 200 while draining, or an
// orchestrator would kill what is being finished.
HttpReply Health(const HttpRequest& request);

}  // namespace rerankd::serving
