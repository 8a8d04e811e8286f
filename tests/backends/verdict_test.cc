#include "verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/backend_registry.h"

namespace rerankd {
namespace {

using testing::HasSubstr;

// With the plugin of that fault (src/engine/testing/bad_plugin.cc) as the only one, which is "mlx".
Verdict WithFault(const std::string& fault, const Subject& subject = {"mlx", "fp32", "cpu"}) {
  setenv("RERANKD_PLUGIN_PATH", (RERANKD_TEST_PLUGINS "/" + fault).c_str(), 1);
  const auto make = [&]() -> Status {
    const std::string model = std::string(RERANKD_SOURCE_DIR) + "/tests/data/tiny-random";
    InstanceSettings settings;
    settings.backend = subject.backend;
    settings.precision = subject.precision;
    settings.device = subject.device;
    RERANKD_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(model));
    return BackendRegistry().Make({settings, model, config, 1}).status();
  };
  const Verdict verdict = Judge(subject, make);
  unsetenv("RERANKD_PLUGIN_PATH");
  return verdict;
}

TEST(Verdict, WhatIsBuiltButCannotBeLoadedIsBroken) {
  const std::pair<const char*, const char*> faults[] = {
      {"symbol", "undefined symbol: rerankd_a_symbol_that_nobody_has"},
      {"abi", "has interface version"},
      {"toolchain", "was compiled by"},
      {"start", "cannot start: cannot start on a Sunday"},
      {"describe", "cannot describe on a Sunday"},
      {"library", "undefined symbol: warp"},
      {"make", "cannot make on a Sunday"},
      {"refusal", "of this nothing can be made"}};
  for (const auto& [fault, reason] : faults) {
    const Verdict verdict = WithFault(fault);
    EXPECT_EQ(verdict.standing, Standing::kBroken) << fault;
    EXPECT_THAT(verdict.reason, HasSubstr(reason)) << fault;
  }
  EXPECT_EQ(WithFault("make", {"mlx", "bf16", "cpu"}).standing, Standing::kBroken);
  EXPECT_EQ(WithFault("refusal", {"mlx", "int8", "cpu"}).standing, Standing::kBroken);
  EXPECT_EQ(WithFault("engine", {"warp", "fp32", "cpu"}).standing, Standing::kBroken);
}

TEST(Verdict, OnlyWhatIsNotInstalledAndWhatTheMachineLacksIsAbsent) {
  const Verdict engine = WithFault("engine");
  EXPECT_EQ(engine.standing, Standing::kAbsent);
  EXPECT_EQ(engine.reason, "no engine library; get it with: make engine");
  EXPECT_EQ(WithFault("refusal", {"mlx", "fp32", "gpu"}).standing, Standing::kAbsent);  // no such device
  EXPECT_EQ(WithFault("refusal", {"mlx", "bf16", "cpu"}).standing, Standing::kAbsent);  // no such arithmetic
}

TEST(Verdict, NativeRuns) {
  EXPECT_EQ(WithFault("abi", {"native", "fp32", "cpu"}).standing, Standing::kRuns);
}

}  // namespace
}  // namespace rerankd
