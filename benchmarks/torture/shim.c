/* Counts the calls of this process that write below a folder, and lets the n-th fail.
   Preloaded (LD_PRELOAD), it sees those of Python, of HDF5 and of every other library alike. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, FAIL_ONCE, FAIL_ON, KILL_BEFORE, KILL_TORN, KILL_AFTER };
static char folder[PATH_MAX];
static long calls, wanted;
static int mode, code;

void fault_arm(const char *below, long nth, int how, int error) {
    strncpy(folder, below, sizeof folder - 1);
    calls = 0, wanted = nth, mode = how, code = error;
}
long fault_calls(void) { return calls; }

static int concerns_path(const char *path) {
    char full[2 * PATH_MAX], here[PATH_MAX];
    if (!folder[0] || !path) return 0;
    if (path[0] != '/' && getcwd(here, sizeof here)) {
        snprintf(full, sizeof full, "%s/%s", here, path);
        path = full;
    }
    return !strncmp(path, folder, strlen(folder));
}
static int concerns_file(int file) {
    char link[64], path[PATH_MAX];
    if (!folder[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return concerns_path(path);
}
/* 0: go on; 1: fail with `code`; 2: half of it, then die; 3: all of it, then die. */
static int verdict(int concerned) {
    if (!concerned) return 0;
    long number = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (mode == FAIL_ON && number >= wanted) return errno = code, 1;
    if (mode == COUNT || number != wanted) return 0;
    if (mode == FAIL_ONCE) return errno = code, 1;
    if (mode == KILL_BEFORE) raise(SIGKILL);
    return mode == KILL_TORN ? 2 : 3;
}
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define GUARD(concerned, call)                    \
    switch (verdict(concerned)) {                 \
    case 1: return -1;                            \
    case 2: raise(SIGKILL);                       \
    case 3: (void)!(call); raise(SIGKILL);        \
    }                                             \
    return call

#define OPENER(name)                                                            \
    int name(const char *path, int flags, ...) {                                \
        va_list rest; va_start(rest, flags);                                    \
        int rights = va_arg(rest, int); va_end(rest);                           \
        GUARD((flags & (O_WRONLY | O_RDWR | O_CREAT)) && concerns_path(path),   \
              REAL(name)(path, flags, rights));                                 \
    }
OPENER(open)
OPENER(open64)
#define OPENER_AT(name)                                                         \
    int name(int at, const char *path, int flags, ...) {                        \
        va_list rest; va_start(rest, flags);                                    \
        int rights = va_arg(rest, int); va_end(rest);                           \
        GUARD((flags & (O_WRONLY | O_RDWR | O_CREAT)) && concerns_path(path),   \
              REAL(name)(at, path, flags, rights));                             \
    }
OPENER_AT(openat)
OPENER_AT(openat64)

ssize_t write(int file, const void *data, size_t size) {
    int said = verdict(concerns_file(file));
    if (said == 1) return -1;
    ssize_t done = REAL(write)(file, data, said == 2 ? size / 2 : size);
    if (said) raise(SIGKILL);
    return done;
}
#define PWRITER(name)                                                             \
    ssize_t name(int file, const void *data, size_t size, off_t place) {          \
        int said = verdict(concerns_file(file));                                  \
        if (said == 1) return -1;                                                 \
        ssize_t done = REAL(name)(file, data, said == 2 ? size / 2 : size, place);\
        if (said) raise(SIGKILL);                                                 \
        return done;                                                              \
    }
PWRITER(pwrite)
PWRITER(pwrite64)
ssize_t writev(int file, const struct iovec *parts, int count) {
    GUARD(concerns_file(file), REAL(writev)(file, parts, count));
}
int fsync(int file) { GUARD(concerns_file(file), REAL(fsync)(file)); }
int fdatasync(int file) { GUARD(concerns_file(file), REAL(fdatasync)(file)); }
int ftruncate(int file, off_t size) { GUARD(concerns_file(file), REAL(ftruncate)(file, size)); }
int ftruncate64(int file, off64_t size) { GUARD(concerns_file(file), REAL(ftruncate64)(file, size)); }
int rename(const char *from, const char *to) { GUARD(concerns_path(to), REAL(rename)(from, to)); }
int renameat(int a, const char *from, int b, const char *to) {
    GUARD(concerns_path(to), REAL(renameat)(a, from, b, to));
}
int mkdir(const char *path, mode_t rights) { GUARD(concerns_path(path), REAL(mkdir)(path, rights)); }
int mkdirat(int at, const char *path, mode_t rights) {
    GUARD(concerns_path(path), REAL(mkdirat)(at, path, rights));
}
int unlink(const char *path) { GUARD(concerns_path(path), REAL(unlink)(path)); }
int unlinkat(int at, const char *path, int flags) { GUARD(concerns_path(path), REAL(unlinkat)(at, path, flags)); }
int rmdir(const char *path) { GUARD(concerns_path(path), REAL(rmdir)(path)); }
