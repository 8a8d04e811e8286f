#include "model/bert_onnx.h"

#include <cmath>
#include <utility>
#include <vector>

#include "model/onnx_writer.h"

namespace rerankd {
namespace {

constexpr int kOpset = 20;        // the first with Gelu
constexpr float kMasked = -1e9F;  // added to the logits of attention: their weight becomes exactly 0

// Values [rows, columns] -> [columns, rows].
template <typename T>
std::vector<T> Transposed(std::span<const T> values, size_t rows, size_t columns) {
  std::vector<T> out(values.size());
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < columns; ++c) out[c * rows + r] = values[r * columns + c];
  return out;
}

// Symmetric codes of a matrix, one scale a row.
struct Codes {
  std::vector<int8_t> values;
  std::vector<float> scales;
};

Codes Quantise(std::span<const float> weight, size_t columns) {
  Codes codes{std::vector<int8_t>(weight.size()), {}};
  for (size_t at = 0; at < weight.size(); at += columns) {
    float largest = 0;
    for (size_t c = 0; c < columns; ++c) largest = std::max(largest, std::abs(weight[at + c]));
    const float scale = largest > 0 ? largest / 127 : 1;
    for (size_t c = 0; c < columns; ++c)
      codes.values[at + c] = static_cast<int8_t>(std::lround(weight[at + c] / scale));
    codes.scales.push_back(scale);
  }
  return codes;
}

class Exporter {
 public:
  Exporter(const ModelConfig& config, const TensorSource& source, const OnnxOptions& options)
      : c_(config), source_(source), options_(options) {}

  Result<std::string> Run() {
    Inputs();
    RERANKD_RETURN_IF_ERROR(Embed());
    for (int i = 0; i < c_.num_layers; ++i) RERANKD_RETURN_IF_ERROR(Layer(i, i == c_.num_layers - 1));
    RERANKD_RETURN_IF_ERROR(Head());
    return w_.Finish(kOpset);
  }

 private:
  struct Size {
    int outputs, inputs;
  };

  void Inputs() {
    for (const char* name : {"input_ids", "attention_mask", "token_type_ids"})
      w_.Input(name, OnnxWriter::kInt64, {"batch", "sequence"});
    const int64_t heads = c_.num_heads, width = c_.head_size();
    const std::string dims = w_.Node("Shape", {"input_ids"});
    token_shape_ = w_.Node("Concat", {dims, w_.Ints("hidden", {c_.hidden_size})}, {{"axis", int64_t{0}}});
    head_shape_ = w_.Node("Concat", {dims, w_.Ints("heads", {heads, width})}, {{"axis", int64_t{0}}});
    cls_shape_ = w_.Ints("cls_heads", {-1, 1, heads, width});
    row_shape_ = w_.Ints("rows", {-1, c_.hidden_size});
    const std::string present = w_.Node("Cast", {"attention_mask"}, {{"to", int64_t{OnnxWriter::kFloat}}});
    const std::string one = w_.Floats("one", {}, std::vector<float>{1});
    const std::string masked = w_.Floats("masked", {}, std::vector<float>{kMasked});
    const std::string bias = w_.Node("Mul", {w_.Node("Sub", {one, present}), masked});
    mask_ = w_.Node("Unsqueeze", {bias, w_.Ints("mask_axes", {1, 2})});
  }

  Result<std::string> Table(const std::string& name, int rows) {
    const std::string full = "bert.embeddings." + name + "_embeddings.weight";
    RERANKD_ASSIGN_OR_RETURN(const std::vector<float> values,
                             source_.ReadFloats(full, {rows, c_.hidden_size}));
    return w_.Floats(full, {rows, c_.hidden_size}, values);
  }

  Status Embed() {
    RERANKD_ASSIGN_OR_RETURN(const std::string words, Table("word", c_.vocab_size));
    RERANKD_ASSIGN_OR_RETURN(const std::string types, Table("token_type", c_.type_vocab_size));
    RERANKD_ASSIGN_OR_RETURN(const std::string positions, Table("position", c_.max_positions));
    const std::string length = w_.Node("Shape", {"input_ids"}, {{"start", int64_t{1}}, {"end", int64_t{2}}});
    const std::string zero = w_.Ints("zero", {0});
    const std::string places = w_.Node("Slice", {positions, zero, length, zero});
    const std::string sum = w_.Node(
        "Add", {w_.Node("Gather", {words, "input_ids"}), w_.Node("Gather", {types, "token_type_ids"})});
    const std::string rows = w_.Node("Reshape", {w_.Node("Add", {sum, places}), row_shape_});
    return Norm("bert.embeddings.LayerNorm", rows, &x_);
  }

  Status Norm(const std::string& name, const std::string& x, std::string* out) {
    std::string parts[2];
    for (const auto& [part, end] : {std::pair(&parts[0], ".weight"), std::pair(&parts[1], ".bias")}) {
      RERANKD_ASSIGN_OR_RETURN(const std::vector<float> values,
                               source_.ReadFloats(name + end, {c_.hidden_size}));
      *part = w_.Floats(name + end, {c_.hidden_size}, values);
    }
    *out = w_.Node("LayerNormalization", {x, parts[0], parts[1]},
                   {{"axis", int64_t{-1}}, {"epsilon", c_.layer_norm_eps}});
    return {};
  }

  // x [rows, inputs] -> [rows, outputs], scaled by `factor`.
  Result<std::string> Linear(const std::string& name, Size size, const std::string& x, float factor = 1) {
    RERANKD_ASSIGN_OR_RETURN(std::vector<float> weight,
                             source_.ReadFloats(name + ".weight", {size.outputs, size.inputs}));
    RERANKD_ASSIGN_OR_RETURN(std::vector<float> bias, source_.ReadFloats(name + ".bias", {size.outputs}));
    for (float& value : weight) value *= factor;
    for (float& value : bias) value *= factor;
    const std::string b = w_.Floats(name + ".bias", {size.outputs}, bias);
    if (options_.products == OnnxProducts::kInt8)
      return w_.Node("Add", {Int8Product(name, size, x, weight), b});
    return w_.Node("Gemm", {x, Weight(name, size, weight), b}, {{"transB", int64_t{1}}});
  }

  // [outputs, inputs]
  std::string Weight(const std::string& name, Size size, std::span<const float> weight) {
    if (options_.products == OnnxProducts::kFloat)
      return w_.Floats(name + ".weight", {size.outputs, size.inputs}, weight);
    const Codes codes = Quantise(weight, static_cast<size_t>(size.inputs));
    const int64_t shape[] = {size.outputs, size.inputs};
    const std::string stored =
        w_.Constant(name + ".weight_codes", OnnxWriter::kInt8, shape, std::as_bytes(std::span(codes.values)));
    const std::string scales = w_.Floats(name + ".weight_scales", {size.outputs}, codes.scales);
    return w_.Node("DequantizeLinear", {stored, scales}, {{"axis", int64_t{0}}});
  }

  // The form that ONNX Runtime runs as one operator, which has one scale for all activations. Each row is
  // brought to [-1, 1] beforehand, so that the scale is one of each row.
  std::string Int8Product(const std::string& name, Size size, const std::string& x,
                          std::span<const float> weight) {
    const auto outputs = static_cast<size_t>(size.outputs), inputs = static_cast<size_t>(size.inputs);
    Codes codes = Quantise(weight, inputs);
    std::vector<int8_t> stored = Transposed<int8_t>(codes.values, outputs, inputs);
    if (options_.unsigned_codes)
      for (int8_t& code : stored) code = static_cast<int8_t>(static_cast<uint8_t>(code) ^ 0x80U);
    const int64_t shape[] = {size.inputs, size.outputs};
    const auto type = options_.unsigned_codes ? OnnxWriter::kUint8 : OnnxWriter::kInt8;
    const std::string w = w_.Constant(name + ".weight_codes", type, shape, std::as_bytes(std::span(stored)));
    const std::string scales = w_.Floats(name + ".weight_scales", {size.outputs}, codes.scales);
    const uint8_t zero = options_.unsigned_codes ? 128 : 0;
    const std::string zero_point =
        w_.Constant(name + ".weight_zero", type, {}, std::as_bytes(std::span(&zero, 1)));
    const std::string axis = w_.Ints(name + ".axis", {-1}),
                      least = w_.Floats(name + ".least", {}, std::vector<float>{1e-12F});
    const std::string largest = w_.Node("Max", {w_.Node("ReduceMax", {w_.Node("Abs", {x}), axis}), least});
    const std::vector<std::string> a = w_.Nodes("DynamicQuantizeLinear", {w_.Node("Div", {x, largest})}, 3);
    const std::string sums = w_.Node("MatMulInteger", {a[0], w, a[2], zero_point});
    const std::string real = w_.Node("Cast", {sums}, {{"to", int64_t{OnnxWriter::kFloat}}});
    return w_.Node("Mul", {w_.Node("Mul", {real, w_.Node("Mul", {a[1], scales})}), largest});
  }

  // Rows of `x`, split into heads: [batch, heads, positions, head size] in the order of `axes`.
  Result<std::string> Project(const std::string& name, const std::string& x, bool query, bool cls_only) {
    const int hidden = c_.hidden_size;
    // 1 / sqrt(head size) belongs to the logits of attention; in the queries it costs nothing.
    const float factor = query ? 1 / std::sqrt(static_cast<float>(c_.head_size())) : 1;
    RERANKD_ASSIGN_OR_RETURN(const std::string rows, Linear(name, {hidden, hidden}, x, factor));
    return w_.Node("Reshape", {rows, cls_only ? cls_shape_ : head_shape_});
  }

  Status Layer(int index, bool cls_only) {
    const std::string name = "bert.encoder.layer." + std::to_string(index) + ".";
    std::string asking = x_;
    if (cls_only) {
      const std::string zero = w_.Constant("cls", OnnxWriter::kInt64, {}, std::as_bytes(std::span(&kCls, 1)));
      asking = w_.Node("Gather", {w_.Node("Reshape", {x_, token_shape_}), zero}, {{"axis", int64_t{1}}});
    }
    const std::string self = name + "attention.self.";
    RERANKD_ASSIGN_OR_RETURN(const std::string q, Project(self + "query", asking, true, cls_only));
    RERANKD_ASSIGN_OR_RETURN(const std::string k, Project(self + "key", x_, false, false));
    RERANKD_ASSIGN_OR_RETURN(const std::string v, Project(self + "value", x_, false, false));
    const std::string context = Attend(q, k, v);
    const int hidden = c_.hidden_size;
    RERANKD_ASSIGN_OR_RETURN(const std::string attended,
                             Linear(name + "attention.output.dense", {hidden, hidden}, context));
    std::string normed;
    RERANKD_RETURN_IF_ERROR(
        Norm(name + "attention.output.LayerNorm", w_.Node("Add", {attended, asking}), &normed));
    RERANKD_ASSIGN_OR_RETURN(const std::string wide,
                             Linear(name + "intermediate.dense", {c_.intermediate_size, hidden}, normed));
    RERANKD_ASSIGN_OR_RETURN(const std::string narrow,
                             Linear(name + "output.dense", {hidden, c_.intermediate_size}, Activate(wide)));
    return Norm(name + "output.LayerNorm", w_.Node("Add", {narrow, normed}), &x_);
  }

  std::string Attend(const std::string& q, const std::string& k, const std::string& v) {
    const std::string queries = w_.Node("Transpose", {q}, {{"perm", {0, 2, 1, 3}}});
    const std::string keys = w_.Node("Transpose", {k}, {{"perm", {0, 2, 3, 1}}});
    const std::string values = w_.Node("Transpose", {v}, {{"perm", {0, 2, 1, 3}}});
    const std::string logits = w_.Node("Add", {w_.Node("MatMul", {queries, keys}), mask_});
    const std::string weights = w_.Node("Softmax", {logits}, {{"axis", int64_t{-1}}});
    const std::string heads = w_.Node("MatMul", {weights, values});
    return w_.Node("Reshape", {w_.Node("Transpose", {heads}, {{"perm", {0, 2, 1, 3}}}), row_shape_});
  }

  std::string Activate(const std::string& x) {
    switch (c_.hidden_activation) {
      case HiddenActivation::kRelu:
        return w_.Node("Relu", {x});
      case HiddenActivation::kGeluTanh:
        return w_.Node("Gelu", {x}, {{"approximate", "tanh"}});
      case HiddenActivation::kGelu:
        break;
    }
    return w_.Node("Gelu", {x});
  }

  // Always fp32: one row a pair.
  Status Head() {
    const OnnxProducts products = std::exchange(options_.products, OnnxProducts::kFloat);
    const int hidden = c_.hidden_size;
    RERANKD_ASSIGN_OR_RETURN(const std::string pooled, Linear("bert.pooler.dense", {hidden, hidden}, x_));
    RERANKD_ASSIGN_OR_RETURN(const std::string logits,
                             Linear("classifier", {c_.num_labels, hidden}, w_.Node("Tanh", {pooled})));
    options_.products = products;
    w_.Output("logits", logits, {"batch", std::to_string(c_.num_labels)});
    return {};
  }

  static constexpr int64_t kCls = 0;

  const ModelConfig& c_;
  const TensorSource& source_;
  OnnxOptions options_;
  OnnxWriter w_;
  std::string token_shape_, head_shape_, cls_shape_, row_shape_, mask_;
  std::string x_;  // [batch x sequence, hidden]; [batch, hidden] behind the last layer
};

}  // namespace

Result<std::string> BertOnnxModel(const ModelConfig& config, const TensorSource& source,
                                  const OnnxOptions& options) {
  return Exporter(config, source, options).Run();
}

}  // namespace rerankd
