// A package of AOTInductor: the encoder of tools/export/encoder.py, compiled ahead of time.
#include <ATen/ATen.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "backends/engine_files.h"
#include "backends/torch/net.h"
#include "base/file.h"
#include "base/text.h"

namespace rerankd {
namespace {

namespace fs = std::filesystem;
using torch::inductor::AOTIModelPackageLoader;

class Compiled final : public Net {
 public:
  Compiled(const std::string& path, std::string mode, size_t runners, at::Device device)
      : loader_(std::make_unique<AOTIModelPackageLoader>(path, "model", false, runners, device.index())),
        mode_(std::move(mode)),
        bytes_(static_cast<int64_t>(fs::file_size(path))) {}

  // Sizes of 1 would be specialised away when the package is made: it holds code for two rows and columns at
  // least.
  at::Tensor Forward(const NetInputs& in) const override {
    const int64_t rows = in.ids.size(0), longest = in.ids.size(1);
    const auto widened = [&](const at::Tensor& t) {
      at::Tensor wide = longest < 2 ? at::constant_pad_nd(t, {0, 1}) : t;
      return rows < 2 ? wide.repeat({2, 1}) : wide;
    };
    return loader_->run({widened(in.ids), widened(in.types), widened(in.mask)}).at(0).slice(0, 0, rows);
  }

  std::unordered_map<std::string, std::string> metadata() const { return loader_->get_metadata(); }
  int64_t bytes() const override { return bytes_; }
  std::string details() const override {
    return "PyTorch " + TorchVersion() + ", AOTInductor, mode " + mode_ +
           (mode_ == "reduce-overhead" ? " (CUDA graphs: none on a CPU, as default)" : "");
  }

 private:
  std::unique_ptr<AOTIModelPackageLoader> loader_;
  std::string mode_;
  int64_t bytes_;
};

// CRC-32 of the weight files in the order of their names, as compile.py has it: a package of other weights
// must not be mistaken for this model.
Result<uLong> WeightsChecksum(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory))
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  uLong checksum = crc32(0, nullptr, 0);
  for (const fs::path& file : files) {
    RERANKD_ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::Open(file.string()));
    checksum =
        crc32_z(checksum, reinterpret_cast<const Bytef*>(mapped.bytes().data()), mapped.bytes().size());
  }
  return checksum;
}

// Where packages of a model are looked for: in its folder; and by that folder's name beside this plugin,
// where `make backends` puts those of the bundled models.
std::vector<fs::path> PackageFolders(const std::string& directory) {
  std::vector<fs::path> folders = {fs::path(directory) / "compiled"};
  if (const std::string plugins = PluginFolder(); !plugins.empty())
    folders.push_back(fs::path(plugins) / "compiled" / fs::canonical(directory).filename());
  return folders;
}

}  // namespace

Result<NetPointer> LoadCompiled(const PluginRequest& request, at::Device device,
                                const std::string& precision) {
  const std::string mode = request.compile_mode.empty() ? "default" : request.compile_mode;
  const std::string type = c10::DeviceTypeName(device.type(), true);
  const std::string file = type + "-" + precision + "-" + mode + ".pt2";
  const std::vector<fs::path> folders = PackageFolders(request.directory);
  const std::string command = "`build/backends-venv/bin/python tools/export/compile.py " + request.directory +
                              " --device " + type + " --precision " + precision + " --mode " + mode +
                              "`, with --out " + folders.back().string() +
                              " where the model's own folder cannot be written";
  const auto folder = std::find_if(folders.begin(), folders.end(),
                                   [&](const fs::path& one) { return fs::exists(one / file); });
  if (folder == folders.end()) {
    std::vector<std::string> places;
    for (const fs::path& one : folders) places.push_back(one.string());
    return FailedPrecondition("no package " + file + " in " + Join(places, ", ") + "; make it with " +
                              command);
  }
  const fs::path path = *folder / file;
  auto compiled =
      std::make_shared<Compiled>(path.string(), mode, static_cast<size_t>(request.workers), device);
  RERANKD_ASSIGN_OR_RETURN(const uLong checksum, WeightsChecksum(request.directory));
  const auto metadata = compiled->metadata();
  if (const auto made = metadata.find("rerankd_weights");
      made == metadata.end() || made->second != std::to_string(checksum))
    return FailedPrecondition(path.string() +
                              " was made from other weights than those of the folder; make it anew with " +
                              command);
  return NetPointer(std::move(compiled));
}

}  // namespace rerankd
