// Where an experiment ran: processor, memory, system, versions.
#pragma once

#include <string>
#include <string_view>

#include "experiment/record.h"

namespace rerankd::experiment {

NamedValues DescribeEnvironment();

// Of this process, quoted as a shell would take it.
std::string CommandLine();

// Processes that wanted to run in the last 1, 5 and 15 minutes, on average.
std::string LoadAverage();

// Whether a value of this name differs between two runs of the same thing: a command line, a load average.
bool IsOfTheMoment(std::string_view name);

}  // namespace rerankd::experiment
