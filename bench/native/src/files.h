// Whole files, read and written aside.
#pragma once

#include <string>

namespace edgeseg {

// Throws BadInput where there is no such file.
std::string read_file(const std::string& path);

// Appears whole or not at all. Throws Failure where it cannot be written.
void write_file(const std::string& path, const std::string& bytes);

}  // namespace edgeseg
