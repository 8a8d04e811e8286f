// What a route handler sees: a request, a reply, and the way to hand the reply over. No Beast types.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "core/cancel.h"
#include "core/request.h"
#include "serving/access_log.h"
#include "serving/caller.h"
#include "serving/reply_headers.h"

namespace rerankd::serving {

struct HttpRequest {
  std::string method;                   // upper case
  std::string path;                     // without the query string, as sent
  std::vector<std::string> path_parts;  // what the {…} of the route's pattern matched
  Headers headers;                      // lower-case names
  std::string body;                     // unpacked
  int64_t body_bytes = 0;               // as it came
  std::string peer;                     // "127.0.0.1:4711"; "unix"
  bool local = false;                   // from this machine
  std::string request_id;               // the client's or a new one
  Caller caller;
  TimePoint received;  // the header was complete
  TimePoint started;   // so was the body
  CancelFlag cancel;   // set when the client has closed the connection

  // "" if absent; the first one if repeated.
  std::string_view Header(std::string_view lower_case_name) const {
    const auto found = std::find_if(headers.begin(), headers.end(),
                                    [&](const auto& h) { return h.first == lower_case_name; });
    return found == headers.end() ? std::string_view() : std::string_view(found->second);
  }
  bool Accepts(std::string_view media_type) const {
    return Header("accept").find(media_type) != std::string_view::npos;
  }
  bool Has(std::string_view lower_case_name) const {
    return std::any_of(headers.begin(), headers.end(),
                       [&](const auto& h) { return h.first == lower_case_name; });
  }
};

// A body without an end (server-sent events): `next` is called on an I/O thread and its text sent, at once
// and then every `period`, until the client leaves, does not take it within the write timeout, or the server
// drains. A slow client is sent its next text late; it makes nothing wait.
struct ReplyStream {
  Duration period;
  std::function<std::string()> next;
};

struct HttpReply {
  int status = 200;
  Code code = Code::kOk;  // of a failure
  std::string content_type = "application/json";
  std::string body;
  Headers headers;
  std::optional<Scored> scored;
  std::optional<ReplyStream> stream;  // in the place of `body`
};

// Every ScoreRequest of a handler goes through this: whose it is, and the flag that ends it.
void Attribute(const HttpRequest& request, ScoreRequest* score);
// Every scored reply goes through this: headers (x-model: which model ran) and log.
void AddAnswer(const Answer& answer, const std::string& model, HttpReply* reply);

// A failure on its way to a client. `http` = 0 means: by status.code(). `tei_type` "" means the same.
struct Failure {
  Status status;
  int http = 0;
  std::string_view tei_type = {};
};

std::string ToLower(std::string_view ascii);

int HttpStatusOf(const Failure& failure);

// The body of an error in one dialect.
using ErrorBody = std::string (*)(const Failure& failure);
// Status, body, and Retry-After where a retry can help.
HttpReply ErrorReply(ErrorBody body, const Failure& failure);

// How a reply is made; runs on an I/O thread.
using ReplyMaker = std::function<HttpReply()>;
// Hands the reply over, exactly once, from any thread.
using Respond = std::function<void(ReplyMaker)>;
// Runs on an I/O thread and must not block. May take the body out of the request.
using Handler = std::function<void(HttpRequest& request, Respond respond)>;

}  // namespace rerankd::serving
