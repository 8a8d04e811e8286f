// Files besides the weights that engines run, under the names that Hugging Face repositories give them; and
// where the shared object that this code is in stands.
#pragma once

#include <string>
#include <vector>

namespace rerankd {

// Paths inside a model folder, best first, of the files with which `backend` runs `precision`. Empty: it runs
// the weights alone.
std::vector<std::string> EngineFiles(const std::string& backend, const std::string& precision);

// The first of them that is in the folder, with the folder in front. Empty: none.
std::string FindEngineFile(const std::string& directory, const std::string& backend,
                           const std::string& precision);

// Files that one of them may need beside it: the weights of an IR, external data of an ONNX file.
std::vector<std::string> CompanionsOf(const std::string& file);

// The folder of the plugin (or program) that calls this; empty if the system does not tell.
std::string PluginFolder();

}  // namespace rerankd
