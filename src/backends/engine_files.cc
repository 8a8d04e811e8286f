#include "backends/engine_files.h"

#include <dlfcn.h>

#include <filesystem>

#include "backends/padded_backend.h"

namespace rerankd {
namespace {

namespace fs = std::filesystem;

// Signed weights saturate in the 8-bit products of AVX2: exact only with VNNI.
std::vector<std::string> OnnxInt8() {
  std::vector<std::string> names = {"model_quint8_avx2.onnx", "model_quantized.onnx", "model_int8.onnx",
                                    "model_uint8.onnx"};
  if (HasVnni()) names.insert(names.begin(), {"model_qint8_avx512_vnni.onnx", "model_qint8_avx512.onnx"});
#if defined(__aarch64__)
  names.insert(names.begin(), "model_qint8_arm64.onnx");
#endif
  return names;
}

std::vector<std::string> OnnxNames(const std::string& precision) {
  if (precision == "fp32") return {"model.onnx"};
  if (precision == "int8") return OnnxInt8();
  if (precision == "fp16") return {"model_fp16.onnx"};
  if (precision == "bf16") return {"model_bf16.onnx"};
  return {"model_q4.onnx"};
}

// int8 = quantised by NNCF. Halves are a matter of the device.
std::vector<std::string> OpenVinoNames(const std::string& precision) {
  if (precision == "int8") return {"openvino_model_qint8_quantized.xml", "openvino_model_int8.xml"};
  return {"openvino_model.xml"};
}

}  // namespace

std::vector<std::string> EngineFiles(const std::string& backend, const std::string& precision) {
  const std::string wanted = precision.empty() || precision == "auto" ? "fp32" : precision;
  std::string folder;
  std::vector<std::string> names, files;
  if (backend == "onnx" || backend == "tensorrt") {
    folder = "onnx/";
    names = OnnxNames(wanted);
  } else if (backend == "openvino") {
    folder = "openvino/";
    names = OpenVinoNames(wanted);
  }
  for (const std::string& name : names) {
    files.push_back(folder + name);
    files.push_back(name);
  }
  return files;
}

std::string FindEngineFile(const std::string& directory, const std::string& backend,
                           const std::string& precision) {
  for (const std::string& file : EngineFiles(backend, precision))
    if (fs::exists(fs::path(directory) / file)) return (fs::path(directory) / file).string();
  return "";
}

std::vector<std::string> CompanionsOf(const std::string& file) {
  if (file.ends_with(".onnx")) return {file + "_data", file + ".data"};
  return {fs::path(file).replace_extension(".bin").string()};
}

std::string PluginFolder() {
  Dl_info self{};
  if (dladdr(reinterpret_cast<const void*>(&PluginFolder), &self) == 0 || self.dli_fname == nullptr)
    return "";
  return fs::path(self.dli_fname).parent_path().string();
}

}  // namespace rerankd
