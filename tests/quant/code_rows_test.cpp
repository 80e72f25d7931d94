#include "quant/code_rows.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

namespace recalld::quant {
namespace {

TEST(CodeRows, AreWrittenWhereTheLayoutSays) {
  std::mt19937 random(4);
  for (const int bits : {4, 3, 2})
    for (const int dims : {16, 32, 64, 80, 256})
      for (const int padded : {16, 48}) {
        const kernels::Band band{static_cast<int16_t>(bits), static_cast<int16_t>(dims)};
        const kernels::SideFormat format = kernels::one_band(bits, dims);
        const size_t size = kernels::side_bytes(padded, dims, bits);
        std::vector<uint8_t> k(size), v(size), k_rows(size, 0xFF), v_rows(size, 0xFF);
        for (int group = 0; group < padded / kernels::kTokenGroup; ++group) {
          CodeRows rows = {}, back = {};
          for (int t = 0; t < kernels::kTokenGroup; ++t)
            for (int j = 0; j < dims; ++j) {
              rows[t][j] = static_cast<uint8_t>(random() % (1U << bits));
              const int token = group * kernels::kTokenGroup + t;
              kernels::set_k_code(k.data(), padded, format, token, j, rows[t][j]);
              kernels::set_v_code(v.data(), padded, format, token, j, rows[t][j]);
            }
          put_key_rows(rows, padded, band, group, k_rows.data());
          put_value_rows(rows, padded, band, group, v_rows.data());
          get_key_rows(k.data(), padded, band, group, back);
          EXPECT_EQ(0, std::memcmp(rows, back, sizeof rows));
          get_value_rows(v.data(), padded, band, group, back);
          EXPECT_EQ(0, std::memcmp(rows, back, sizeof rows));
        }
        EXPECT_EQ(k, k_rows) << bits << " bits, " << dims << " dims";
        EXPECT_EQ(v, v_rows) << bits << " bits, " << dims << " dims";
      }
}

}  // namespace
}  // namespace recalld::quant
