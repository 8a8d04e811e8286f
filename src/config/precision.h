// The precision of one instance, from model.precision or the reference system's older keys.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "config/yaml_tree.h"

namespace rerankd {

// Keys without "model." ("quantization", "mps.fp16", "precision") -> value, all of one layer of
// configuration.
using PrecisionKeys = std::map<std::string, ConfigValue>;

bool IsPrecisionField(const std::string& field);

// `backend` decides which backend option counts. "auto" when no key says anything. kInvalidArgument: a value
// out of range, or model.precision and an older key that disagree.
Result<std::string> ResolvePrecision(const PrecisionKeys& keys, const std::string& backend);

// Rules that tie precision, device and backend together; adds what will differ from the request to *warnings.
Status SettleInstance(InstanceSettings* instance, std::vector<std::string>* warnings);

}  // namespace rerankd
