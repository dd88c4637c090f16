#include "store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <ios>
#include <iterator>
#include <system_error>

namespace nos::nvml_sim {
namespace {

std::filesystem::path with_suffix(const std::filesystem::path& path, const char* suffix) {
    std::filesystem::path result = path;
    result += suffix;
    return result;
}

}  // namespace

Lock::Lock(const std::filesystem::path& configuration)
    // Every lock opens the file anew, so that threads exclude each other as processes do.
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-vararg)
    : descriptor_(open(with_suffix(configuration, ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    if (descriptor_ < 0) {
        throw std::system_error(errno, std::generic_category());
    }
    while (flock(descriptor_, LOCK_EX) != 0) {
        if (errno == EINTR) {
            continue;
        }
        const int error = errno;
        close(descriptor_);
        throw std::system_error(error, std::generic_category());
    }
}

Lock::~Lock() { close(descriptor_); }

std::filesystem::path state_path(const std::filesystem::path& configuration) {
    return with_suffix(configuration, ".state");
}

std::string load(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        const int error = errno;
        if (error == ENOENT) {
            return {};
        }
        throw std::system_error(error, std::generic_category());
    }
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void save_state(const std::filesystem::path& configuration, const std::string& text) {
    const std::filesystem::path unfinished = with_suffix(configuration, ".state.tmp");
    std::ofstream file;
    file.exceptions(std::ios::badbit | std::ios::failbit);
    file.open(unfinished, std::ios::binary | std::ios::trunc);
    file << text;
    file.close();
    std::filesystem::rename(unfinished, state_path(configuration));
}

}  // namespace nos::nvml_sim
