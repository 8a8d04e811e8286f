// TEI's other routes: POST /predict (pairs in, every label's score out, input order) and POST /tokenize.
#pragma once

#include <string_view>

#include "serving/http/http_types.h"
#include "serving/score_service.h"

namespace rerankd::serving {

void Predict(ScoreService& service, std::string_view route, HttpRequest& request, const Respond& respond);
void Tokenize(ScoreService& service, std::string_view route, HttpRequest& request, const Respond& respond);

}  // namespace rerankd::serving
