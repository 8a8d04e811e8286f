#include "hub/pull.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/text.h"
#include "hub/cache.h"
#include "hub/http.h"

namespace rerankd::hub {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxRedirects = 8;
constexpr int kMaxAttempts = 5;  // of one file; each resumes where the last one was cut
constexpr auto kRetryPause = std::chrono::milliseconds(300);

// The rest is fetched if it is there; a cross-encoder needs config.json, weights, and a tokenizer.
constexpr std::string_view kSmallFiles[] = {"config.json",           "config_sentence_transformers.json",
                                            "tokenizer.json",        "vocab.txt",
                                            "tokenizer_config.json", "special_tokens_map.json"};

std::string Environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing here calls setenv
  return value != nullptr ? value : "";
}

std::string ReadToken() {
  if (std::string token = Environment("HF_TOKEN"); !token.empty()) return token;
  std::string path = Environment("HF_TOKEN_PATH");
  if (path.empty()) {
    std::string home = Environment("HF_HOME");
    if (home.empty()) home = Environment("HOME") + "/.cache/huggingface";
    path = home + "/token";
  }
  Result<std::string> token = ReadFile(path);
  if (!token.ok()) return "";
  while (!token->empty() && std::isspace(static_cast<unsigned char>(token->back())) != 0) token->pop_back();
  return std::move(*token);
}

std::string PercentEncoded(std::string_view text) {  // "refs/pr/1" is one path segment of the API
  std::string encoded;
  for (const char c : text) {
    if (c == '/') {
      encoded += "%2F";
    } else {
      encoded += c;
    }
  }
  return encoded;
}

std::string HostOf(std::string_view url) {
  const size_t scheme = url.find("://");
  const std::string_view rest = scheme == std::string_view::npos ? url : url.substr(scheme + 3);
  return std::string(rest.substr(0, rest.find('/')));
}

std::string Absolute(const std::string& base, const std::string& location) {
  if (location.find("://") != std::string::npos) return location;
  return base.substr(0, base.find('/', base.find("://") + 3)) + location;
}

// W/"abc" -> abc. Empty for an etag that could not be a file name.
std::string NormalEtag(std::string etag) {
  if (etag.starts_with("W/")) etag.erase(0, 2);
  etag.erase(std::remove(etag.begin(), etag.end(), '"'), etag.end());
  const auto plain = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; };
  return std::all_of(etag.begin(), etag.end(), plain) ? etag : "";
}

// A reply that is not a success, as what the user has to do.
Status Explain(const HttpReply& reply, const std::string& what) {
  switch (reply.status) {
    case 401:
    case 403:
      return FailedPrecondition(
          what + ": the hub refuses (HTTP " + std::to_string(reply.status) +
          "): private, gated, or no such repository; accept its licence and set HF_TOKEN");
    case 404:
      return NotFound(what + ": not on the hub (HTTP 404); check the spelling of name and revision");
    case 429: {
      const std::string wait = reply.Header("retry-after");
      return ResourceExhausted(what + ": the hub answers too many requests (HTTP 429); try again " +
                               (wait.empty() ? std::string("later") : "in " + wait + " s"));
    }
    default:
      return Unavailable(what + ": the hub answers HTTP " + std::to_string(reply.status) +
                         "; try again later");
  }
}

struct RepositoryInfo {
  std::string commit;
  std::vector<std::string> files;
  bool Has(std::string_view file) const { return std::find(files.begin(), files.end(), file) != files.end(); }
};

struct FileInfo {
  std::string url, etag;
  int64_t size = 0;  // 0 = unknown
};

class Puller {
 public:
  Puller(const HubModel& model, const HubSettings& settings, const PullOptions& options)
      : model_(model), settings_(settings), options_(options), cache_(settings.cache, model.id) {}

  Result<std::string> Run() {
    RERANKD_ASSIGN_OR_RETURN(info_, Info());
    RERANKD_RETURN_IF_ERROR(CheckFiles());
    RERANKD_RETURN_IF_ERROR(Fetch("config.json"));
    const fs::path snapshot = cache_.Snapshot(info_.commit);
    if (options_.check_config)
      RERANKD_RETURN_IF_ERROR(options_.check_config((snapshot / "config.json").string()));
    for (const std::string_view file : kSmallFiles)
      if (info_.Has(file)) RERANKD_RETURN_IF_ERROR(Fetch(std::string(file)));
    if (options_.more_files)
      for (const std::string& file : options_.more_files(info_.files)) RERANKD_RETURN_IF_ERROR(Fetch(file));
    RERANKD_RETURN_IF_ERROR(FetchWeights(snapshot));  // last: with them the model is whole
    RERANKD_RETURN_IF_ERROR(cache_.WriteRef(model_.revision, info_.commit));
    return snapshot.string();
  }

 private:
  std::string Name() const { return model_.id + "@" + model_.revision; }

  Result<RepositoryInfo> Info() {
    const std::string url =
        settings_.endpoint + "/api/models/" + model_.id + "/revision/" + PercentEncoded(model_.revision);
    RERANKD_ASSIGN_OR_RETURN(const HttpReply reply, FollowingRedirects({url, settings_.token, false, 0, {}}));
    if (reply.status != 200) return Explain(reply, Name());
    const auto json = nlohmann::json::parse(reply.body, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("sha") || !json["sha"].is_string() ||
        !json.contains("siblings") || !json["siblings"].is_array())
      return Unavailable(url + ": not the reply of a Hugging Face hub (no 'sha' or 'siblings')");
    RepositoryInfo info{json["sha"].get<std::string>(), {}};
    for (const auto& file : json["siblings"])
      if (file.is_object() && file.contains("rfilename") && file["rfilename"].is_string())
        info.files.push_back(file["rfilename"].get<std::string>());
    // The commit becomes a folder name.
    if (info.commit != NormalEtag(info.commit) || info.commit.empty())
      return Unavailable(url + ": '" + info.commit + "' is no commit id");
    return info;
  }

  Status CheckFiles() const {
    if (!info_.Has("config.json")) return FailedPrecondition(Name() + " is no model: it has no config.json");
    if (!info_.Has(kWeights) && !info_.Has(kWeightsIndex))
      return FailedPrecondition(Name() +
                                " has no model.safetensors; convert its weights to safetensors first");
    if (!info_.Has("tokenizer.json") && !info_.Has("vocab.txt"))
      return FailedPrecondition(Name() + " has neither tokenizer.json nor vocab.txt");
    return {};
  }

  Status FetchWeights(const fs::path& snapshot) {
    if (info_.Has(kWeights)) return Fetch(std::string(kWeights));
    RERANKD_RETURN_IF_ERROR(Fetch(std::string(kWeightsIndex)));
    RERANKD_ASSIGN_OR_RETURN(const auto shards, ShardsOf(snapshot / kWeightsIndex));
    for (const std::string& shard : shards) {
      if (!info_.Has(shard) || shard.find("..") != std::string::npos)
        return FailedPrecondition(Name() + ": its index names '" + shard +
                                  "', which is not in the repository");
      RERANKD_RETURN_IF_ERROR(Fetch(shard));
    }
    return {};
  }

  // One file into blobs/ and the snapshot; nothing to do if it is there.
  Status Fetch(const std::string& file) {
    const std::string what = Name() + "/" + file;
    RERANKD_ASSIGN_OR_RETURN(const FileInfo info, Metadata(file, what));
    std::error_code ec;
    if (!fs::exists(cache_.Blob(info.etag), ec)) {
      RERANKD_ASSIGN_OR_RETURN(const FileLock lock, FileLock::Acquire(cache_.Lock(info.etag)));
      if (!fs::exists(cache_.Blob(info.etag), ec)) {  // another process may have fetched it meanwhile
        if (Status status = Download(file, info); !status.ok()) return status.WithContext(what);
      }
    }
    return cache_.Link(info_.commit, file, info.etag);
  }

  Result<FileInfo> Metadata(const std::string& file, const std::string& what) {
    FileInfo info;
    info.url = settings_.endpoint + "/" + model_.id + "/resolve/" + info_.commit + "/" + file;
    RERANKD_ASSIGN_OR_RETURN(const HttpReply reply,
                             FollowingRedirects({info.url, settings_.token, true, 0, {}}));
    if (reply.status >= 400) return Explain(reply, what);
    const std::string linked = reply.Header("x-linked-etag");
    info.etag = NormalEtag(linked.empty() ? reply.Header("etag") : linked);
    if (info.etag.empty()) return Unavailable(what + ": the hub names no usable etag for it");
    std::string size = reply.Header("x-linked-size");
    if (size.empty() && reply.status == 200) size = reply.Header("content-length");
    info.size = std::atoll(size.c_str());
    return info;
  }

  Status Download(const std::string& file, const FileInfo& info) {
    const fs::path incomplete = cache_.Blob(info.etag).string() + ".incomplete";
    std::error_code ec;
    fs::create_directories(incomplete.parent_path(), ec);
    for (int attempt = 1;; ++attempt) {
      Status status = Transfer(file, info, incomplete);
      if (status.ok()) break;
      if (status.code() != Code::kUnavailable || attempt == kMaxAttempts) return status;
      std::this_thread::sleep_for(kRetryPause * attempt);
    }
    if (Status status = VerifyChecksum(incomplete, info.etag); !status.ok()) {
      fs::remove(incomplete, ec);
      return status.WithContext("the download is damaged and was removed");
    }
    fs::rename(incomplete, cache_.Blob(info.etag), ec);
    if (ec) return Internal("cannot create '" + cache_.Blob(info.etag).string() + "': " + ec.message());
    return {};
  }

  // Appends to `incomplete` until it is whole. kUnavailable: cut, worth another try.
  Status Transfer(const std::string& file, const FileInfo& info, const fs::path& incomplete) {
    std::error_code ec;
    int64_t have = fs::exists(incomplete, ec) ? static_cast<int64_t>(fs::file_size(incomplete, ec)) : 0;
    if (info.size > 0 && have > info.size) have = 0;  // not a part of this file
    if (info.size > 0 && have == info.size) return {};
    std::ofstream out;
    HttpRequest request{info.url, settings_.token, false, have, {}};
    request.sink = [&](const HttpReply& reply, std::string_view piece) {
      if (!out.is_open()) {  // a 200 reply starts over: the server does not resume
        if (reply.status == 200) have = 0;
        out.open(incomplete, std::ios::binary | (have > 0 ? std::ios::app : std::ios::trunc));
      }
      out.write(piece.data(), static_cast<std::streamsize>(piece.size()));
      have += static_cast<int64_t>(piece.size());
      if (options_.progress) options_.progress(file, have, info.size);
      return out.good();
    };
    const Result<HttpReply> reply = FollowingRedirects(request);
    if (out.is_open()) out.close();
    if (out.fail())
      return Internal("cannot write '" + incomplete.string() + "': disk full or folder not writable");
    if (!reply.ok()) return reply.status();
    if (reply->status != 200 && reply->status != 206) return Explain(*reply, "download");
    if (info.size > 0 && have < info.size)
      return Unavailable("the connection ended after " + std::to_string(have) + " of " +
                         std::to_string(info.size) + " bytes");
    if (have == 0) std::ofstream(incomplete, std::ios::binary);  // an empty file is a file
    return {};
  }

  Result<HttpReply> Send(const HttpRequest& request) {
    for (int attempt = 1;; ++attempt) {
      Result<HttpReply> reply = client_.Send(request);
      if (reply.ok() || attempt == kMaxAttempts || reply.status().code() != Code::kUnavailable) return reply;
      std::this_thread::sleep_for(kRetryPause * attempt);
    }
  }

  // The token stays with the hub's own host. So does a HEAD, which asks what the hub says of a file: it
  // follows a renamed repository, not the way to the content of a large file.
  Result<HttpReply> FollowingRedirects(HttpRequest request) {
    for (int hop = 0; hop <= kMaxRedirects; ++hop) {
      // A transfer with a sink is retried by its caller, who knows how much has arrived.
      RERANKD_ASSIGN_OR_RETURN(HttpReply reply, request.sink ? client_.Send(request) : Send(request));
      if (reply.status < 300 || reply.status >= 400 || reply.Header("location").empty()) return reply;
      const std::string target = Absolute(request.url, reply.Header("location"));
      const bool leaves = HostOf(target) != HostOf(request.url);
      if (request.head && (leaves || !reply.Header("x-linked-etag").empty())) return reply;
      if (leaves) request.token.clear();
      request.url = target;
    }
    return Unavailable(request.url + ": more than " + std::to_string(kMaxRedirects) + " redirects");
  }

  const HubModel model_;
  const HubSettings settings_;
  const PullOptions& options_;
  const RepositoryCache cache_;
  HttpClient client_;
  RepositoryInfo info_;
};

}  // namespace

HubSettings HubSettings::FromEnvironment() {
  HubSettings settings;
  if (const std::string endpoint = Environment("HF_ENDPOINT"); !endpoint.empty())
    settings.endpoint = endpoint;
  while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
  settings.token = ReadToken();
  settings.cache = ModelPlaces::FromEnvironment().hub_cache;
  const std::string offline = Environment("HF_HUB_OFFLINE");
  settings.offline =
      offline == "1" || offline == "true" || offline == "TRUE" || offline == "yes" || offline == "on";
  return settings;
}

Result<std::string> Pull(const HubModel& model, const HubSettings& settings, const PullOptions& options) {
  if (settings.offline)
    return FailedPrecondition("model '" + model.id +
                              "' is not in the cache, and HF_HUB_OFFLINE forbids downloading it");
  if (settings.cache.empty())
    return FailedPrecondition("there is no place for the cache: set HF_HUB_CACHE, HF_HOME or HOME");
  return Puller(model, settings, options).Run();
}

}  // namespace rerankd::hub
