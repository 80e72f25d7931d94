#include "quant/rotation_zoo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quant/codec.h"
#include "quant/pickle.h"
#include "quant/stored_zip.h"
#include "tests/quant/calibration_fixture.h"
#include "tests/quant/zoo_file.h"

namespace recalld::quant {
namespace {

using ::testing::HasSubstr;
using testing::ZooFile;

std::string error_of(const ZooFile& file) { return parse_rotations(file.bytes()).status().message(); }

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

TEST(RotationZoo, FilesAreRead) {
  for (const bool text_ids : {false, true})
    for (const bool transposed : {false, true}) {
      const ZooFile file{.head_dim = 64, .layers = {0, 1, 5}, .text_ids = text_ids, .transposed = transposed};
      const auto rotations = parse_rotations(file.bytes());
      ASSERT_TRUE(rotations.ok()) << rotations.status().to_string();
      EXPECT_EQ("qqt_r_h_pbr", rotations->objective);
      ASSERT_EQ(3u, rotations->layers.size());
      for (const int layer : file.layers) {
        EXPECT_EQ(64, rotations->layers.at(layer).head_dim);
        EXPECT_EQ(file.rotation(layer), rotations->layers.at(layer).rotation) << layer;
      }
    }
}

TEST(RotationZoo, WhatIsNoRotationIsRefusedWithTheReason) {
  EXPECT_THAT(error_of({.version = 2}), HasSubstr("format_version is 2, expected 1"));
  EXPECT_THAT(error_of({.grouping = "head"}), HasSubstr("source_grouping is 'head'"));
  EXPECT_THAT(error_of({.number_type = "HalfStorage"}), HasSubstr("torch HalfStorage"));
  EXPECT_THAT(error_of({.head_dim = 24}), HasSubstr("head_dim is 24"));
  EXPECT_THAT(error_of({.scale = 1.1}), HasSubstr("layer 0: rotations: the rotation is not orthogonal"));
  EXPECT_THAT(error_of({.scale = std::nan("")}), HasSubstr("not orthogonal"));
  EXPECT_THAT(error_of({.layers = {}}), HasSubstr("no layers"));
  EXPECT_THAT(error_of({.layers = {-3}}), HasSubstr("a layer's name"));
  EXPECT_EQ(StatusCode::kNotFound, load_rotations("/nonexistent/k.pt").status().code());
  EXPECT_THAT(parse_rotations(bytes_of("PK and no more")).status().message(), HasSubstr("not a ZIP archive"));
  EXPECT_THAT(parse_rotations(testing::zip_file({{"zoo/else", bytes_of("x")}})).status().message(),
              HasSubstr("not what torch.save writes"));
  // Compressed members are those of other programs.
  EXPECT_EQ(StatusCode::kUnsupported,
            parse_rotations(testing::zip_file({{"zoo/data.pkl", bytes_of(".")}}, 8)).status().code());
}

TEST(RotationZoo, CutAndAlteredFilesAreRefused) {
  const std::vector<std::byte> bytes = ZooFile().bytes();
  for (size_t size = 0; size < bytes.size(); size += 7)
    EXPECT_FALSE(parse_rotations(std::span(bytes).first(size)).ok()) << size;
  // Every bit of a number is under its member's CRC.
  std::vector<std::byte> altered = bytes;
  altered[bytes.size() / 2] ^= std::byte{1};
  EXPECT_THAT(parse_rotations(altered).status().message(), HasSubstr("CRC-32"));
}

TEST(RotationZoo, TakeThePlaceOfMeasuredRotations) {
  const auto calibration = testing::filed(testing::random_calibration(64, 2));
  const ZooFile file{.head_dim = 64};
  const ZooRotations k = parse_rotations(file.bytes()).value();
  ZooRotations v = k;
  std::swap(v.layers[0], v.layers[1]);
  const auto changed = with_rotations(*calibration, k, v, "k.pt");
  ASSERT_TRUE(changed.ok()) << changed.status().to_string();
  for (int layer = 0; layer < 2; ++layer) {
    const LayerCalibration& now = (*changed)->layers[static_cast<size_t>(layer)];
    const std::vector<float> expected_k = file.rotation(layer), expected_v = file.rotation(1 - layer);
    for (size_t i = 0; i < expected_k.size(); ++i) {
      EXPECT_NEAR(expected_k[i], now.oscar_k[i], 1e-4);
      EXPECT_NEAR(expected_v[i], now.oscar_v[i], 1e-4);
    }
    EXPECT_EQ(calibration->layers[static_cast<size_t>(layer)].heads[0].k.variances, now.heads[0].k.variances);
  }
  EXPECT_THAT((*changed)->text, HasSubstr("k.pt"));
  EXPECT_FALSE((*changed)->digest == calibration->digest);
  EXPECT_TRUE(make_codecs("oscar-2", 2, changed->get()).ok());

  const ZooRotations narrow = parse_rotations(ZooFile{.head_dim = 32}.bytes()).value();
  EXPECT_THAT(with_rotations(*calibration, k, narrow, "").status().message(),
              HasSubstr("the rotations of values have a head_dim of 32 in layer 0, the model 64"));
  const ZooRotations short_one = parse_rotations(ZooFile{.head_dim = 64, .layers = {0}}.bytes()).value();
  EXPECT_THAT(with_rotations(*calibration, short_one, v, "").status().message(),
              HasSubstr("the rotations of keys have no layer 1"));
}

TEST(Pickle, NumbersTextsAndContainersComeBack) {
  // {"a": (1, -2, 300, True, None, 0.5, "bc"), "d": [70000, 2**40]} by protocol 2.
  using namespace std::string_literals;
  const std::string text =
      "\x80\x02}q\0(X\x01\0\0\0a(K\x01J\xfe\xff\xff\xffM\x2c\x01\x88NG\x3f\xe0\0\0\0\0\0\0X\x02\0\0\0bct"s
      "X\x01\0\0\0d](J\x70\x11\x01\0\x8a\x06\0\0\0\0\0\x01"s
      "eu."s;
  const auto pickle = Pickle::parse(bytes_of(text));
  ASSERT_TRUE(pickle.ok()) << pickle.status().to_string();
  const Pickle::Object* tuple = pickle->find(pickle->root(), "a");
  ASSERT_NE(nullptr, tuple);
  ASSERT_EQ(7u, tuple->parts.size());
  const auto part = [&](size_t i) { return pickle->at(tuple->parts[i]); };
  EXPECT_EQ(1, part(0).integer);
  EXPECT_EQ(-2, part(1).integer);
  EXPECT_EQ(300, part(2).integer);
  EXPECT_EQ(1, part(3).integer);
  EXPECT_EQ(Pickle::Kind::kNone, part(4).kind);
  EXPECT_EQ(0.5, part(5).real);
  EXPECT_EQ("bc", part(6).text);
  const Pickle::Object* list = pickle->find(pickle->root(), "d");
  ASSERT_EQ(2u, list->parts.size());
  EXPECT_EQ(70000, pickle->at(list->parts[0]).integer);
  EXPECT_EQ(int64_t{1} << 40, pickle->at(list->parts[1]).integer);
  EXPECT_EQ(nullptr, pickle->find(pickle->root(), "x"));
}

TEST(Pickle, WhatMakesNoSenseIsRefused) {
  for (const char* text : {"", "}", "s.", "t.", "NN.", "Nu.", "(.", "}(Nu.", "Ns.", "q", "h", "X", "cmodule", "\x85."})
    EXPECT_EQ(StatusCode::kCorrupt, Pickle::parse(bytes_of(text)).status().code()) << text;
  for (const char* text : {"\x80\x05N.", "i", "\x81"})
    EXPECT_EQ(StatusCode::kUnsupported, Pickle::parse(bytes_of(text)).status().code()) << text;
}

}  // namespace
}  // namespace recalld::quant
