#include "app/recallctl/calibrate_command.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "app/recallctl/terminal.h"
#include "daemon/calibration_texts.h"
#include "daemon/config.h"
#include "episodes/calibration/calibrate.h"
#include "quant/rotation_zoo.h"
#include "runtime/tokenizer.h"

namespace recalld::recallctl {
namespace {

std::string path_for(const std::string& out, const Digest128& model) {
  if (!out.empty()) return out.ends_with('/') ? quant::calibration_file(out, model) : out;
  std::map<std::string, std::string> environment;
  for (const char* name : {"STATE_DIRECTORY", "XDG_DATA_HOME", "HOME"})
    if (const char* value = std::getenv(name); value != nullptr) environment[name] = value;
  const std::string data_dir = daemon::default_data_dir(environment);
  return data_dir.empty() ? "" : daemon::calibration_path(data_dir, model);
}

Result<std::vector<std::string>> texts_of(const CalibrateOptions& options) {
  if (options.texts.empty()) return daemon::builtin_calibration_texts();
  std::vector<std::string> texts;
  for (const std::string& path : options.texts) {
    RECALLD_ASSIGN_OR_RETURN(std::string text, daemon::read_calibration_text(path));
    texts.push_back(std::move(text));
  }
  return texts;
}

std::string names_of(const CalibrateOptions& options) {
  if (options.texts.empty()) return "built in";
  std::string names;
  for (const std::string& path : options.texts)
    names += (names.empty() ? "" : ", ") + std::filesystem::path(path).filename().string();
  return names;
}

// Both or none. Read before the model is measured, which takes minutes.
Result<std::vector<quant::ZooRotations>> rotations_of(const CalibrateOptions& options) {
  std::vector<quant::ZooRotations> rotations;
  for (const std::string& path : options.oscar_rotations) {
    RECALLD_ASSIGN_OR_RETURN(quant::ZooRotations read, quant::load_rotations(path));
    rotations.push_back(std::move(read));
  }
  return rotations;
}

}  // namespace

Status calibrate_command(const CalibrateOptions& options) {
  runtime::ModelOptions model_options;
  model_options.path = options.model;
  RECALLD_ASSIGN_OR_RETURN(const auto model, runtime::Model::load(model_options));
  const std::string out = path_for(options.out, model->fingerprint());
  if (out.empty()) return invalid_argument("HOME is unknown; say where the calibration goes with --out");
  if (options.keep && episodes::load_calibration(out, *model).ok()) {
    std::printf("%s\n", out.c_str());
    return ok_status();
  }
  RECALLD_ASSIGN_OR_RETURN(const std::vector<std::string> texts, texts_of(options));
  RECALLD_ASSIGN_OR_RETURN(const std::vector<quant::ZooRotations> rotations, rotations_of(options));
  runtime::EngineOptions engine_options;
  engine_options.threads = options.threads;
  RECALLD_ASSIGN_OR_RETURN(const auto engine, runtime::Engine::create(model, engine_options));
  const runtime::Tokenizer tokenizer(model);
  std::vector<std::vector<int32_t>> tokens;
  for (const std::string& text : texts) {
    std::vector<int32_t>& to = tokens.emplace_back(tokenizer.prompt_start());
    const std::vector<int32_t> body = tokenizer.tokenize(text);
    to.insert(to.end(), body.begin(), body.end());
  }
  episodes::CalibrationOptions calibration_options;
  calibration_options.max_tokens = options.max_tokens;
  ProgressLine line(stderr);
  auto calibration = episodes::calibrate(*engine, tokens, names_of(options), calibration_options,
                                         [&](double done, const std::string& doing) {
                                           const int percent = static_cast<int>(std::floor(done * 100));
                                           line.show(percent / 10, fmt::format("{:3} % {}", percent, doing));
                                         });
  line.clear();
  if (calibration.ok() && !rotations.empty())
    calibration = quant::with_rotations(**calibration, rotations[0], rotations[1],
                                        std::filesystem::path(options.oscar_rotations[0]).filename().string());
  if (!calibration.ok()) return calibration.status();
  RECALLD_RETURN_IF_ERROR(quant::save_calibration(**calibration, out));
  std::printf("%s\n", out.c_str());
  return ok_status();
}

}  // namespace recalld::recallctl
