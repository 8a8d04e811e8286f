// rerankd: one binary that ranks, serves and measures cross-encoder rerankers.
#include <absl/synchronization/mutex.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>

#include "command.h"
#include "common.h"

namespace {

int Run(int argc, char** argv) {
  CLI::App app{"Cross-encoder reranking: rank documents, serve scores, measure.\nUser guide: README.md",
               "rerankd"};
  app.set_version_flag("--version", RERANKD_VERSION);
  app.require_subcommand(1);
  rerankd::Action action;
  rerankd::AddServe(app, &action);
  rerankd::AddRank(app, &action);
  rerankd::AddScore(app, &action);
  rerankd::AddEval(app, &action);
  rerankd::AddTokenize(app, &action);
  rerankd::AddInspect(app, &action);
  rerankd::AddBench(app, &action);
  rerankd::AddExperiment(app, &action);
  rerankd::AddLoad(app, &action);
  rerankd::AddCompare(app, &action);
  rerankd::AddKey(app, &action);
  rerankd::AddPull(app, &action);
  rerankd::AddModels(app, &action);
  rerankd::AddSettings(app, &action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : rerankd::kExitUsage;
  }
  return action();
}

}  // namespace

int main(int argc, char** argv) {
  // Debian builds absl without NDEBUG, and gRPC's locks are absl's: each would look for cycles of locks,
  // which is work for every small request.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  std::signal(SIGPIPE, SIG_IGN);  // a reader that left is an error of write(), not the end of the process
  try {
    return Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rerankd: internal error: %s\n", error.what());
    return rerankd::kExitFailed;
  }
}
