// Keys that only files of the reference system hold: what each means here.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace rerankd {

struct ReferenceKey {
  enum class Kind {
    kAlias,      // another spelling of setting `target`
    kPrecision,  // one of the older ways to say the precision of an instance (precision.h)
    kInert,      // accepted; changes nothing here
  };
  std::string_view key;  // keys of an instance start with "model."
  Kind kind;
  std::string_view target;
  std::string_view note;  // why intent and effect differ; goes into a warning
  bool warn_only_if_false = false;
};

std::span<const ReferenceKey> ReferenceKeys();
const ReferenceKey* FindReferenceKey(std::string_view key);

}  // namespace rerankd
