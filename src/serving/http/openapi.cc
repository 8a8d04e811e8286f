#include "serving/http/openapi.h"

#include <memory>

#include "serving/http/json.h"
#include "serving/http/rerank.h"

namespace rerankd::serving {
namespace {

struct ErrorDoc {
  const char* status;
  const char* meaning;
};

constexpr ErrorDoc kEveryRoute[] = {{"408", "The request did not arrive in time"},
                                    {"431", "The header is too large"}};
constexpr ErrorDoc kOfKeys[] = {{"401", "No valid API key"}, {"403", "The key may not do this"}};
constexpr ErrorDoc kOfBodies[] = {{"400", "Not JSON, or an empty request"},
                                  {"404", "No such model"},
                                  {"413", "The body is too large"},
                                  {"415", "Not a JSON content type, or an unknown encoding"},
                                  {"422", "A field is invalid; the message names it"},
                                  {"424", "The model failed"},
                                  {"429", "Too busy; retry-after says when to come back"},
                                  {"503", "Draining, or no worker of the model is left"},
                                  {"504", "The deadline passed"}};

Json Reference(std::string_view schema) { return {{"$ref", "#/components/schemas/" + std::string(schema)}}; }

Json Content(std::string_view type, Json schema) {
  return {{std::string(type), {{"schema", std::move(schema)}}}};
}

Json ReplyOf(const RouteDoc& doc) {
  Json reply = {{"description", "The answer"}};
  if (doc.reply == "text") reply["content"] = Content("text/plain", {{"type", "string"}});
  if (doc.reply == "html") reply["content"] = Content("text/html", {{"type", "string"}});
  if (!doc.reply.empty() && doc.reply != "text" && doc.reply != "html")
    reply["content"] = Content("application/json", Reference(doc.reply));
  return reply;
}

void AddErrors(std::span<const ErrorDoc> errors, Json* responses) {
  for (const ErrorDoc& error : errors)
    (*responses)[error.status] = {{"description", error.meaning},
                                  {"content", Content("application/json", Reference("Error"))}};
}

Json ParametersOf(const RouteDoc& doc) {
  Json parameters = Json::array();
  for (size_t at = doc.pattern.find('{'); at != std::string_view::npos; at = doc.pattern.find('{', at + 1)) {
    const std::string_view name = doc.pattern.substr(at + 1, doc.pattern.find('}', at) - at - 1);
    parameters.push_back(
        {{"name", std::string(name)}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}});
  }
  if (!doc.request.empty())
    for (const char* header : {"x-request-timeout-ms", "x-request-id"})
      parameters.push_back(
          {{"name", header},
           {"in", "header"},
           {"schema", header == std::string_view("x-request-id")
                          ? Json{{"type", "string"}}
                          : Json{{"type", "integer"}, {"minimum", 1}, {"maximum", 86'400'000}}}});
  return parameters;
}

Json Operation(const RouteDoc& doc, Access access) {
  Json operation = {{"tags", Json::array({std::string(doc.tag)})},
                    {"summary", std::string(doc.summary)},
                    {"operationId", std::string(doc.method) + std::string(doc.pattern)},
                    {"parameters", ParametersOf(doc)}};
  Json responses = {{"200", ReplyOf(doc)}};
  AddErrors(kEveryRoute, &responses);
  if (access != Access::kOpen) AddErrors(kOfKeys, &responses);
  operation["security"] =
      access == Access::kOpen ? Json::array() : Json::array({{{"bearer", Json::array()}}});
  if (!doc.request.empty()) {
    operation["requestBody"] = {{"required", true},
                                {"content", Content("application/json", Reference(doc.request))}};
    AddErrors(kOfBodies, &responses);
  } else {
    AddErrors(
        {{ErrorDoc{"404", "No such model"}, ErrorDoc{"503", "Draining, or no worker of the model is left"}}},
        &responses);
  }
  operation["responses"] = std::move(responses);
  return operation;
}

const RouteDoc* FindDoc(const Route& route) {
  for (const RouteDoc& doc : RouteDocs())
    if (doc.method == route.method && doc.pattern == route.pattern) return &doc;
  return nullptr;
}

}  // namespace

std::string OpenApiDocument(const Router& router) {
  Json paths = Json::object();
  for (const Route& route : router.routes())
    if (const RouteDoc* doc = FindDoc(route)) {
      const std::string method = ToLower(route.method);
      if (!paths[route.pattern].contains(method))
        paths[route.pattern][method] = Operation(*doc, route.access);
    }
  const Json document = {
      {"openapi", "3.1.0"},
      {"info",
       {{"title", "rerankd"},
        {"version", RERANKD_VERSION},
        {"description",
         "Cross-encoder reranking in the dialects of text-embeddings-inference, infinity, Jina, "
         "Cohere, vLLM, SageMaker and the Open Inference Protocol."}}},
      {"paths", std::move(paths)},
      {"components",
       {{"securitySchemes", {{"bearer", {{"type", "http"}, {"scheme", "bearer"}}}}},
        {"schemas", Json::parse(kOpenApiSchemas)}}}};
  return Dump(document);
}

void AddOpenApiRoutes(Router* router) {
  const auto document = std::make_shared<std::string>();
  for (const char* path : {"/openapi.json", "/api-doc/openapi.json"})
    router->Add({"GET", path,
                 [document](HttpRequest&, const Respond& respond) {
                   HttpReply reply;
                   reply.body = *document;
                   RespondWith(respond, std::move(reply));
                 },
                 TeiDialect().error, Access::kOpen});
  router->Add({"GET", "/docs",
               [](HttpRequest&, const Respond& respond) {
                 HttpReply reply;
                 reply.content_type = "text/html; charset=utf-8";
                 reply.body = std::string(kDocsPage);
                 RespondWith(respond, std::move(reply));
               },
               TeiDialect().error, Access::kOpen});
  *document = OpenApiDocument(*router);
}

}  // namespace rerankd::serving
