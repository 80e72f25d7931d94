#include "runtime/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace recalld::runtime {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

Status open_error(const std::string& path, int error) {
  std::string message = "cannot open model file '" + path + "': " + std::strerror(error);
  if (error == ENOENT || error == ENOTDIR) return not_found(message + "; check the path");
  if (error == EACCES || error == EPERM)
    return Status(StatusCode::kPermissionDenied, message + "; check its permissions");
  return unavailable(std::move(message));
}

}  // namespace

Result<std::unique_ptr<MappedFile>> MappedFile::open(const std::string& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return open_error(path, errno);
  struct stat info = {};
  if (::fstat(file.get(), &info) != 0) return open_error(path, errno);
  if (!S_ISREG(info.st_mode)) return invalid_argument("'" + path + "' is not a regular file; name a GGUF file");
  if (info.st_size == 0) return corrupt("'" + path + "' is empty; download the model again");
  const auto size = static_cast<size_t>(info.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data == MAP_FAILED) return open_error(path, errno);
  ::madvise(data, size, MADV_WILLNEED);
  return std::unique_ptr<MappedFile>(new MappedFile({static_cast<const std::byte*>(data), size}));
}

MappedFile::~MappedFile() { ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size()); }

}  // namespace recalld::runtime
