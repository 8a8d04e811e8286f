// GET /openapi.json and GET /docs: what the routes are, made from the route table and openapi_table.cc.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "serving/http/router.h"

namespace rerankd::serving {

// One route for people and generators. `request` and `reply` name schemas of kOpenApiSchemas; "" = no body;
// `reply` "text" and "html" are those.
struct RouteDoc {
  std::string_view method, pattern, tag, summary, request, reply;
};

std::span<const RouteDoc> RouteDocs();
extern const std::string_view kOpenApiSchemas;  // a JSON object: components.schemas
extern const std::string_view kDocsPage;        // HTML; shows /openapi.json, needs nothing else

// OpenAPI 3.1 of every route of `router` that RouteDocs() describes.
std::string OpenApiDocument(const Router& router);

// /openapi.json, /api-doc/openapi.json (TEI) and /docs, describing the routes that `router` has by then and
// themselves: add them last.
void AddOpenApiRoutes(Router* router);

}  // namespace rerankd::serving
