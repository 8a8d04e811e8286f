// Bounds what a message costs once it is parsed, before it is.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include "base/status.h"

namespace rerankd::serving {

// kInvalidArgument if parsing would take far more memory than the bytes do: a message of millions of empty
// values. `type`: of the message; bytes that are no such message are left to the parser.
Status CheckShape(const grpc::ByteBuffer& bytes, const google::protobuf::Descriptor& type);

}  // namespace rerankd::serving
