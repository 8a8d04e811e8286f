// tei.v1 messages to scoring requests and back: what its services share.
#pragma once

#include <tei.pb.h>

#include <cstdint>

#include "core/tokenizer.h"
#include "engine/engine.h"
#include "serving/score_service.h"

namespace rerankd::serving {

// `truncate` absent is false: a pair that is too long is then refused.
void SetTruncation(bool truncate, tei::v1::TruncationDirection direction, ScoreRequest* request);

// Times are those of the whole request.
void FillMetadata(const Answer& answer, tei::v1::Metadata* metadata);

tei::v1::InfoResponse TeiInfo(ScoreService& service, const ModelInfo& model);

}  // namespace rerankd::serving
