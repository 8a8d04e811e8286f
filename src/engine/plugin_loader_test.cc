#include "engine/plugin_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

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
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
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
  EXPECT_THAT(Load(RERANKD_TEST_PLUGINS "abi").message(),
              HasSubstr("has interface version 3, this rerankd has 2"));
  EXPECT_THAT(Load(RERANKD_TEST_PLUGINS "toolchain").message(),
              HasSubstr("was compiled by 1.2.3 of another compiler, this rerankd by"));
}

TEST_F(PluginLoader, EveryBackendIsListedWithWhatIsMissing) {
  setenv("RERANKD_PLUGIN_PATH", RERANKD_TEST_PLUGINS "abi", 1);
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
  setenv("RERANKD_PLUGIN_PATH", RERANKD_TEST_PLUGINS "abi", 1);
  Settings settings;
  settings.instances[0].model = std::string(RERANKD_SOURCE_DIR) + "/tests/data/tiny-random";
  settings.instances[0].backend = "mlx";
  const Status status = Engine::Create(settings).status();
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("backend 'mlx' is not here"), HasSubstr("interface version 3"),
                    HasSubstr("get it with: make backends"), HasSubstr("native (cpu)")));
}

}  // namespace
}  // namespace rerankd
