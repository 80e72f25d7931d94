// References to turns as annotators wrote them.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

namespace recalld::bench {

// A turn's number in LoCoMo: "D8:6" is {8, 6}, the sixth turn of the eighth session.
using TurnId = std::pair<int, int>;

// All turn numbers in a reference. Besides "D8:6" it understands what occurs in the data: several in one string
// ("D8:6; D9:17"), stray marks ("D:11:26", "(D1:3)"), leading zeros, and ranges ("D1:3-5", "D1:3-D1:5"). Text without a
// number, such as "D", gives nothing.
std::vector<TurnId> parse_evidence(std::string_view text);

}  // namespace recalld::bench
