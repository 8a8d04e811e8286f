// The route table: method + path pattern -> handler. Immutable once the server runs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "serving/http/http_types.h"

namespace rerankd::serving {

// Who may use a route. Without API keys kKey is open, and kAdmin is for clients on this machine.
enum class Access { kOpen, kKey, kAdmin };

struct Route {
  std::string method;  // GET serves HEAD too
  // "/v2/models/{m}/infer": {…} matches one or more non-empty parts of the path, percent-decoded (names of
  // models have slashes; a path may have 64 parts). Of several patterns that match, the one added first wins.
  std::string pattern;
  Handler handler;
  ErrorBody error;  // for failures before the handler runs: body too large, …
  Access access = Access::kKey;
};

class Router {
 public:
  struct Match {
    const Route* route = nullptr;
    std::vector<std::string> parts;
    std::string allow;  // methods that the path has, when the method is not among them; "" = no such path
    ErrorBody error = nullptr;  // of the path's dialect; null = no such path
  };

  // `fallback` writes the errors of paths that have no route.
  explicit Router(ErrorBody error) : fallback_(error) {}
  void Add(Route route) { routes_.push_back(std::move(route)); }
  Match Find(std::string_view method, std::string_view path) const;
  const std::vector<Route>& routes() const { return routes_; }
  ErrorBody fallback() const { return fallback_; }

 private:
  ErrorBody fallback_;
  std::vector<Route> routes_;
};

}  // namespace rerankd::serving
