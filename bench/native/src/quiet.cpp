#include "quiet.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "errors.h"

namespace edgeseg {

Quiet::Quiet() {
  if (pipe2(pipe_, O_NONBLOCK | O_CLOEXEC) != 0) throw Failure("could not open a pipe");
  for (int i : {0, 1}) {
    kept_[i] = dup(i + 1);
    dup2(pipe_[1], i + 1);
  }
}

Quiet::~Quiet() {
  std::fflush(nullptr);
  for (int i : {0, 1}) {
    dup2(kept_[i], i + 1);
    close(kept_[i]);
    close(pipe_[i]);
  }
}

std::string Quiet::last_line() {
  std::fflush(nullptr);
  std::string text;
  char chunk[4096];
  for (ssize_t count; (count = read(pipe_[0], chunk, sizeof chunk)) > 0;) text.append(chunk, count);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace edgeseg
