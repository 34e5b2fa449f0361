/* Preloaded into a broker for tests: while the file that SLOW_DISK_WHILE names exists, every write
   and flush to a regular file takes 20 ms longer, as on a disk that is at its end. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static void delay(int fd) {
  const char *file = getenv("SLOW_DISK_WHILE");
  struct stat found;
  if (file && access(file, F_OK) == 0 && fstat(fd, &found) == 0 && S_ISREG(found.st_mode)) {
    struct timespec pause = {0, 20 * 1000 * 1000};
    nanosleep(&pause, NULL);
  }
}

#define SLOW(result, name, parameters, arguments)                                                  \
  result name parameters {                                                                         \
    static result(*next) parameters;                                                               \
    if (!next) next = (result(*) parameters)dlsym(RTLD_NEXT, #name);                               \
    delay(fd);                                                                                     \
    return next arguments;                                                                         \
  }

SLOW(ssize_t, write, (int fd, const void *from, size_t size), (fd, from, size))
SLOW(ssize_t, writev, (int fd, const struct iovec *from, int count), (fd, from, count))
SLOW(ssize_t, pwrite64, (int fd, const void *from, size_t size, off64_t at), (fd, from, size, at))
SLOW(int, fsync, (int fd), (fd))
SLOW(int, fdatasync, (int fd), (fd))
