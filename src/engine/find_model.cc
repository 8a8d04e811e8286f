#include <algorithm>

#include "base/text.h"
#include "engine/engine.h"

namespace rerankd {

Result<const ModelInfo*> Engine::FindModel(std::string_view name) const {
  if (name.empty()) return &model();
  std::vector<std::string> names;
  for (const ModelInfo& model : models()) {
    if (model.name == name) return &model;
    if (std::find(model.aliases.begin(), model.aliases.end(), name) != model.aliases.end()) return &model;
    names.push_back(model.name);
    names.insert(names.end(), model.aliases.begin(), model.aliases.end());
  }
  return NotFound("no model '" + std::string(name) + "'" + Hint(name, names) + ": this server has " +
                  Join(names, ", "));
}

}  // namespace rerankd
