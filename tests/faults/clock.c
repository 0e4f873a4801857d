/* Preloaded into a daemon: its wall clock is the machine's plus an offset that a test sets while it runs.
 *
 * The offset (int64, nanoseconds) comes through the FIFO HERMESD_TEST_CLOCK. As in the kernel (timerfd_create(2)), a
 * timer on CLOCK_REALTIME that was armed with TFD_TIMER_CANCEL_ON_SET then ends its wait: read gives ECANCELED. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define SECOND 1000000000LL

static volatile int64_t offset;
static volatile int timer = -1, cancelled;

static int64_t nanoseconds(struct timespec t) { return t.tv_sec * SECOND + t.tv_nsec; }
static struct timespec timespec_of(int64_t ns) {
  struct timespec t = {ns / SECOND, ns % SECOND};
  return t;
}

static void *listen_to(void *path) {
  int64_t wanted;
  int fifo = open(path, O_RDWR | O_CLOEXEC);
  while (fifo >= 0 && REAL(read)(fifo, &wanted, sizeof wanted) == sizeof wanted) {
    offset = wanted;
    if (timer < 0) continue;
    struct itimerspec now = {.it_value = {0, 1}};
    cancelled = 1;
    REAL(timerfd_settime)(timer, TFD_TIMER_ABSTIME, &now, 0);
  }
  return 0;
}

__attribute__((constructor)) static void begin(void) {
  char *path = getenv("HERMESD_TEST_CLOCK");
  pthread_t thread;
  sigset_t all, before;
  if (!path) return;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the daemon's own threads */
  pthread_create(&thread, 0, listen_to, path);
  pthread_sigmask(SIG_SETMASK, &before, 0);
}

int clock_gettime(clockid_t clock, struct timespec *to) {
  int result = REAL(clock_gettime)(clock, to);
  if (!result && clock == CLOCK_REALTIME) *to = timespec_of(nanoseconds(*to) + offset);
  return result;
}

int timerfd_create(int clock, int flags) {
  int fd = REAL(timerfd_create)(clock, flags);
  if (clock == CLOCK_REALTIME) timer = fd;
  return fd;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *value, struct itimerspec *old) {
  if (fd != timer) return REAL(timerfd_settime)(fd, flags, value, old);
  struct itimerspec moved = *value;
  int64_t at = nanoseconds(value->it_value) - offset;
  moved.it_value = timespec_of(at > 0 ? at : 1);
  cancelled = 0;
  return REAL(timerfd_settime)(fd, flags, &moved, old);
}

ssize_t read(int fd, void *to, size_t size) {
  ssize_t result = REAL(read)(fd, to, size);
  if (fd == timer && cancelled && result > 0) {
    cancelled = 0;
    errno = ECANCELED;
    return -1;
  }
  return result;
}
