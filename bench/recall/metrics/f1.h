// Token F1 of an answer against the gold answer, by two scorers whose figures are not comparable.
#pragma once

#include <string>
#include <string_view>

namespace recalld::bench {

// LoCoMo's official scorer. Normalised: commas deleted, lower case, punctuation deleted, "a", "an", "the", "and"
// dropped, Porter stems. Category 1: gold and answer are split at commas, and the mean over gold parts of the best
// part's F1 counts; 3: gold ends at the first ';'; 5: 1 when the answer says that there is no information.
double locomo_f1(std::string_view answer, std::string_view gold, int category);

// EpiCache's scorer: lower case, punctuation deleted, "a", "an", "the" dropped, number words up to nine as digits; no
// stems, no category rules.
double epicache_f1(std::string_view answer, std::string_view gold);

}  // namespace recalld::bench
