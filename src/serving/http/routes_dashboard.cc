// The live dashboard: its page, and the event stream that feeds it.
#include <memory>
#include <string>
#include <utility>

#include "serving/dashboard_feed.h"
#include "serving/dashboard_page.h"
#include "serving/http/rerank.h"
#include "serving/http/routes.h"

namespace rerankd::serving {
namespace {

// The page holds no data, so that everybody may have it; what it shows comes from /events, which needs a key
// where the server has keys.
HttpReply Page(const HttpRequest& request) {
  HttpReply reply;
  reply.content_type = "text/html; charset=utf-8";
  reply.headers = {{"content-security-policy", std::string(kDashboardPage.policy)},
                   {"x-content-type-options", "nosniff"},
                   {"referrer-policy", "no-referrer"},
                   {"cache-control", "no-cache"},
                   {"vary", "accept, accept-encoding"}};
  if (request.Header("accept-encoding").find("gzip") == std::string_view::npos) {
    reply.body = kDashboardPage.html;
  } else {
    reply.body = kDashboardPage.gzip;
    reply.headers.emplace_back("content-encoding", "gzip");
  }
  return reply;
}

HttpReply Events(DashboardFeed& feed) {
  auto subscription = feed.Subscribe();
  if (!subscription) {
    return ErrorReply(TeiDialect().error,
                      {ResourceExhausted(std::to_string(DashboardFeed::kMaxSubscribers) +
                                         " dashboards are open, the most that are served: close one")});
  }
  HttpReply reply;
  reply.content_type = "text/event-stream";
  reply.headers = {{"cache-control", "no-store"}, {"x-accel-buffering", "no"}};
  reply.stream = ReplyStream{DashboardFeed::kPeriod,
                             [subscription = std::move(subscription)] { return subscription->Next(); }};
  return reply;
}

}  // namespace

void AddDashboardRoutes(ScoreService& service, Router* router) {
  const auto add = [&](const char* path, Access access, auto make) {
    router->Add(
        {"GET", path,
         [make](HttpRequest& request, const Respond& respond) { RespondWith(respond, make(request)); },
         TeiDialect().error, access});
  };
  add("/dashboard", Access::kOpen, Page);
  // TEI's clients expect an empty 200 here.
  add("/", Access::kOpen, [](const HttpRequest& request) {
    return request.Accepts("text/html") ? Page(request) : Health(request);
  });
  const auto feed = std::make_shared<DashboardFeed>(service, SteadyClock::Get());
  add("/events", Access::kKey, [feed](const HttpRequest&) { return Events(*feed); });
}

}  // namespace rerankd::serving
