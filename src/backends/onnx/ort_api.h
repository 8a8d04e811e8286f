// What rerankd uses of ONNX Runtime's C API. Own declarations, because the packages that bring the library
// bring no header. The API is a table of function pointers that only ever grows, so a slot means the same in
// every version that has it; OrtGetApiBase()->GetApi(kOrtApiVersion) gives the table or null where the
// library is older. tools/check_ort_slots.py compares the slot numbers with the complete list of another
// binding.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rerankd::ort {

inline constexpr uint32_t kOrtApiVersion = 17;  // of ONNX Runtime 1.17, the first with Gelu of opset 20

struct OrtStatus;
struct Env;
struct SessionOptions;
struct Session;
struct RunOptions;
struct Value;
struct MemoryInfo;
struct TypeInfo;
struct ShapeInfo;
struct Allocator;
struct CudaOptions;
struct TensorRtOptions;

enum Severity { kVerbose, kInfo, kWarning, kError, kFatal };
enum ElementType { kFloat = 1, kInt64 = 7, kFloat16 = 10 };
enum AllocatorType { kDeviceAllocator = 0, kArenaAllocator = 1 };
enum MemType { kMemTypeDefault = 0 };
inline constexpr int kOptimizeAll = 99;

using Slot = void (*)();

struct ApiBase {
  const Slot* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

// A function of the table: its number and its type.
template <size_t kNumber, typename Function>
struct Entry {
  static constexpr size_t kSlot = kNumber;
  using Type = Function*;
};

// clang-format off
using GetErrorMessage = Entry<2, const char*(const OrtStatus*)>;
using CreateEnv = Entry<3, OrtStatus*(int severity, const char* log_id, Env** out)>;
using CreateSession = Entry<7, OrtStatus*(const Env*, const char* path, const SessionOptions*, Session** out)>;
using CreateSessionFromArray = Entry<8, OrtStatus*(const Env*, const void* data, size_t bytes, const SessionOptions*, Session** out)>;
using Run = Entry<9, OrtStatus*(Session*, const RunOptions*, const char* const* input_names, const Value* const* inputs, size_t input_count, const char* const* output_names, size_t output_count, Value** outputs)>;
using CreateSessionOptions = Entry<10, OrtStatus*(SessionOptions** out)>;
using SetSessionGraphOptimizationLevel = Entry<23, OrtStatus*(SessionOptions*, int level)>;
using SetIntraOpNumThreads = Entry<24, OrtStatus*(SessionOptions*, int threads)>;
using SessionGetInputCount = Entry<30, OrtStatus*(const Session*, size_t* out)>;
using SessionGetOutputCount = Entry<31, OrtStatus*(const Session*, size_t* out)>;
using SessionGetOutputTypeInfo = Entry<34, OrtStatus*(const Session*, size_t index, TypeInfo** out)>;
using SessionGetInputName = Entry<36, OrtStatus*(const Session*, size_t index, Allocator*, char** out)>;
using SessionGetOutputName = Entry<37, OrtStatus*(const Session*, size_t index, Allocator*, char** out)>;
using CreateTensorWithDataAsOrtValue = Entry<49, OrtStatus*(const MemoryInfo*, void* data, size_t bytes, const int64_t* shape, size_t dims, int type, Value** out)>;
using GetTensorMutableData = Entry<51, OrtStatus*(Value*, void** out)>;
using CastTypeInfoToTensorInfo = Entry<55, OrtStatus*(const TypeInfo*, const ShapeInfo** out)>;
using GetTensorElementType = Entry<60, OrtStatus*(const ShapeInfo*, int* out)>;
using GetTensorShapeElementCount = Entry<64, OrtStatus*(const ShapeInfo*, size_t* out)>;
using GetTensorTypeAndShape = Entry<65, OrtStatus*(const Value*, ShapeInfo** out)>;
using CreateCpuMemoryInfo = Entry<69, OrtStatus*(int allocator_type, int mem_type, MemoryInfo** out)>;
using AllocatorFree = Entry<76, OrtStatus*(Allocator*, void* data)>;
using GetAllocatorWithDefaultOptions = Entry<78, OrtStatus*(Allocator** out)>;
using ReleaseStatus = Entry<93, void(OrtStatus*)>;
using ReleaseMemoryInfo = Entry<94, void(MemoryInfo*)>;
using ReleaseSession = Entry<95, void(Session*)>;
using ReleaseValue = Entry<96, void(Value*)>;
using ReleaseTypeInfo = Entry<98, void(TypeInfo*)>;
using ReleaseTensorTypeAndShapeInfo = Entry<99, void(ShapeInfo*)>;
using ReleaseSessionOptions = Entry<100, void(SessionOptions*)>;
using GetAvailableProviders = Entry<125, OrtStatus*(char*** out, int* count)>;
using ReleaseAvailableProviders = Entry<126, OrtStatus*(char** providers, int count)>;
using SessionOptionsAppendExecutionProvider_TensorRT_V2 = Entry<170, OrtStatus*(SessionOptions*, const TensorRtOptions*)>;
using CreateTensorRTProviderOptions = Entry<171, OrtStatus*(TensorRtOptions** out)>;
using UpdateTensorRTProviderOptions = Entry<172, OrtStatus*(TensorRtOptions*, const char* const* keys, const char* const* values, size_t count)>;
using ReleaseTensorRTProviderOptions = Entry<174, void(TensorRtOptions*)>;
using SessionOptionsAppendExecutionProvider_CUDA_V2 = Entry<204, OrtStatus*(SessionOptions*, const CudaOptions*)>;
using CreateCUDAProviderOptions = Entry<205, OrtStatus*(CudaOptions** out)>;
using UpdateCUDAProviderOptions = Entry<206, OrtStatus*(CudaOptions*, const char* const* keys, const char* const* values, size_t count)>;
using ReleaseCUDAProviderOptions = Entry<208, void(CudaOptions*)>;
using SessionOptionsAppendExecutionProvider = Entry<216, OrtStatus*(SessionOptions*, const char* provider, const char* const* keys, const char* const* values, size_t count)>;
// clang-format on

}  // namespace rerankd::ort
