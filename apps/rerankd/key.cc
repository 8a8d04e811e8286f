// rerankd key: makes an API key for `rerankd serve --api-key-file`.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "command.h"
#include "common.h"
#include "serving/api_keys.h"

namespace rerankd {
namespace {

// Appends in one write; a new file is readable by its owner only.
Status AppendLine(const std::string& path, const std::string& line) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return Unavailable("cannot write '" + path + "': " + std::strerror(errno));
  const ssize_t written = ::write(fd, line.data(), line.size());
  const std::string reason = std::strerror(errno);
  const bool closed = ::close(fd) == 0;
  if (closed && written == static_cast<ssize_t>(line.size())) return {};
  return Unavailable("cannot write '" + path + "': " + reason);
}

Status RunKey(const serving::Caller& caller, const std::string& path) {
  RERANKD_ASSIGN_OR_RETURN(const serving::NewApiKey made, serving::MakeApiKey(caller));
  RERANKD_RETURN_IF_ERROR(AppendLine(path, made.line + "\n"));
  RERANKD_RETURN_IF_ERROR(serving::ApiKeys::Load(path).status());
  fmt::print("{}\n", made.key);
  return {};
}

}  // namespace

void AddKey(CLI::App& app, Action* action) {
  auto caller = std::make_shared<serving::Caller>();
  auto path = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("key", "make an API key: its digest goes to a file, the key to stdout");
  command->footer("Example:\n  rerankd key --name search-team --file keys.jsonl");
  command->add_option("--name", caller->name, "whose key it is, in metrics and the access log")->required();
  command->add_option("--file", *path, "file of keys, appended to")->required();
  command->add_flag("--admin", caller->admin, "may use administrative routes");
  command->add_option("--weight", caller->weight, "share of the machine against the other names")
      ->capture_default_str();
  command->callback(
      [caller, path, action] { *action = [caller, path] { return ExitCode(RunKey(*caller, *path)); }; });
}

}  // namespace rerankd
