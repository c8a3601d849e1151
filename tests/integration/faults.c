/* Makes calls of a process on its files go wrong at random, slows some down, and cuts the power.
 *
 * Preloaded by faults.rs. Calls on what lies below FAULTS_BELOW fail as FAULTS_CONTROL says, a file of 8-byte numbers that
 * is mapped and may be written to at any time (struct control); FAULTS_SEED makes one run unlike the next. What fails:
 *
 *   opens         EMFILE, EIO, ENOSPC; also behind the creation of the file
 *   writes        EIO, ENOSPC, nothing or a part of it written; or short; lengths that are set
 *   syncs         EIO, ENOSPC, of files and folders, and of the file's unsynced data some or all is lost, for good: the
 *                 next fsync succeeds and brings nothing back, as on Linux
 *   names         renames, links, removals, folders: EIO, ENOSPC, before they did their work or behind it
 *   reads         EIO, EMFILE, or short
 *
 * Nothing is really synced. Instead the library keeps what each write replaced until the file's next good fsync: what
 * it loses is what stood there before. When the power goes, each unsynced write is kept, lost or torn, and the process ends
 * by SIGKILL; names stay as they are. What goes to the kernel without the C library (fallocate and renameat2 of rustix) is not
 * seen. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { OPENS, WRITES, SYNCS, NAMES, READS, SLOW, KINDS };

/* faults.rs knows this order. */
struct control {
    uint64_t rates[KINDS];  /* of a million calls of each kind, so many fail */
    uint64_t spared;        /* places where none does: the bits of enum place */
    uint64_t power;         /* not 0: the next call finds the power gone */
    uint64_t done[KINDS];   /* how many did */
    uint64_t lost;          /* writes of which something was lost */
};

enum place { ELSEWHERE = 1, WAL = 2, MANIFEST = 4, SEGMENTS = 8, STORES = 16 };

static struct control *control;
static const char *below;
static size_t below_len;
static uint64_t seed, calls;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CONTROL"), *number = getenv("FAULTS_SEED");
    below = getenv("FAULTS_BELOW");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0 || !below || !number)
        _exit(99); /* the test would believe that nothing can go wrong */
    void *shared = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared == MAP_FAILED)
        _exit(99);
    below_len = strlen(below);
    seed = strtoull(number, NULL, 10);
    control = shared;
}

/* ---- Chance ---- */

static uint64_t mixed(uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

static uint64_t chance(void) {
    return mixed(seed ^ mixed(__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED)));
}

static int one_of(const int *numbers, size_t count) { return numbers[chance() % count]; }
#define ONE_OF(...) one_of((const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

static void note(uint64_t *counter) { __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED); }

/* ---- Places ---- */

/* 0: not ours. */
static enum place place_of(const char *path) {
    if (!control || !path || strncmp(path, below, below_len) != 0 || path[below_len] != '/')
        return 0;
    const char *rest = path + below_len;
    if (strncmp(rest, "/store", 6) == 0 || strncmp(rest, "/backups", 8) == 0)
        return STORES;
    if (strncmp(rest, "/data", 5) != 0)
        return 0; /* what the test keeps there */
    rest += 5;
    if (strncmp(rest, "/wal", 4) == 0)
        return WAL;
    if (strncmp(rest, "/segments", 9) == 0)
        return SEGMENTS;
    return !*rest || strncmp(rest, "/manifest", 9) == 0 ? MANIFEST : ELSEWHERE;
}

static enum place place_of_fd(int fd) {
    char link[32], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = control ? readlink(link, path, sizeof path - 1) : -1;
    if (len < 0)
        return 0;
    path[len] = 0;
    return place_of(path);
}

static void lose_power(void);

/* Whether a call of this kind at this place is to fail. Takes its time, sometimes. */
static int fails(enum kind kind, enum place place) {
    if (!place)
        return 0;
    if (__atomic_load_n(&control->power, __ATOMIC_SEQ_CST))
        lose_power();
    if (chance() % 1000000 < control->rates[SLOW]) {
        struct timespec pause = {0, (long)(1 + chance() % 30) * 1000000};
        nanosleep(&pause, NULL);
        note(&control->done[SLOW]);
    }
    if (place & control->spared || chance() % 1000000 >= control->rates[kind])
        return 0;
    note(&control->done[kind]);
    return 1;
}

#define NEXT(name)                                                                                                     \
    static __typeof__(name) *next;                                                                                     \
    if (!next)                                                                                                         \
        next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* ---- What is not synced ---- */

struct written {
    struct written *older;
    off_t at;
    size_t len;
    char before[]; /* what stood there */
};

struct dirty {
    struct dirty *next;
    dev_t dev;
    ino_t ino;
    int fd;
    struct written *newest;
};

#define DIRTY_MAX 200 /* each holds a file open; what is never synced is forgotten in the end */

static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
static struct dirty *all_dirty;
static unsigned dirty_count;

static ssize_t real_pwrite(int fd, const void *bytes, size_t len, off_t at) {
    static ssize_t (*next)(int, const void *, size_t, off_t);
    if (!next)
        next = (__typeof__(next))dlsym(RTLD_NEXT, "pwrite64");
    return next(fd, bytes, len, at);
}

static ssize_t real_pread(int fd, void *bytes, size_t len, off_t at) {
    static ssize_t (*next)(int, void *, size_t, off_t);
    if (!next)
        next = (__typeof__(next))dlsym(RTLD_NEXT, "pread64");
    return next(fd, bytes, len, at);
}

static void forget(struct dirty *file) {
    for (struct written *one = file->newest, *older; one; one = older) {
        older = one->older;
        free(one);
    }
    close(file->fd);
    free(file);
}

/* Takes what is not synced of a file out of the list; with the lock held. */
static struct dirty *take(dev_t dev, ino_t ino) {
    for (struct dirty **at = &all_dirty; *at; at = &(*at)->next)
        if ((*at)->dev == dev && (*at)->ino == ino) {
            struct dirty *found = *at;
            *at = found->next;
            dirty_count--;
            return found;
        }
    return NULL;
}

/* Keeps what a write is about to replace; with the lock held. */
static void keep(int fd, off_t at, size_t len) {
    struct stat about;
    struct written *one = malloc(sizeof *one + len);
    if (!one || fstat(fd, &about) != 0)
        _exit(99);
    ssize_t there = real_pread(fd, one->before, len, at);
    there = there < 0 ? 0 : there;
    memset(one->before + there, 0, len - (size_t)there);
    one->at = at;
    one->len = len;
    struct dirty *file = take(about.st_dev, about.st_ino);
    if (!file) {
        file = calloc(1, sizeof *file);
        file->dev = about.st_dev;
        file->ino = about.st_ino;
        file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    }
    one->older = file->newest;
    file->newest = one;
    file->next = all_dirty;
    all_dirty = file;
    if (++dirty_count > DIRTY_MAX) {
        struct dirty **last = &all_dirty;
        while ((*last)->next)
            last = &(*last)->next;
        forget(*last);
        *last = NULL;
        dirty_count--;
    }
}

/* Loses what was written to a file: all of it, or each write whole, in part or not at all. */
static void lose(struct dirty *file) {
    int all = chance() % 2;
    struct stat about;
    if (fstat(file->fd, &about) != 0)
        return;
    for (struct written *one = file->newest; one; one = one->older) {
        size_t from = 0, to = one->len;
        if (!all)
            switch (chance() % 4) {
            case 0: continue;
            case 1: from = chance() % (one->len + 1); break;
            case 2: to = chance() % (one->len + 1); break;
            }
        /* A file that was cut off meanwhile does not grow again. */
        off_t room = about.st_size - one->at;
        if (room < (off_t)to)
            to = room > 0 ? (size_t)room : 0;
        if (from < to) {
            real_pwrite(file->fd, one->before + from, to - from, one->at + (off_t)from);
            note(&control->lost);
        }
    }
}

static void lose_power(void) {
    pthread_mutex_lock(&writing);
    for (struct dirty *file = all_dirty; file; file = file->next)
        lose(file);
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* ---- Calls ---- */

static ssize_t written_at(int fd, const void *bytes, size_t len, off_t at) {
    enum place place = place_of_fd(fd);
    int failed = fails(WRITES, place);
    int how = failed ? ONE_OF(EIO, ENOSPC, 0) : 0;
    size_t part = failed && len > 1 ? 1 + chance() % (len - 1) : len;
    if (how && chance() % 2) {
        errno = how;
        return -1;
    }
    pthread_mutex_lock(&writing);
    if (place)
        keep(fd, at, part);
    ssize_t done = real_pwrite(fd, bytes, part, at);
    pthread_mutex_unlock(&writing);
    if (how) {
        errno = how;
        return -1;
    }
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) { return written_at(fd, bytes, len, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at) { return written_at(fd, bytes, len, at); }

ssize_t write(int fd, const void *bytes, size_t len) {
    NEXT(write);
    off_t at = place_of_fd(fd) ? lseek(fd, 0, SEEK_CUR) : -1;
    if (at < 0)
        return next(fd, bytes, len);
    ssize_t done = written_at(fd, bytes, len, at);
    if (done > 0)
        lseek(fd, at + done, SEEK_SET);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    NEXT(writev);
    if (!place_of_fd(fd) || lseek(fd, 0, SEEK_CUR) < 0)
        return next(fd, parts, count);
    for (; count > 0 && parts->iov_len == 0; count--)
        parts++;
    return count > 0 ? write(fd, parts->iov_base, parts->iov_len) : 0; /* a short one */
}

static int synced(int fd) {
    enum place place = place_of_fd(fd);
    struct stat about;
    if (fstat(fd, &about) != 0)
        return -1;
    pthread_mutex_lock(&writing);
    struct dirty *file = place ? take(about.st_dev, about.st_ino) : NULL;
    pthread_mutex_unlock(&writing);
    struct timespec pause = {0, (long)(chance() % 1000) * 1000};
    nanosleep(&pause, NULL);
    int failed = fails(SYNCS, place);
    if (failed && file) {
        pthread_mutex_lock(&writing);
        lose(file);
        pthread_mutex_unlock(&writing);
    }
    if (file)
        forget(file);
    if (failed)
        errno = ONE_OF(EIO, EIO, EIO, ENOSPC);
    return failed ? -1 : 0;
}

int fsync(int fd) { return synced(fd); }
int fdatasync(int fd) { return synced(fd); }

#define LENGTHS(name, type)                                                                                            \
    int name(int fd, type len) {                                                                                       \
        NEXT(name);                                                                                                    \
        if (fails(WRITES, place_of_fd(fd))) {                                                                          \
            errno = ONE_OF(EIO, ENOSPC);                                                                               \
            return -1;                                                                                                 \
        }                                                                                                              \
        return next(fd, len);                                                                                          \
    }

LENGTHS(ftruncate, off_t)
LENGTHS(ftruncate64, off64_t)

#define READS_AT(name, parameters, arguments)                                                                          \
    ssize_t name parameters {                                                                                          \
        NEXT(name);                                                                                                    \
        if (len > 0 && fails(READS, place_of_fd(fd))) {                                                                \
            if (chance() % 2) {                                                                                        \
                errno = EIO;                                                                                           \
                return -1;                                                                                             \
            }                                                                                                          \
            len = 1 + chance() % len;                                                                                  \
        }                                                                                                              \
        return next arguments;                                                                                         \
    }

READS_AT(read, (int fd, void *bytes, size_t len), (fd, bytes, len))
READS_AT(pread, (int fd, void *bytes, size_t len, off_t at), (fd, bytes, len, at))
READS_AT(pread64, (int fd, void *bytes, size_t len, off64_t at), (fd, bytes, len, at))

#define CHANGES(name, path, parameters, arguments)                                                                     \
    int name parameters {                                                                                              \
        NEXT(name);                                                                                                    \
        if (!fails(NAMES, place_of(path)))                                                                             \
            return next arguments;                                                                                     \
        if (chance() % 2)                                                                                              \
            (void)!next arguments;                                                                                     \
        errno = ONE_OF(EIO, EIO, ENOSPC);                                                                              \
        return -1;                                                                                                     \
    }

CHANGES(rename, to, (const char *from, const char *to), (from, to))
CHANGES(link, to, (const char *from, const char *to), (from, to))
CHANGES(linkat, to, (int in, const char *from, int into, const char *to, int how), (in, from, into, to, how))
CHANGES(unlink, path, (const char *path), (path))
CHANGES(mkdir, path, (const char *path, mode_t mode), (path, mode))
CHANGES(rmdir, path, (const char *path), (path))

#define OPENS_AT(name, parameters, ...)                                                                                \
    int name parameters {                                                                                              \
        NEXT(name);                                                                                                    \
        mode_t mode = 0;                                                                                               \
        if (flags & O_CREAT) {                                                                                         \
            va_list rest;                                                                                              \
            va_start(rest, flags);                                                                                     \
            mode = va_arg(rest, mode_t);                                                                               \
            va_end(rest);                                                                                              \
        }                                                                                                              \
        int makes = flags & (O_CREAT | O_TRUNC);                                                                       \
        if (!fails((flags & O_ACCMODE) == O_RDONLY ? READS : OPENS, place_of(path)))                                   \
            return next(__VA_ARGS__, flags, mode);                                                                     \
        int made = makes && chance() % 2 ? next(__VA_ARGS__, flags, mode) : -1;                                        \
        if (made >= 0)                                                                                                 \
            close(made);                                                                                               \
        errno = makes ? ONE_OF(EIO, ENOSPC, EMFILE) : ONE_OF(EIO, EMFILE);                                             \
        return -1;                                                                                                     \
    }

OPENS_AT(open, (const char *path, int flags, ...), path)
OPENS_AT(open64, (const char *path, int flags, ...), path)
OPENS_AT(openat, (int in, const char *path, int flags, ...), in, path)
OPENS_AT(openat64, (int in, const char *path, int flags, ...), in, path)

DIR *opendir(const char *path) {
    NEXT(opendir);
    if (fails(READS, place_of(path))) {
        errno = ONE_OF(EIO, EMFILE);
        return NULL;
    }
    return next(path);
}
