/* Counts the calls of a process that change files, and kills the process before one of them.
 *
 * Preloaded by kill_steps.rs. KILL_COUNT names a file of 8 bytes that is mapped: the number of calls so far is in it
 * at any time, also after the process was killed. With KILL_AT=n the process ends by SIGKILL before its n-th such
 * call, which then never happens; KILL_AT=0, or none, only counts. Only files and folders count: no sockets, pipes or
 * terminals. With KILL_PORT=n connections to that port of IPv4 count too: where each request has its own, these are steps
 * of an object store. What goes to the kernel without the C library (fallocate and renameat2 of rustix) is not seen; what
 * lies before and behind such a call is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static uint64_t *count;
static uint64_t kill_at;
static uint16_t kill_port;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("KILL_COUNT"), *at = getenv("KILL_AT"), *port = getenv("KILL_PORT");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        _exit(99); /* the test would believe that there is nothing to walk */
    void *shared = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared == MAP_FAILED)
        _exit(99);
    kill_at = at ? strtoull(at, NULL, 10) : 0;
    kill_port = port ? (uint16_t)strtoul(port, NULL, 10) : 0;
    count = shared;
}

static void step(void) {
    if (!count)
        return;
    uint64_t now = __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
    /* Other threads come no further either. */
    if (kill_at && now >= kill_at) {
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
}

static void step_of(int fd) {
    struct stat about;
    if (fstat(fd, &about) == 0 && (S_ISREG(about.st_mode) || S_ISDIR(about.st_mode)))
        step();
}

#define NEXT(name)                                                                                                     \
    static __typeof__(name) *next;                                                                                     \
    if (!next)                                                                                                         \
        next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define WRITES(result, name, parameters, arguments)                                                                    \
    result name parameters {                                                                                           \
        NEXT(name);                                                                                                    \
        step_of(fd);                                                                                                   \
        return next arguments;                                                                                         \
    }

#define CHANGES(name, parameters, arguments)                                                                           \
    int name parameters {                                                                                              \
        NEXT(name);                                                                                                    \
        step();                                                                                                        \
        return next arguments;                                                                                         \
    }

#define OPENS(name, parameters, ...)                                                                                   \
    int name parameters {                                                                                              \
        NEXT(name);                                                                                                    \
        mode_t mode = 0;                                                                                               \
        if (flags & (O_CREAT | O_TRUNC)) {                                                                             \
            va_list rest;                                                                                              \
            va_start(rest, flags);                                                                                     \
            mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;                                                         \
            va_end(rest);                                                                                              \
            step();                                                                                                    \
        }                                                                                                              \
        return next(__VA_ARGS__, flags, mode);                                                                         \
    }

WRITES(ssize_t, write, (int fd, const void *bytes, size_t len), (fd, bytes, len))
WRITES(ssize_t, writev, (int fd, const struct iovec *parts, int len), (fd, parts, len))
WRITES(ssize_t, pwrite, (int fd, const void *bytes, size_t len, off_t at), (fd, bytes, len, at))
WRITES(ssize_t, pwrite64, (int fd, const void *bytes, size_t len, off64_t at), (fd, bytes, len, at))
WRITES(int, fsync, (int fd), (fd))
WRITES(int, fdatasync, (int fd), (fd))
WRITES(int, ftruncate, (int fd, off_t len), (fd, len))
WRITES(int, ftruncate64, (int fd, off64_t len), (fd, len))
WRITES(int, fallocate, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len))
WRITES(int, fallocate64, (int fd, int mode, off64_t at, off64_t len), (fd, mode, at, len))
WRITES(int, posix_fallocate, (int fd, off_t at, off_t len), (fd, at, len))
CHANGES(rename, (const char *from, const char *to), (from, to))
CHANGES(renameat, (int in, const char *from, int into, const char *to), (in, from, into, to))
CHANGES(renameat2, (int in, const char *from, int into, const char *to, unsigned how), (in, from, into, to, how))
CHANGES(link, (const char *from, const char *to), (from, to))
CHANGES(linkat, (int in, const char *from, int into, const char *to, int how), (in, from, into, to, how))
CHANGES(unlink, (const char *path), (path))
CHANGES(unlinkat, (int in, const char *path, int how), (in, path, how))
CHANGES(mkdir, (const char *path, mode_t mode), (path, mode))
CHANGES(rmdir, (const char *path), (path))
OPENS(open, (const char *path, int flags, ...), path)
OPENS(open64, (const char *path, int flags, ...), path)
OPENS(openat, (int in, const char *path, int flags, ...), in, path)
OPENS(openat64, (int in, const char *path, int flags, ...), in, path)

int connect(int fd, const struct sockaddr *to, socklen_t len) {
    NEXT(connect);
    const struct sockaddr_in *place = (const struct sockaddr_in *)to;
    if (kill_port && to->sa_family == AF_INET && len >= sizeof *place && ntohs(place->sin_port) == kill_port)
        step();
    return next(fd, to, len);
}
