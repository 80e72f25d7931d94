#include "quant/archive_side.h"

#include <cmath>

namespace recalld::quant::archive {
namespace {

// A vector shorter than this is zero, as for the other codecs.
constexpr double kLeastLength = 1e-15;
// Tokens that hardly differ get steps by their energy as it is, this much less.
constexpr double kLeastCentredShare = 1.0 / 256;
// The largest number is below 2^18 steps.
constexpr double kLargestInSteps = 1 << 18;
// Heads of which bases and learners are tried.
constexpr int kTriedHeads = 1;

int variance_number(double variance) {
  const long number = std::lround(kVariancesPerOctave * std::log2(std::max(variance, 1.0)));
  return static_cast<int>(std::min<long>(number, kLargestVariance));
}

struct Energies {
  std::vector<double> rows;
  double mean = 0;        // of the rows that are not zero
  double about_mean = 0;  // of what a row differs from their mean by: harmonic mean
  double largest = 0;     // of the numbers
  double n_rows = 0;
};

// The harmonic mean makes the error over the energy what is wanted in the mean over the rows, so that few rows unlike
// the others do not take the precision from those.
Energies energies_of(int n_tokens, int n_dims, const float* rows, size_t stride) {
  const auto dims = static_cast<size_t>(n_dims);
  Energies of{std::vector<double>(static_cast<size_t>(n_tokens))};
  std::vector<double> mean(dims);
  for (size_t t = 0; t < of.rows.size(); ++t) {
    double energy = 0;
    for (size_t j = 0; j < dims; ++j) {
      const double x = rows[t * stride + j];
      mean[j] += x;
      energy += x * x;
      of.largest = std::max(of.largest, std::abs(x));
    }
    of.rows[t] = energy;
    if (energy < kLeastLength * kLeastLength) continue;
    of.mean += energy;
    ++of.n_rows;
  }
  if (of.n_rows == 0) return of;
  of.mean /= of.n_rows;
  of.about_mean = of.mean;
  if (of.n_rows == 1) return of;
  for (double& x : mean) x /= of.n_rows;
  double inverses = 0;
  for (size_t t = 0; t < of.rows.size(); ++t) {
    if (of.rows[t] < kLeastLength * kLeastLength) continue;
    double energy = 0;
    for (size_t j = 0; j < dims; ++j) energy += std::pow(rows[t * stride + j] - mean[j], 2);
    inverses += 1 / std::max(energy, of.rows[t] * kLeastCentredShare);
  }
  // The mean is nearer to the rows than to others of their kind.
  of.about_mean = of.n_rows / inverses * of.n_rows / (of.n_rows - 1);
  return of;
}

}  // namespace

HeadCode SideEncoder::steps_of(StepRule rule, int n_tokens, int n_dims, const float* rows, size_t stride) const {
  HeadCode head;
  head.row_steps.resize(static_cast<size_t>(n_tokens));
  const Energies energies = energies_of(n_tokens, n_dims, rows, stride);
  for (size_t t = 0; t < head.row_steps.size(); ++t)
    if (energies.rows[t] < kLeastLength * kLeastLength) head.row_steps[t] = kZeroRow;
  if (energies.n_rows == 0) return head;
  const double energy = rule == StepRule::kBySide ? energies.about_mean : energies.mean;
  const double step = std::max(std::sqrt(error_ * energy / n_dims / (kTrellisError * (1 + error_))),
                               energies.largest / kLargestInSteps);
  head.step = std::clamp(static_cast<int>(std::lround(kStepsPerOctave * std::log2(step))) + kStepBias, 0, kLargestStep);
  for (size_t t = 0; t < head.row_steps.size() && rule == StepRule::kByRow; ++t) {
    if (head.row_steps[t] == kZeroRow) continue;
    const long number = std::lround(kRowStepsPerOctave * 0.5 * std::log2(energies.rows[t] / energies.mean));
    head.row_steps[t] = static_cast<int>(std::clamp<long>(number, -kLargestRowStep, kLargestRowStep));
  }
  return head;
}

void SideEncoder::set_trend(SideCode& code) {
  const size_t n_tokens = code.heads.front().row_steps.size();
  row_steps_.resize(n_tokens);
  std::array<double, std::size(kTrends)> squares{};
  bool any = false;
  for (const HeadCode& head : code.heads)
    for (size_t t = 0; t < n_tokens; ++t) {
      const bool zero = head.row_steps[t] == kZeroRow;
      const int step = zero ? 0 : head.row_steps[t];
      any |= zero || step != 0;
      for (size_t i = 0; i < squares.size() && !zero; ++i)
        squares[i] += std::pow(step - static_cast<double>(kTrends[i]) * row_steps_[t], 2);
      row_steps_[t] = step;
    }
  const auto least = std::ranges::min_element(squares);
  code.trend = static_cast<int>(least - squares.begin());
  const double variance = *least / static_cast<double>(code.heads.size() * n_tokens);
  code.spread =
      any ? std::clamp(static_cast<int>(std::lround(std::log2(std::max(variance, 1e-3)))) + 6, 1, kLargestSpread) : 0;
}

SideEncoder::Rows SideEncoder::scaled(const HeadCode& head, int n_dims, const float* rows, size_t stride) {
  Rows scaled;
  const auto dims = static_cast<size_t>(n_dims);
  const float side = power(head.step - kStepBias);
  scaled.numbers.reserve(head.row_steps.size() * dims);
  for (size_t t = 0; t < head.row_steps.size(); ++t) {
    const bool zero = head.row_steps[t] == kZeroRow;
    scaled.steps.push_back(zero ? 0.0F : row_step(head.row_steps[t]));
    const float inverse = zero ? 0.0F : 1.0F / (side * scaled.steps.back());
    for (size_t j = 0; j < dims; ++j) scaled.numbers.push_back(rows[t * stride + j] * inverse);
  }
  return scaled;
}

// By the densities of the learner's expectations, up to a constant; sets the priors that suit it. What is coded differs
// from the numbers by the error, which the decoder's variances include.
double SideEncoder::bits_of(const Rows& rows, int n_dims, int learner, HeadCode& head) {
  const auto dims = static_cast<size_t>(n_dims);
  float mean[kernels::kMaxHeadDim], variance[kernels::kMaxHeadDim];
  // Means do not depend on the prior: first the prior, then the bits.
  double bits = 0;
  for (const bool counts : {false, true}) {
    Expectation expectation(kLearners[learner], head.prior(), n_dims);
    double first = 0, others = 0;
    size_t n = 0;
    for (size_t t = 0; t < rows.steps.size(); ++t) {
      if (rows.steps[t] == 0) continue;
      const float* row = rows.numbers.data() + t * dims;
      expectation.next(rows.steps[t], mean, variance);
      expectation.add(rows.steps[t], row);
      double squares = 0, product = 1;
      for (size_t j = 0; j < dims; ++j) {
        const float error = row[j] - mean[j];
        if (counts) {
          const float of_coded = variance[j];
          squares += (error * error + kTrellisError) / of_coded;
          product *= of_coded;
          if (j % 8 == 7) {
            bits += std::log2(product);
            product = 1;
          }
        } else {
          squares += error * error + kTrellisError;
        }
      }
      bits += counts ? squares * 1.442695 : 0;
      (n == 0 ? first : others) += squares;
      ++n;
    }
    if (counts || n == 0) continue;
    head.first_variance = variance_number(first / static_cast<double>(n_dims));
    head.variance = n > 1 ? variance_number(others / static_cast<double>((n - 1) * dims)) : head.first_variance;
  }
  return bits;
}

void SideEncoder::quantize(const Rows& rows, int n_dims, int learner, HeadCode& head) {
  const auto dims = static_cast<size_t>(n_dims);
  bits_of(rows, n_dims, learner, head);
  // Expected by the numbers themselves in place of what comes back of those before: known before the search, and near.
  Expectation expectation(kLearners[learner], head.prior(), n_dims);
  float mean[kernels::kMaxHeadDim], variance[kernels::kMaxHeadDim];
  std::vector<float> pulled;
  pulled.reserve(rows.numbers.size());
  for (size_t t = 0; t < rows.steps.size(); ++t) {
    if (rows.steps[t] == 0) continue;
    const float* row = rows.numbers.data() + t * dims;
    expectation.next(rows.steps[t], mean, variance);
    expectation.add(rows.steps[t], row);
    for (size_t j = 0; j < dims; ++j) pulled.push_back(pull_to_mean(row[j], mean[j], variance[j]));
  }
  std::vector<int32_t> found(pulled.size());
  TrellisState state;
  quantizer_.quantize(pulled, state, found);
  head.indices.resize(rows.numbers.size());
  auto next = found.begin();
  for (size_t t = 0; t < rows.steps.size(); ++t) {
    const auto to = head.indices.begin() + static_cast<ptrdiff_t>(t * dims);
    if (rows.steps[t] == 0) {
      std::fill_n(to, dims, 0);
    } else {
      std::copy_n(next, dims, to);
      next += static_cast<ptrdiff_t>(dims);
    }
  }
}

SideCode SideEncoder::encode(StepRule rule, int n_tokens, int n_heads, int n_dims,
                             std::span<const std::vector<float>> bases) {
  const size_t dims = static_cast<size_t>(n_dims), stride = static_cast<size_t>(n_heads) * dims;
  SideCode code;
  // Steps are those of lengths, which no basis changes.
  const auto plain = std::ranges::find_if(bases, [](const auto& rows) { return !rows.empty(); });
  for (int h = 0; h < n_heads; ++h)
    code.heads.push_back(steps_of(rule, n_tokens, n_dims, plain->data() + static_cast<size_t>(h) * dims, stride));
  set_trend(code);
  double least = 0;
  bool any = false;
  for (size_t basis = 0; basis < bases.size(); ++basis) {
    if (bases[basis].empty()) continue;
    std::vector<double> bits(kLearnersCount);
    for (int h = 0; h < std::min(n_heads, kTriedHeads); ++h) {
      HeadCode head = code.heads[static_cast<size_t>(h)];
      const Rows rows = scaled(head, n_dims, bases[basis].data() + static_cast<size_t>(h) * dims, stride);
      for (int learner = 0; learner < kLearnersCount; ++learner)
        bits[static_cast<size_t>(learner)] += bits_of(rows, n_dims, learner, head);
    }
    const auto best = std::ranges::min_element(bits);
    if (any && *best >= least) continue;
    any = true;
    least = *best;
    code.basis = static_cast<Basis>(basis);
    code.learner = static_cast<int>(best - bits.begin());
  }
  for (int h = 0; h < n_heads; ++h) {
    HeadCode& head = code.heads[static_cast<size_t>(h)];
    const auto& rows = bases[code.basis];
    quantize(scaled(head, n_dims, rows.data() + static_cast<size_t>(h) * dims, stride), n_dims, code.learner, head);
  }
  return code;
}

}  // namespace recalld::quant::archive
