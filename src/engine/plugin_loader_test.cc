#include "engine/plugin_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "engine/engine.h"

namespace rerankd {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class PluginLoader : public testing::Test {
 protected:
  void SetUp() override { folder_ = testing::TempDir() + "rerankd_plugins"; }
  void TearDown() override {
    unsetenv("RERANKD_PLUGIN_PATH");
    std::filesystem::remove_all(folder_);
  }
  Status Load(const std::string& folder, const char* plugin = "mlx") const {
    setenv("RERANKD_PLUGIN_PATH", folder.c_str(), 1);
    return LoadPlugin(plugin).status();
  }

  std::string folder_;
};

TEST_F(PluginLoader, NamesTheFoldersWithoutIt) {
  const Status status = Load("/one:/two", "warp");
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr("no rerankd_warp.so in /one, /two, "));
}

TEST_F(PluginLoader, GivesTheLoadersWordsForABrokenFile) {
  std::filesystem::create_directories(folder_);
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/rerankd_mlx.so", "not a shared object").ok());
  const Status status = Load(folder_);
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.message(), AllOf(HasSubstr(folder_), HasSubstr("cannot be loaded")));
}

TEST_F(PluginLoader, RefusesAPluginOfAnotherBuild) {
  EXPECT_THAT(Load(RERANKD_TEST_PLUGINS "/abi").message(),
              HasSubstr("has interface version 4, this rerankd has 3"));
  EXPECT_THAT(Load(RERANKD_TEST_PLUGINS "/toolchain").message(),
              HasSubstr("was compiled by 1.2.3 of another compiler, this rerankd by"));
}

TEST_F(PluginLoader, GivesTheLoadersWordsForAMissingSymbol) {
  const Status status = Load(RERANKD_TEST_PLUGINS "/symbol");
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("test-plugins/symbol/rerankd_mlx.so cannot be loaded"),
                                      HasSubstr("rerankd_a_symbol_that_nobody_has")));
}

TEST_F(PluginLoader, APluginThatThrowsAtItsStartIsRefusedEveryTime) {
  for (int i = 0; i < 2; ++i)
    EXPECT_THAT(Load(RERANKD_TEST_PLUGINS "/start").message(),
                HasSubstr("cannot start: cannot start on a Sunday"));
}

// What is here but does not work is told from what is not here.
TEST_F(PluginLoader, ListsFaultsApartFromAbsence) {
  const auto mlx = [](const std::string& fault) {
    setenv("RERANKD_PLUGIN_PATH", fault.c_str(), 1);
    for (const BackendDescription& backend : AvailableBackends())
      if (backend.name == "mlx") return backend;
    return BackendDescription{};
  };
  for (const char* fault : {"abi", "symbol", "start", "describe", "library"})
    EXPECT_TRUE(mlx(std::string(RERANKD_TEST_PLUGINS "/") + fault).broken) << fault;
  EXPECT_THAT(mlx(RERANKD_TEST_PLUGINS "/describe").missing, HasSubstr("cannot describe on a Sunday"));
  const BackendDescription engine = mlx(RERANKD_TEST_PLUGINS "/engine");
  EXPECT_FALSE(engine.broken);
  EXPECT_EQ(engine.missing, "no engine library");
}

TEST_F(PluginLoader, EveryBackendIsListedWithWhatIsMissing) {
  setenv("RERANKD_PLUGIN_PATH", RERANKD_TEST_PLUGINS "/abi", 1);
  std::vector<std::string> names;
  for (const BackendDescription& backend : AvailableBackends()) {
    names.push_back(backend.name);
    EXPECT_EQ(backend.missing.empty(), !backend.devices.empty()) << backend.name;
    EXPECT_EQ(backend.missing.empty(), backend.get.empty()) << backend.name;
    if (backend.name == "mlx") {
      EXPECT_THAT(backend.missing, HasSubstr("interface version"));
    }
  }
  EXPECT_THAT(names, testing::ElementsAre("native", "fake", "pytorch", "mps", "cuda", "compiled", "onnx",
                                          "tensorrt", "mlx", "openvino"));
}

TEST_F(PluginLoader, ABackendThatIsNotHereSaysWhyAndHowToGetIt) {
  setenv("RERANKD_PLUGIN_PATH", RERANKD_TEST_PLUGINS "/abi", 1);
  Settings settings;
  settings.instances[0].model = std::string(RERANKD_SOURCE_DIR) + "/tests/data/tiny-random";
  settings.instances[0].backend = "mlx";
  const Status status = Engine::Create(settings).status();
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("backend 'mlx' is not here"), HasSubstr("interface version 4"),
                    HasSubstr("get it with: make backends"), HasSubstr("native (cpu)")));
}

TEST_F(PluginLoader, TwoPluginsServeTwoModelsInOneProcess) {
  setenv("RERANKD_PLUGIN_PATH", RERANKD_TEST_PLUGINS "/sound", 1);
  Settings settings;
  settings.instances.resize(2);
  for (size_t i = 0; i < 2; ++i) {
    settings.instances[i].backend = i == 0 ? "onnx" : "openvino";
    settings.instances[i].model =
        std::string(RERANKD_SOURCE_DIR) + "/tests/data/" + (i == 0 ? "tiny-random" : "labels3-f16");
  }
  const auto engine = Engine::Create(settings);
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  EXPECT_EQ((*engine)->instances()[0].caps.batch_tokens, 100);
  EXPECT_EQ((*engine)->instances()[1].caps.batch_tokens, 200);
  std::vector<std::thread> clients;
  for (const char* model : {"tiny-random", "labels3-f16"})
    clients.emplace_back([&, model] {
      for (int i = 0; i < 50; ++i) {
        ScoreRequest request = ScoreRequest::ForQuery("cat", {"a small animal", "a river"});
        request.model = model;
        const auto result = (*engine)->Score(std::move(request));
        ASSERT_TRUE(result.ok()) << result.status().ToString();
        EXPECT_EQ(result->logits.size(), model == std::string("tiny-random") ? 2u : 6u);
      }
    });
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace rerankd
