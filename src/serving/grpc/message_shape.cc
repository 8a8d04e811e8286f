#include "serving/grpc/message_shape.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <cstdint>
#include <string>

namespace rerankd::serving {
namespace {

constexpr int64_t kMostValues = 2'000'000;  // of a message, as of a JSON body; one may take 80 bytes
constexpr size_t kLeastBytes = 2;           // of a value: its tag and its length

using google::protobuf::internal::WireFormatLite;

// Counts the values down; false when there are too many. `type` null: unknown fields. Groups are not told
// from the message around them.
bool CountValues(const google::protobuf::Descriptor* type, google::protobuf::io::CodedInputStream* in,
                 int64_t* left) {
  while (const uint32_t tag = in->ReadTag()) {
    if (--*left < 0) return false;
    const auto wire = WireFormatLite::GetTagWireType(tag);
    if (wire == WireFormatLite::WIRETYPE_START_GROUP || wire == WireFormatLite::WIRETYPE_END_GROUP) continue;
    const auto* field =
        type != nullptr ? type->FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag)) : nullptr;
    if (wire != WireFormatLite::WIRETYPE_LENGTH_DELIMITED || field == nullptr) {
      if (!WireFormatLite::SkipField(in, tag)) return true;
      continue;
    }
    int size = 0;
    if (!in->ReadVarintSizeAsInt(&size)) return true;
    if (field->message_type() != nullptr) {
      const auto limit = in->PushLimit(size);
      if (!CountValues(field->message_type(), in, left)) return false;
      in->PopLimit(limit);
      continue;
    }
    if (field->is_packable()) *left -= size;  // a byte may be a value
    if (!in->Skip(size)) return true;
  }
  return *left >= 0;
}

}  // namespace

Status CheckShape(const grpc::ByteBuffer& bytes, const google::protobuf::Descriptor& type) {
  if (bytes.Length() <= kMostValues * kLeastBytes) return {};
  grpc::ByteBuffer copy = bytes;  // shares the slices
  grpc::ProtoBufferReader reader(&copy);
  google::protobuf::io::CodedInputStream in(&reader);
  int64_t left = kMostValues;
  if (CountValues(&type, &in, &left)) return {};
  return InvalidArgument("the message has more than " + std::to_string(kMostValues) +
                         " values: split the request");
}

}  // namespace rerankd::serving
