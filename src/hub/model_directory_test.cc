#include "hub/model_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/temporary_folder.h"

namespace rerankd {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

const std::string kCommit = "0123456789abcdef0123456789abcdef01234567";

class ModelDirectory : public ::testing::Test {
 protected:
  ModelDirectory() {
    folder_.Write("models/default/config.json", "{}");
    folder_.Write("hub/models--org--name/refs/main", kCommit + "\n");
    folder_.Write("hub/models--org--name/refs/refs/pr/1", kCommit);
    for (const char* file : {"config.json", "vocab.txt", "model.safetensors"})
      folder_.Write("hub/models--org--name/snapshots/" + kCommit + "/" + file, "{}");
    folder_.Write("hub/models--org--partial/refs/main", kCommit);
    folder_.Write("mine/config.json", "{}");
    folder_.Write("empty/readme.txt", "");
    places_.bundled = {folder_.path() + "/elsewhere", folder_.path() + "/models"};
    places_.hub_cache = folder_.path() + "/hub";
  }
  std::string Found(const std::string& model) {
    const auto directory = ResolveModelDirectory(model, places_);
    return directory.ok() ? *directory : directory.status().ToString();
  }
  Status Failure(const std::string& model) { return ResolveModelDirectory(model, places_).status(); }

  TemporaryFolder folder_;
  ModelPlaces places_;
};

TEST_F(ModelDirectory, FindsAFolder) {
  EXPECT_EQ(Found(folder_.path() + "/mine"), folder_.path() + "/mine");
  EXPECT_THAT(Failure(folder_.path() + "/empty").message(), HasSubstr("no config.json"));
  EXPECT_EQ(Failure(folder_.path() + "/absent").code(), Code::kNotFound);
  EXPECT_EQ(Failure("./absent").code(), Code::kNotFound);
}

TEST_F(ModelDirectory, FindsABundledModelByName) {
  EXPECT_EQ(Found("default"), folder_.path() + "/models/default");
  const Status status = Failure("defualt");
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("did you mean 'default'"), HasSubstr("elsewhere"),
                                      HasSubstr("RERANKD_MODELS_DIR")));
}

TEST_F(ModelDirectory, FindsACachedHubModel) {
  const std::string snapshot = folder_.path() + "/hub/models--org--name/snapshots/" + kCommit;
  EXPECT_EQ(Found("org/name"), snapshot);
  EXPECT_EQ(Found("org/name@main"), snapshot);
  EXPECT_EQ(Found("org/name@refs/pr/1"), snapshot);
  EXPECT_EQ(Found("org/name@" + kCommit), snapshot);
}

TEST_F(ModelDirectory, AHubModelThatIsNotThereSaysWhereItLooked) {
  for (const char* model :
       {"org/other", "org/name@v2", "org/partial", "org/name@1123456789abcdef0123456789abcdef01234567"}) {
    const Status status = Failure(model);
    EXPECT_EQ(status.code(), Code::kNotFound) << model;
    EXPECT_THAT(status.message(), AllOf(HasSubstr("/hub/models--org--"), HasSubstr("pass the folder")));
  }
  places_.hub_cache.clear();
  EXPECT_THAT(Failure("org/name").message(), HasSubstr("HF_HUB_CACHE"));
}

TEST_F(ModelDirectory, AModelThatIsNotWhollyInTheCacheIsNotThere) {
  const std::string snapshot = "hub/models--org--partial/snapshots/" + kCommit + "/";
  folder_.Write(snapshot + "config.json", "{}");
  folder_.Write(snapshot + "tokenizer.json", "{}");
  EXPECT_EQ(Failure("org/partial").code(), Code::kNotFound);  // AutoConfig of the Python library leaves this
  folder_.Write(snapshot + "model.safetensors.index.json",
                R"({"weight_map": {"a": "1.safetensors", "b": "2.safetensors", "c": "1.safetensors"}})");
  folder_.Write(snapshot + "1.safetensors", "");
  EXPECT_EQ(Failure("org/partial@" + kCommit).code(), Code::kNotFound);
  folder_.Write(snapshot + "2.safetensors", "");
  EXPECT_EQ(Found("org/partial"), folder_.path() + "/" + snapshot.substr(0, snapshot.size() - 1));
}

TEST_F(ModelDirectory, NamesCannotLeaveTheCache) {
  for (const char* model : {"org/..", "../name", "org/a..b", "org/name@../../x", "org/name@", "org/name@a//b",
                            "org/na me", "a/b/c", "org/name@/etc", "org--x/name", "/", "..", "", "org/"}) {
    EXPECT_FALSE(Failure(model).ok()) << model;
    EXPECT_THAT(Found(model), ::testing::Not(HasSubstr("passwd")));
  }
  EXPECT_EQ(ParseHubModel("org/..").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(ParseHubModel("org/name@../x").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(Failure(std::string("a\0b", 3)).code(), Code::kInvalidArgument);
}

TEST_F(ModelDirectory, ARefThatIsNoCommitIsNotFollowed) {
  folder_.Write("hub/models--org--evil/refs/main", "../../../mine");
  EXPECT_EQ(Failure("org/evil").code(), Code::kNotFound);
}

TEST(HubModelName, KeepsTheRevision) {
  EXPECT_EQ(ParseHubModel("a/b")->revision, "main");
  EXPECT_EQ(ParseHubModel("cross-encoder/ms-marco-MiniLM-L-6-v2@v1.0")->id,
            "cross-encoder/ms-marco-MiniLM-L-6-v2");
  EXPECT_EQ(ParseHubModel("a/b@v1.0")->revision, "v1.0");
}

// Sets environment variables for the time of a test.
class PlacesFromEnvironment : public ::testing::Test {
 protected:
  PlacesFromEnvironment() {
    for (const char* name : kNames) {
      const char* value = ::getenv(name);
      saved_.emplace_back(value != nullptr, value != nullptr ? value : "");
      ::unsetenv(name);
    }
  }
  ~PlacesFromEnvironment() override {
    for (size_t i = 0; i < std::size(kNames); ++i)
      saved_[i].first ? ::setenv(kNames[i], saved_[i].second.c_str(), 1) : ::unsetenv(kNames[i]);
  }
  static constexpr const char* kNames[] = {
      "RERANKD_MODELS_DIR", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "HOME", "XDG_CACHE_HOME"};
  std::vector<std::pair<bool, std::string>> saved_;
};

TEST_F(PlacesFromEnvironment, TheCacheIsWhereHuggingFacePutsIt) {
  EXPECT_EQ(ModelPlaces::FromEnvironment().hub_cache, "");
  ::setenv("HOME", "/home/a", 1);
  EXPECT_EQ(ModelPlaces::FromEnvironment().hub_cache, "/home/a/.cache/huggingface/hub");
  ::setenv("XDG_CACHE_HOME", "/c", 1);
  EXPECT_EQ(ModelPlaces::FromEnvironment().hub_cache, "/c/huggingface/hub");
  ::setenv("HF_HOME", "/hf", 1);
  EXPECT_EQ(ModelPlaces::FromEnvironment().hub_cache, "/hf/hub");
  ::setenv("HF_HUB_CACHE", "/hub", 1);
  EXPECT_EQ(ModelPlaces::FromEnvironment().hub_cache, "/hub");
}

TEST_F(PlacesFromEnvironment, BundledModelsComeFromTheVariableThenFromAroundTheProgram) {
  ::setenv("RERANKD_MODELS_DIR", "/m", 1);
  const auto places = ModelPlaces::FromEnvironment();
  ASSERT_GE(places.bundled.size(), 2u);
  EXPECT_EQ(places.bundled[0], "/m");
  EXPECT_THAT(places.bundled[1], EndsWith("/share/rerankd/models"));
}

TEST_F(ModelDirectory, ListsBundledModelsThenCompleteOnesOfTheCache) {
  const auto models = ListModels(places_);
  ASSERT_EQ(models.size(), 2u);
  EXPECT_EQ(models[0].first, "default");
  EXPECT_EQ(models[1].first, "org/name");
  EXPECT_THAT(models[1].second, EndsWith("/snapshots/" + kCommit));
}

}  // namespace
}  // namespace rerankd
