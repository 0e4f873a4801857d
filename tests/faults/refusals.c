/* Preloaded into a daemon: refuses while a file shared with the test says so (two ints: errno of writes, of forks). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static volatile int none[2];
static volatile int *codes = none;

__attribute__((constructor)) static void map_codes(void) {
  const char *path = getenv("HERMESD_TEST_REFUSALS");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *found = mmap(0, 2 * sizeof(int), PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (found != MAP_FAILED) codes = found;
}

static int refused(int which) {
  if (!codes[which]) return 0;
  errno = codes[which];
  return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite(int fd, const void *from, size_t size, off_t at) {
  return refused(0) ? -1 : REAL(pwrite)(fd, from, size, at);
}
ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) {
  return refused(0) ? -1 : REAL(pwrite64)(fd, from, size, at);
}
int fsync(int fd) { return refused(0) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return refused(0) ? -1 : REAL(fdatasync)(fd); }
int ftruncate(int fd, off_t size) { return refused(0) ? -1 : REAL(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { return refused(0) ? -1 : REAL(ftruncate64)(fd, size); }

/* A wrapper cannot call vfork(2) itself: it would return into a frame that the child has left. */
pid_t fork(void) { return refused(1) ? -1 : REAL(fork)(); }
pid_t vfork(void) { return fork(); }
