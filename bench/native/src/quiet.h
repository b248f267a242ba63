// Keeps runtimes' chatter from the terminal, and its last line for the error message.
#pragma once

#include <string>

namespace edgeseg {

// From its making to its end, what is written to file descriptors 1 and 2 goes into a pipe that never blocks.
class Quiet {
 public:
  Quiet();
  ~Quiet();
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

  // The last line written so far; "" if there was none.
  std::string last_line();

 private:
  int pipe_[2];
  int kept_[2];
};

}  // namespace edgeseg
