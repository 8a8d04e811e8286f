// The composition root: settings -> models, tokenizers, backends and the scheduler that feeds them.
// Everything above (serving, apps, bindings) scores through this class alone. Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "core/backend.h"
#include "core/request.h"
#include "core/scoring.h"
#include "core/stats.h"
#include "core/tokenizer.h"

namespace rerankd {

struct ModelInfo {
  std::string name;                  // as asked for: "default", "cross-encoder/…", a path
  std::vector<std::string> aliases;  // other names that ScoreRequest::model may call it by
  std::string directory;             // where its files are
  int num_labels = 1;
  Activation activation = Activation::kSigmoid;  // the model's own, from its config.json
  int max_length = 512;  // effective limit of a pair in tokens: of its instance that takes the longest
  std::vector<std::string> labels;
  std::shared_ptr<const Tokenizer> tokenizer;
};

struct InstanceInfo {
  int id = 0;
  int model = 0;     // index into Engine::models()
  std::string name;  // "<backend>-<id>"
  BackendCaps caps;
  int workers = 1;  // threads that score for this instance
};

class Engine {
 public:
  // Loads, warms up and starts. Errors name the model file, tensor, backend or device at fault.
  static Result<std::unique_ptr<Engine>> Create(const Settings& settings);
  virtual ~Engine() = default;  // drains

  // Never blocks. A failure here means not admitted (`done` is not called); see core/request.h for
  // Completion. kInvalidArgument: no documents, bad query index. kNotFound: no such model, message lists
  // those there are. kResourceExhausted: full, message says when to come back.
  virtual Status Submit(ScoreRequest request, Completion done) = 0;

  // Submit and wait.
  Result<ScoreResult> Score(ScoreRequest request);

  // Refuses new requests (kUnavailable), finishes the admitted ones, returns.
  virtual void Drain() = 0;

  // At least one, in the order of the configuration.
  virtual const std::vector<ModelInfo>& models() const = 0;
  // By name or alias; empty = the default one. kNotFound lists what is there. The pointer lives as long as
  // this.
  Result<const ModelInfo*> FindModel(std::string_view name) const;
  const ModelInfo& model() const { return models().front(); }  // the default one
  const Tokenizer& tokenizer() const { return *model().tokenizer; }
  virtual const std::vector<InstanceInfo>& instances() const = 0;
  virtual EngineStats stats() const = 0;

  // Measures stats().peak_multiply_adds_per_s where the native backend runs, in one precision, on as many
  // threads as it has.
  // Takes about 50 ms of all cores: before the first request.
  virtual void MeasurePeak() {}
};

// What can run here, for `inspect` and for messages about a backend that is missing. Loads all plugins.
struct BackendDescription {
  std::string name;                  // the value of model.backend
  std::vector<std::string> devices;  // the values of model.device that work here
  std::string details;               // ISA, engine version
  std::string missing = "";          // exact reason why it cannot run here; empty where it can
  std::string get = "";              // command or sentence that gets what is missing
  bool broken = false;               // `missing` is a fault of something that is here, not an absence
};
std::vector<BackendDescription> AvailableBackends();

// The tokenizer of the first instance's model, without loading its weights.
Result<std::shared_ptr<const Tokenizer>> LoadModelTokenizer(const Settings& settings);

}  // namespace rerankd
