// rerankd serve: the server, until SIGTERM or SIGINT; then it drains. SIGHUP reloads keys and certificates.
#include <fmt/format.h>
#include <pthread.h>

#include <csignal>
#include <cstdio>

#include "base/file.h"
#include "base/log.h"
#include "command.h"
#include "common.h"
#include "serving/server.h"

namespace rerankd {
namespace {

// Blocks the signals in this thread before any other starts, so that all inherit the mask and only Wait()
// sees them.
class SignalWaiter {
 public:
  SignalWaiter() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  int Wait() const {
    int signal = 0;
    sigwait(&signals_, &signal);
    return signal;
  }
  // A second SIGTERM or SIGINT while draining ends the process at once; a SIGHUP (log rotation) does not.
  void Restore() const {
    sigset_t ending = signals_;
    sigdelset(&ending, SIGHUP);
    pthread_sigmask(SIG_UNBLOCK, &ending, nullptr);
  }

 private:
  sigset_t signals_;
};

// The line that people and `rerankd experiment` wait for.
void PrintReady(const Server& server, const Engine& engine) {
  const bool scores = !engine.instances().empty();  // not in pipeline mode tokenization_only
  std::string line = "rerankd ready";
  if (!server.grpc_address().empty()) line += " grpc=" + server.grpc_address();
  if (!server.http_address().empty()) line += " http=" + server.http_address();
  line += fmt::format(" model={} backend={}\n", engine.model().name,
                      scores ? engine.instances().front().caps.name : "none");
  std::fputs(line.c_str(), stderr);  // fmt::print throws where the disk is full
}

void WarnIfOpen(const ServerSettings& settings) {
  const bool local =
      settings.host == "localhost" || settings.host == "::1" || settings.host.starts_with("127.");
  if (local || !settings.api_key_file.empty()) return;
  Log(LogLevel::kWarning,
      "everybody who reaches this address may use the server: set --api-key-file or --host 127.0.0.1",
      {{"host", settings.host}});
}

void Reload(Server& server) {
  const Status status = server.Reload();
  if (status.ok()) return Log(LogLevel::kInfo, "reloaded API keys and TLS files");
  Log(LogLevel::kError, "not reloaded: the old keys and TLS files stay", {{"reason", status.message()}});
}

Status RunServe(const ConfigFlags& config) {
  RaiseOpenFileLimit();
  RERANKD_ASSIGN_OR_RETURN(const Settings settings, config.Load());
  RERANKD_RETURN_IF_ERROR(FetchMissingModels(settings));
  const SignalWaiter signals;  // not before: a download can be interrupted
  RERANKD_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Create(settings));
  engine->MeasurePeak();
  RERANKD_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server, Server::Start(settings, *engine));
  PrintReady(*server, *engine);
  WarnIfOpen(settings.server);
  int signal = signals.Wait();
  for (; signal == SIGHUP; signal = signals.Wait()) Reload(*server);
  signals.Restore();
  Log(LogLevel::kInfo, "draining", {{"signal", signal}});
  server->Drain();
  Log(LogLevel::kInfo, "stopped");
  return {};
}

}  // namespace

void AddServe(CLI::App& app, Action* action) {
  auto config = std::make_shared<ConfigFlags>();
  CLI::App* command = app.add_subcommand("serve", "serve scores over gRPC and HTTP");
  command->footer(
      "Examples:\n  rerankd serve --model default --http-port 8080 --grpc-port 50051\n"
      "  rerankd serve --model default --model tiny");
  config->several_models = true;
  config->AddTo(*command, {"model.", "server.", "scheduler."});
  command->callback([config, action] {
    *action = [config] {
      const Status status = RunServe(*config);
      if (status.ok()) return 0;
      // With the code: `rerankd experiment --skip-unavailable` tells by it what this machine cannot run.
      fmt::print(stderr, "rerankd: {}\n", status.ToString());
      return kExitFailed;
    };
  });
}

}  // namespace rerankd
