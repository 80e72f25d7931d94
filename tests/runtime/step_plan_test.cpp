#include "runtime/step_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace recalld::runtime {
namespace {

TEST(StepPlan, PiecesCoverEveryTokenOnceInOrder) {
  const std::vector<int32_t> a(7);
  const std::vector<int32_t> b(1);
  const std::vector<int32_t> c(12);
  const std::vector<StepRequest> requests = {{.tokens = a, .outputs = Outputs::kLast},
                                             {.tokens = b, .outputs = Outputs::kNone},
                                             {.tokens = c, .outputs = Outputs::kAll}};
  for (int ubatch = 1; ubatch <= 21; ++ubatch) {
    std::vector<int32_t> next(3, 0);
    std::vector<int> outputs(3, 0);
    int n_total = 0;
    const auto pieces = plan_step(requests, ubatch);
    for (size_t i = 0; i < pieces.size(); ++i) {
      EXPECT_EQ(pieces[i].n_tokens, i + 1 < pieces.size() ? ubatch : 20 - static_cast<int>(i) * ubatch);
      int32_t row = 0;
      for (const StepPiece::Part& part : pieces[i].parts) {
        EXPECT_EQ(part.first, next[part.request]);
        EXPECT_EQ(part.row, row);
        next[part.request] += part.n_tokens;
        row += part.n_tokens;
      }
      EXPECT_EQ(row, pieces[i].n_tokens);
      EXPECT_TRUE(std::is_sorted(pieces[i].output_rows.begin(), pieces[i].output_rows.end()));
      for (const int request : pieces[i].output_requests) ++outputs[request];
      n_total += row;
    }
    EXPECT_EQ(next, (std::vector<int32_t>{7, 1, 12}));
    EXPECT_EQ(outputs, (std::vector<int>{1, 0, 12}));
    EXPECT_EQ(n_total, 20);
  }
}

}  // namespace
}  // namespace recalld::runtime
