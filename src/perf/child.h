// Another program, run to its end.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace rerankd::perf {

// The standard output of `arguments` ([0] = the program, sought in PATH if it has no slash). kNotFound: it
// cannot be started; kInternal: it ended with a failure: the message has the end of its standard error. The
// child dies with us.
Result<std::string> RunProgram(const std::vector<std::string>& arguments);

}  // namespace rerankd::perf
