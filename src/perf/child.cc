#include "perf/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace rerankd::perf {
namespace {

constexpr int kNotStarted = 127;
constexpr size_t kErrorTail = 500;  // bytes of standard error in a message

// In the child, after fork: only calls that are safe there.
[[noreturn]] void Become(char* const* arguments, int out, int err) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::signal(SIGPIPE, SIG_DFL);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  execvp(arguments[0], arguments);
  _exit(kNotStarted);
}

std::string ReadAll(int fd) {
  std::string text;
  std::array<char, 4096> block;
  for (;;) {
    const ssize_t count = read(fd, block.data(), block.size());
    if (count > 0) text.append(block.data(), static_cast<size_t>(count));
    if (count == 0 || (count < 0 && errno != EINTR)) return text;
  }
}

int Wait(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

Status Judge(const std::string& program, int status, std::string errors) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotStarted && errors.empty())
    return NotFound("cannot run '" + program + "': no such program, or not executable");
  if (errors.size() > kErrorTail) errors = "… " + errors.substr(errors.size() - kErrorTail);
  const std::string how = WIFSIGNALED(status) ? fmt::format("was ended by signal {}", WTERMSIG(status))
                                              : fmt::format("failed with exit code {}", WEXITSTATUS(status));
  return Internal(fmt::format("'{}' {}: {}", program, how, errors));
}

}  // namespace

Result<std::string> RunProgram(const std::vector<std::string>& arguments) {
  std::vector<char*> pointers;
  for (const std::string& argument : arguments) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  int out[2];
  const int errors = memfd_create("stderr", MFD_CLOEXEC);
  if (errors < 0 || pipe2(out, O_CLOEXEC) != 0)
    return Internal(fmt::format("cannot start '{}': {}", arguments[0], std::strerror(errno)));
  const pid_t child = fork();
  if (child == 0) Become(pointers.data(), out[1], errors);
  close(out[1]);
  std::string text = child > 0 ? ReadAll(out[0]) : "";
  close(out[0]);
  const int status = child > 0 ? Wait(child) : kNotStarted << 8;
  lseek(errors, 0, SEEK_SET);
  const Status judged = Judge(arguments[0], status, ReadAll(errors));
  close(errors);
  if (!judged.ok()) return judged;
  return text;
}

}  // namespace rerankd::perf
