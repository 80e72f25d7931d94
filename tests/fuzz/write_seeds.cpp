// usage: write_seeds TARGET FOLDER: the seeds of a target as files, for libFuzzer; prints the size of its largest
// input.
#include <filesystem>
#include <fstream>
#include <iostream>

#include "tests/fuzz/targets.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: write_seeds TARGET FOLDER\n";
    return 2;
  }
  const std::filesystem::path folder(argv[2]);
  std::filesystem::create_directories(folder);
  int number = 0;
  const recalld::testing::FuzzTarget& target = recalld::testing::fuzz_target(argv[1]);
  for (const recalld::testing::Bytes& seed : target.seeds()) {
    std::ofstream file(folder / ("seed-" + std::to_string(number++)), std::ios::binary);
    file.write(reinterpret_cast<const char*>(seed.data()), static_cast<std::streamsize>(seed.size()));
    if (!file.flush()) {
      std::cerr << "cannot write to " << folder << "\n";
      return 1;
    }
  }
  std::cout << target.max_bytes << "\n";
  return 0;
}
