// Where an experiment ran: processor, memory, system, versions.
#pragma once

#include "experiment/record.h"

namespace rerankd::experiment {

NamedValues DescribeEnvironment();

}  // namespace rerankd::experiment
