#include "episodes/policies/keydiff.h"

#include <cmath>

namespace recalld::episodes {
namespace {

double norm(const double* x, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += x[i] * x[i];
  return std::sqrt(sum);
}

// -cos of each key to the mean direction; a zero key, like to nothing, has 0.
void score_head(const HeadEntries& entries, size_t head_dim, std::vector<float>& keep) {
  std::vector<double> directions(entries.keys.begin(), entries.keys.end());
  std::vector<double> mean(head_dim);
  for (size_t row = 0; row < directions.size(); row += head_dim) {
    const double length = norm(directions.data() + row, head_dim);
    for (size_t j = 0; j < head_dim; ++j) {
      if (length > 0) directions[row + j] /= length;
      mean[j] += directions[row + j];
    }
  }
  const double length = norm(mean.data(), head_dim);
  for (size_t i = 0; i < keep.size(); ++i) {
    double dot = 0;
    for (size_t j = 0; j < head_dim; ++j) dot += directions[i * head_dim + j] * mean[j];
    keep[i] = length > 0 ? static_cast<float>(-dot / length) : 0.0F;
  }
}

class KeyDiff final : public EvictionPolicy {
 public:
  const std::string& name() const override { return name_; }
  Selection selection() const override { return Selection::kPerHead; }

  void score(const LayerEntries& entries, LayerScores& scores) override {
    for (size_t head = 0; head < entries.heads.size(); ++head)
      score_head(entries.heads[head], static_cast<size_t>(entries.head_dim), scores.keep[head]);
  }

 private:
  std::string name_ = "keydiff";
};

}  // namespace

std::unique_ptr<EvictionPolicy> make_keydiff() { return std::make_unique<KeyDiff>(); }

}  // namespace recalld::episodes
