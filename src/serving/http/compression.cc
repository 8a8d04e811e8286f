#include "serving/http/compression.h"

#include <zlib.h>

#include <algorithm>

namespace rerankd::serving {
namespace {

constexpr int kEitherFormat = 15 + 32;  // zlib's code for: window of 32 KiB, gzip or zlib header
constexpr int kGzipFormat = 15 + 16;
constexpr size_t kStep = 64 << 10;
constexpr size_t kLongest = 1 << 30;  // zlib counts in 32 bits

class Inflater {
 public:
  explicit Inflater(std::string_view packed) {
    ready_ = inflateInit2(&stream_, kEitherFormat) == Z_OK;
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
    stream_.avail_in = static_cast<uInt>(packed.size());
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() {
    if (ready_) inflateEnd(&stream_);
  }

  // Appends up to `size` bytes to *out; zlib's code.
  int Step(size_t size, std::string* out) {
    if (!ready_) return Z_MEM_ERROR;
    const size_t before = out->size();
    out->resize(before + size);
    stream_.next_out = reinterpret_cast<Bytef*>(out->data() + before);
    stream_.avail_out = static_cast<uInt>(size);
    const int code = inflate(&stream_, Z_NO_FLUSH);
    out->resize(before + size - stream_.avail_out);
    return code;
  }
  bool at_end_of_input() const { return stream_.avail_in == 0; }

 private:
  z_stream stream_{};
  bool ready_ = false;
};

}  // namespace

Result<std::string> Unpack(std::string_view packed, uint64_t limit) {
  if (packed.size() > kLongest)
    return ResourceExhausted("a compressed body may have " + std::to_string(kLongest) + " bytes at most");
  Inflater inflater(packed);
  std::string text;
  for (;;) {
    // One byte more than allowed shows that there is more.
    const size_t room = std::min<uint64_t>(kStep, limit - text.size() + 1);
    const int code = inflater.Step(room, &text);
    if (text.size() > limit)
      return ResourceExhausted("the unpacked body is larger than " + std::to_string(limit) + " bytes");
    if (code == Z_STREAM_END && inflater.at_end_of_input()) return text;
    if (code == Z_STREAM_END) return InvalidArgument("bytes follow the end of the compressed body");
    if (code == Z_BUF_ERROR) return InvalidArgument("the compressed body is cut short");
    if (code != Z_OK) return InvalidArgument("the compressed body is damaged");
  }
}

std::string Gzip(std::string_view text) {
  if (text.size() > kLongest) return "";
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzipFormat, 8, Z_DEFAULT_STRATEGY) != Z_OK) return "";
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  const bool done = deflate(&stream, Z_FINISH) == Z_STREAM_END;
  packed.resize(done ? packed.size() - stream.avail_out : 0);
  deflateEnd(&stream);
  return packed;
}

}  // namespace rerankd::serving
