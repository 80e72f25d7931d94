#include "bench/recall/record_store.h"

#include <fstream>

namespace recalld::bench {

Result<RecordStore> RecordStore::open(const std::string& path) {
  RecordStore store;
  std::ifstream in(path, std::ios::binary);
  std::string line;
  bool ends_clean = true;
  while (std::getline(in, line)) {
    ends_clean = !in.eof();
    std::optional<QuestionRecord> question;
    std::optional<BuildRecord> build;
    if (!from_line(line, &question, &build)) continue;
    if (question.has_value()) store.questions_.insert_or_assign({question->key, question->question}, *question);
    if (build.has_value()) store.builds_.insert_or_assign(build->key, *build);
  }
  store.file_.reset(std::fopen(path.c_str(), "ab"));
  if (store.file_ == nullptr) return internal_error("cannot write '" + path + "'");
  if (!ends_clean) std::fputc('\n', store.file_.get());
  return store;
}

const QuestionRecord* RecordStore::question(const std::string& key, int question) const {
  const auto found = questions_.find({key, question});
  return found == questions_.end() ? nullptr : &found->second;
}

const BuildRecord* RecordStore::build(const std::string& key) const {
  const auto found = builds_.find(key);
  return found == builds_.end() ? nullptr : &found->second;
}

Status RecordStore::append(const std::string& line) {
  const bool written = std::fwrite((line + "\n").data(), 1, line.size() + 1, file_.get()) == line.size() + 1 &&
                       std::fflush(file_.get()) == 0;
  return written ? ok_status() : storage_full("the record file cannot be written");
}

Status RecordStore::add(const QuestionRecord& record) {
  RECALLD_RETURN_IF_ERROR(append(to_line(record)));
  questions_.insert_or_assign({record.key, record.question}, record);
  return ok_status();
}

Status RecordStore::add(const BuildRecord& record) {
  RECALLD_RETURN_IF_ERROR(append(to_line(record)));
  builds_.insert_or_assign(record.key, record);
  return ok_status();
}

}  // namespace recalld::bench
