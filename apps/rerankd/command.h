// The subcommands of the rerankd binary. Each Add… registers its options on `app` and, when it is the one
// chosen, sets *action to the function that does the work and returns the exit code: 0 fine, 1 the work
// failed, 2 bad usage.
#pragma once

#include <CLI/App.hpp>
#include <functional>

namespace rerankd {

using Action = std::function<int()>;

void AddServe(CLI::App& app, Action* action);
void AddRank(CLI::App& app, Action* action);
void AddScore(CLI::App& app, Action* action);
void AddEval(CLI::App& app, Action* action);
void AddTokenize(CLI::App& app, Action* action);
void AddInspect(CLI::App& app, Action* action);
void AddBench(CLI::App& app, Action* action);
void AddExperiment(CLI::App& app, Action* action);
void AddLoad(CLI::App& app, Action* action);
void AddCompare(CLI::App& app, Action* action);
void AddKey(CLI::App& app, Action* action);
void AddPull(CLI::App& app, Action* action);
void AddModels(CLI::App& app, Action* action);
void AddSettings(CLI::App& app, Action* action);

}  // namespace rerankd
