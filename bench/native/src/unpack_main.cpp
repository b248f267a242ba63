// edgeseg-unpack PACKED FILE: gives the artifact back that `edgeseg pack` made smaller.
#include <iostream>

#include "errors.h"
#include "files.h"
#include "unpack.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: edgeseg-unpack PACKED FILE\n";
    return 2;
  }
  try {
    const std::string packed = edgeseg::read_file(argv[1]);
    edgeseg::write_file(argv[2], edgeseg::unpack(packed));
  } catch (const edgeseg::BadInput& error) {
    std::cerr << "edgeseg-unpack: " << argv[1] << ": " << error.what() << "\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "edgeseg-unpack: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
