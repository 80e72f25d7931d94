// What episodes are made with: k-means, sizes, titles.
#include <gmock/gmock.h>
#include <omp.h>

#include <set>

#include "episodes/episode_sizes.h"
#include "episodes/episode_split.h"
#include "episodes/episode_title.h"
#include "episodes/spherical_kmeans.h"
#include "synthetic_segments.h"

namespace recalld::episodes {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(SphericalKMeansTest, FindsDirectionsAndRepeatsItself) {
  const SyntheticSegments talk = synthetic_segments(500, 6, 48, 0.5f, 1);
  const int threads = omp_get_max_threads();
  const KMeans means = *spherical_kmeans(talk.units, 48, 6, {});
  EXPECT_EQ(omp_get_max_threads(), threads);
  const KMeans again = *spherical_kmeans(talk.units, 48, 6, {});
  EXPECT_EQ(means.centroids, again.centroids);
  EXPECT_EQ(means.assignment, again.assignment);
  // 3 starts of 20 rounds, and once more for the outcome.
  EXPECT_EQ(means.dot_products, 500 * 6 * (3 * 20 + 1));
  std::set<std::pair<int32_t, int32_t>> pairs;
  for (size_t i = 0; i < talk.size(); ++i) {
    pairs.insert({talk.topics[i], means.assignment[i]});
    int32_t best = 0;
    for (int32_t k = 0; k < 6; ++k) {
      const auto centroid = std::span(means.centroids).subspan(static_cast<size_t>(k) * 48, 48);
      EXPECT_NEAR(dot(centroid, centroid), 1.0f, 1e-5f);
      const auto leading = std::span(means.centroids).subspan(static_cast<size_t>(best) * 48, 48);
      if (dot(talk.unit(i), centroid) > dot(talk.unit(i), leading)) best = k;
    }
    EXPECT_EQ(means.assignment[i], best);
  }
  EXPECT_EQ(pairs.size(), 6U);
}

TEST(SphericalKMeansTest, EveryNumberOfClustersWorksAndNonsenseIsRefused) {
  const SyntheticSegments talk = synthetic_segments(9, 3, 5, 0.5f, 2);
  for (const int32_t k : {1, 2, 8, 9}) EXPECT_EQ(spherical_kmeans(talk.units, 5, k, {})->centroids.size(), 5U * k);
  EXPECT_EQ(spherical_kmeans(talk.units, 5, 0, {}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(spherical_kmeans(talk.units, 5, 10, {}).status().message(), HasSubstr("9 vectors cannot be put into 10"));
  EXPECT_EQ(spherical_kmeans(talk.units, 7, 2, {}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(spherical_kmeans({}, 5, 1, {}).status().code(), StatusCode::kInvalidArgument);
  std::vector<float> broken = talk.units;
  broken[7] = NAN;
  EXPECT_EQ(spherical_kmeans(broken, 5, 2, {}).status().code(), StatusCode::kInvalidArgument);
  KMeansOptions given;
  given.first_centroids = std::span(talk.units).first(10);
  EXPECT_EQ(spherical_kmeans(talk.units, 5, 3, given).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(spherical_kmeans(talk.units, 5, 2, given)->dot_products, 9 * 2 * 21);
  // All alike.
  EXPECT_TRUE(spherical_kmeans(std::vector<float>(40, 0.5f), 4, 3, {}).ok());
}

TEST(EpisodeSplitTest, NeitherHalfIsLessThanAQuarter) {
  // 19 alike and one apart: a split that takes off one would be followed by another, and another.
  UnitVectors vectors(2);
  std::vector<int32_t> members;
  for (int32_t i = 0; i < 20; ++i) {
    vectors.add(i == 7 ? std::vector<float>{0, 1} : std::vector<float>{1, 0});
    members.push_back(i);
  }
  const EpisodeHalves halves = *split_episode(vectors, members);
  EXPECT_EQ(halves.first.size() + halves.second.size(), 20U);
  EXPECT_EQ(halves.first[0], 0);
  const std::vector<int32_t>& smaller = halves.first.size() < halves.second.size() ? halves.first : halves.second;
  EXPECT_EQ(smaller.size(), 5U);
  EXPECT_THAT(smaller, ::testing::Contains(7));
  EXPECT_EQ(split_episode(vectors, std::span(members).first(1)).status().code(), StatusCode::kInvalidArgument);
}

TEST(EpisodeSizesTest, TheNumberOfEpisodesFollowsTheData) {
  EpisodeOptions options;
  for (const auto& [n, wanted] : std::vector<std::pair<int64_t, int32_t>>{
           {0, 0}, {1, 1}, {2, 1}, {35, 1}, {36, 2}, {99, 4}, {111, 5}, {214, 9}, {1'536, 64}, {10'000, 64}}) {
    EXPECT_EQ(wanted_episodes(options, n), wanted) << n;
  }
  EXPECT_EQ(aimed_size(options, 10), 24);
  EXPECT_EQ(aimed_size(options, 1'536), 24);
  EXPECT_EQ(aimed_size(options, 6'400), 100);
  EXPECT_EQ(split_above(options, 100), 42);
  EXPECT_EQ(split_above(options, 6'400), 175);
  options.n_episodes = 4;
  EXPECT_EQ(wanted_episodes(options, 3), 3);
  EXPECT_EQ(wanted_episodes(options, 10'000), 4);
  EXPECT_EQ(aimed_size(options, 10), 4);
  EXPECT_EQ(aimed_size(options, 200), 50);
}

std::string title(const std::vector<std::string>& texts, const std::vector<int32_t>& members, int32_t n = 3) {
  TitleWords words;
  for (const std::string& text : texts) words.add(text);
  return words.title(members, n);
}

TEST(TitleTest, WordsThatTellAnEpisodeFromTheOthers) {
  const std::vector<std::string> texts = {
      "Ann: The adoption agency called!\nBob: Which agency?",
      "Ann: Adoption takes so long, Bob.\nBob: The agency is slow.",
      "Ann: The marathon is on Sunday, Bob.\nBob: Run, Ann, run!",
      "Ann: My marathon shoes hurt.\nBob: Run slower.",
  };
  EXPECT_EQ(title(texts, {0, 1}), "adoption, agency, called");
  EXPECT_EQ(title(texts, {2, 3}), "marathon, run, sunday");
  EXPECT_EQ(title(texts, {2, 3}, 1), "marathon");
  EXPECT_EQ(title(texts, {0, 1, 2, 3}, 0), "");
}

TEST(TitleTest, PluralsAreOneWordAndSpeakersNone) {
  const std::vector<std::string> texts = {"Zed: dogs", "Zed: a dog and another dog", "Zed: cats and a bus",
                                          "Zed: walrus"};
  EXPECT_EQ(title(texts, {0, 1}), "dogs");
  EXPECT_EQ(title(texts, {2}), "cats, bus");
  EXPECT_EQ(title(texts, {3}), "walrus");
  EXPECT_EQ(title({"Melanie: Hi Caroline, Caroline!\nCaroline: Melanie, a kayak!"}, {0}), "kayak");
}

TEST(TitleTest, AnyTextWillDo) {
  EXPECT_EQ(title({""}, {0}), "");
  EXPECT_EQ(title({"Ann: the and of it is 12 1999 --- ?!"}, {0}), "");
  EXPECT_EQ(title({"no speaker here: none"}, {0}), "none");
  EXPECT_EQ(title({"Ann: \xD0\xBF\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82, caf\xC3\xA9"}, {0}),
            "\xD0\xBF\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82, caf\xC3\xA9");
  EXPECT_EQ(title({"Ann: " + std::string(1 << 20, 'x')}, {0}), "");
  EXPECT_EQ(title({"Ann: I don\xE2\x80\x99t \xE2\x80\x9Csail\xE2\x80\x9D\xE2\x80\x94"
                   "ever"},
                  {0}),
            "sail");
}

}  // namespace
}  // namespace recalld::episodes
