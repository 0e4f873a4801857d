/* Preloaded into a child: makes the N-th write or sync from now on fail, as a full or broken disk does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_int countdown, refused, lasting, code;

/* n: which call fails (1 is the next), 0 disarms; stays: every later call fails as well. */
void refuse_arm(int n, int error, int stays) {
  if (n) refused = 0;
  lasting = stays;
  code = error;
  countdown = n;
}

int refuse_count(void) { return refused; }

static int due(void) {
  if (countdown == 0) return 0;
  if (countdown > 1) { countdown--; return 0; }
  if (!lasting) countdown = 0;
  refused++;
  errno = code;
  return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite(int fd, const void *from, size_t size, off_t at) {
  return due() ? -1 : REAL(pwrite)(fd, from, size, at);
}
ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) {
  return due() ? -1 : REAL(pwrite64)(fd, from, size, at);
}
/* A sync that succeeds does nothing: no power fails here, and thousands of real ones would only take time. */
int fsync(int fd) { (void)fd; return due() ? -1 : 0; }
int fdatasync(int fd) { (void)fd; return due() ? -1 : 0; }
int ftruncate(int fd, off_t size) { return due() ? -1 : REAL(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { return due() ? -1 : REAL(ftruncate64)(fd, size); }
