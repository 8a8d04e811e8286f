#include "experiment/server_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

extern char** environ;

namespace rerankd::experiment {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kReady = "rerankd ready ";
constexpr size_t kKeptLines = 12;
constexpr auto kPoll = std::chrono::milliseconds(20);
constexpr double kGraceSeconds = 10;

NamedValues ParseReady(std::string_view line) {
  NamedValues values;
  for (std::string_view part : Split(line.substr(kReady.size()), ' ')) {
    const size_t equals = part.find('=');
    if (equals != std::string_view::npos)
      values.emplace_back(part.substr(0, equals), part.substr(equals + 1));
  }
  return values;
}

// Settings of the environment are already in the child's configuration file: they must not win over flags
// again.
std::vector<char*> ChildEnvironment() {
  std::vector<char*> kept;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const bool setting =
        text.starts_with("RERANKD_") && text.substr(0, text.find('=')).find("__") != text.npos;
    if (!setting) kept.push_back(*entry);
  }
  kept.push_back(nullptr);
  return kept;
}

// Between fork and exec: async-signal-safe calls only.
[[noreturn]] void RunChild(char* const* argv, char* const* envp, int log_fd, int null_fd, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(127);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  dup2(null_fd, STDIN_FILENO);
  dup2(log_fd, STDOUT_FILENO);
  dup2(log_fd, STDERR_FILENO);
  execve(argv[0], argv, envp);
  static constexpr char kMessage[] = "the program cannot be executed\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1);
  _exit(127);
}

// A configuration file that lives as long as this.
class TemporaryFile {
 public:
  static Result<std::unique_ptr<TemporaryFile>> Create(const std::string& content) {
    std::string path = (fs::temp_directory_path() / "rerankd_serve_XXXXXX.yaml").string();
    const int fd = mkstemps(path.data(), 5);
    if (fd < 0) return Internal(fmt::format("cannot create a temporary file like {}", path));
    close(fd);
    std::unique_ptr<TemporaryFile> file(new TemporaryFile(path));
    RERANKD_RETURN_IF_ERROR(WriteFileAtomically(path, content));
    return file;
  }
  ~TemporaryFile() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

}  // namespace

Result<std::unique_ptr<ServerProcess>> ServerProcess::Serve(const std::string& program,
                                                            const std::string& configuration,
                                                            double ready_timeout_s,
                                                            const std::atomic<bool>& interrupt) {
  RERANKD_ASSIGN_OR_RETURN(const auto file, TemporaryFile::Create(configuration));
  RERANKD_ASSIGN_OR_RETURN(auto server,
                           Start({{program, "serve", "--config", file->path()}, ready_timeout_s}, interrupt));
  if (server->grpc_address().empty()) return Unavailable("the server's ready line names no grpc address");
  return server;
}

Result<std::unique_ptr<ServerProcess>> ServerProcess::Start(const ServerCommand& command,
                                                            const std::atomic<bool>& interrupt) {
  std::unique_ptr<ServerProcess> server(new ServerProcess());
  RERANKD_RETURN_IF_ERROR(server->Spawn(command));
  RERANKD_RETURN_IF_ERROR(server->WaitReady(command, interrupt));
  return server;
}

ServerProcess::~ServerProcess() { Stop(); }

Status ServerProcess::Spawn(const ServerCommand& command) {
  std::vector<char*> argv;
  for (const std::string& argument : command.arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const std::vector<char*> envp = ChildEnvironment();
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return Internal(fmt::format("pipe: {}", std::strerror(errno)));
  const int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) RunChild(argv.data(), envp.data(), pipe_fds[1], null_fd, parent);
  const int fork_error = errno;
  close(pipe_fds[1]);
  close(null_fd);
  log_fd_ = pipe_fds[0];
  if (pid_ < 0) return Internal(fmt::format("fork: {}", std::strerror(fork_error)));
  reader_ = std::thread([this] { ReadLog(); });
  return {};
}

void ServerProcess::ReadLog() {
  std::string pending;
  char buffer[4096];
  while (true) {
    const ssize_t size = read(log_fd_, buffer, sizeof(buffer));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    pending.append(buffer, static_cast<size_t>(size));
    for (size_t end = pending.find('\n'); end != std::string::npos; end = pending.find('\n')) {
      KeepLine(pending.substr(0, end));
      pending.erase(0, end + 1);
    }
  }
  if (!pending.empty()) KeepLine(pending);
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

void ServerProcess::KeepLine(const std::string& line) {
  const std::lock_guard lock(mutex_);
  if (line.starts_with(kReady) && ready_line_.empty()) ready_line_ = line;
  log_.push_back(line);
  if (log_.size() > kKeptLines) log_.pop_front();
  changed_.notify_all();
}

Status ServerProcess::WaitReady(const ServerCommand& command, const std::atomic<bool>& interrupt) {
  const TimePoint deadline = SteadyClock::Get().Now() + FromMs(command.ready_timeout_s * 1000);
  std::unique_lock lock(mutex_);
  while (ready_line_.empty()) {
    if (interrupt.load()) return Cancelled("interrupted while the server was starting");
    if (closed_) {
      lock.unlock();
      Stop();
      const std::string why = fmt::format("the server did not start: {}", WhyDead());
      // What this machine lacks is the server's own sentence; the rest of its log does not matter then.
      const std::string code = fmt::format("{}: ", CodeName(Code::kFailedPrecondition));
      if (const size_t at = why.find(code); at != std::string::npos)
        return FailedPrecondition(why.substr(at + code.size()));
      return Unavailable(why);
    }
    if (SteadyClock::Get().Now() > deadline) {
      lock.unlock();
      return Unavailable(fmt::format("the server was not ready after {} s; its log ends: {}",
                                     command.ready_timeout_s, LogTail()));
    }
    changed_.wait_for(lock, kPoll);
  }
  ready_ = ParseReady(ready_line_);
  return {};
}

std::string ServerProcess::LogTail() const {
  const std::lock_guard lock(mutex_);
  std::string text;
  for (const std::string& line : log_) text += (text.empty() ? "" : " | ") + line;
  return text;
}

std::string ServerProcess::Address(const std::string& name) const {
  for (const auto& [key, value] : ready_) {
    if (key != name) continue;
    const size_t colon = value.rfind(':');
    const std::string host = value.substr(0, colon);
    if (host == "0.0.0.0" || host == "[::]") return "127.0.0.1" + value.substr(colon);
    return value;
  }
  return "";
}

void ServerProcess::Reap(int status) {
  pid_ = -1;
  exit_text_ = WIFSIGNALED(status) ? fmt::format("killed by signal {}", WTERMSIG(status))
                                   : fmt::format("exit code {}", WEXITSTATUS(status));
}

bool ServerProcess::Alive() {
  int status = 0;
  if (pid_ > 0 && waitpid(pid_, &status, WNOHANG) == pid_) Reap(status);
  return pid_ > 0;
}

bool ServerProcess::EndsWithin(double seconds) {
  const TimePoint deadline = SteadyClock::Get().Now() + FromMs(seconds * 1000);
  while (Alive() && SteadyClock::Get().Now() < deadline) std::this_thread::sleep_for(kPoll);
  return pid_ <= 0;
}

std::string ServerProcess::WhyDead() const {
  return fmt::format("{}; its log ends: {}", exit_text_, LogTail());
}

load::ProcessUsage ServerProcess::Usage() const {
  return pid_ > 0 ? load::UsageOf(pid_) : load::ProcessUsage();
}

void ServerProcess::Stop() {
  if (Alive()) {
    kill(pid_, SIGTERM);
    if (!EndsWithin(kGraceSeconds)) {
      kill(pid_, SIGKILL);
      int status = 0;
      if (waitpid(pid_, &status, 0) == pid_) Reap(status);
    }
  }
  if (reader_.joinable()) reader_.join();
  if (log_fd_ >= 0) close(log_fd_);
  log_fd_ = -1;
}

}  // namespace rerankd::experiment
