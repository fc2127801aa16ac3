/* Counts the calls of this process that write below a folder, notes them in memory that its parent shares,
   and lets the n-th fail. Preloaded (LD_PRELOAD), it sees those of Python, of HDF5 and of every other library. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, FAIL_ONCE, FAIL_ON, KILL_BEFORE, KILL_TORN, KILL_AFTER };
enum { ELSEWHERE, GO_ON, FAIL, TORN, DIE };
#define MOST 4096
struct call { char kind[12], path[244]; };
struct note { long calls, inside; struct call made[MOST]; };
static char folder[PATH_MAX];
static struct note *note;
static long wanted;
static int mode, code;
static __thread char target[2 * PATH_MAX];

void fault_arm(const char *below, long nth, int how, int error, struct note *shared) {
    strncpy(folder, below, sizeof folder - 1);
    wanted = nth, mode = how, code = error, note = shared;
}

static int concerns(const char *path) {
    size_t length = strlen(folder);
    if (strncmp(path, folder, length) || (path[length] && path[length] != '/')) return 0;
    memmove(target, path + length + !!path[length], strlen(path) - length + !path[length]);
    return 1;
}
static int concerns_file(int file) {
    char link[64], path[PATH_MAX];
    if (!folder[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return concerns(path);
}
/* `at` is the descriptor of the folder that a path is relative to. */
static int concerns_at(int at, const char *path) {
    char full[2 * PATH_MAX], here[PATH_MAX], link[64];
    if (!folder[0]) return 0;
    if (!path) return concerns_file(at);
    if (path[0] == '/') return concerns(path);
    snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
    ssize_t length = readlink(link, here, sizeof here - 1);
    if (length < 0) return 0;
    here[length] = 0;
    snprintf(full, sizeof full, "%s/%s", here, path);
    return concerns(full);
}
static int concerns_path(const char *path) { return path && concerns_at(AT_FDCWD, path); }

static int verdict(int concerned, const char *kind) {
    if (!concerned) return ELSEWHERE;
    long number = __atomic_add_fetch(&note->calls, 1, __ATOMIC_SEQ_CST);
    if (number <= MOST) {
        strncpy(note->made[number - 1].kind, kind, sizeof note->made[0].kind - 1);
        strncpy(note->made[number - 1].path, target, sizeof note->made[0].path - 1);
    }
    if (mode == FAIL_ON && number >= wanted) return errno = code, FAIL;
    if (mode == FAIL_ONCE && number == wanted) return errno = code, FAIL;
    __atomic_add_fetch(&note->inside, 1, __ATOMIC_SEQ_CST);
    if (number != wanted || mode < KILL_BEFORE) return GO_ON;
    if (mode == KILL_BEFORE) raise(SIGKILL);
    return mode == KILL_TORN ? TORN : DIE;
}
static void leave(int said) {
    if (said == DIE || said == TORN) raise(SIGKILL);
    if (said == GO_ON) __atomic_sub_fetch(&note->inside, 1, __ATOMIC_SEQ_CST);
}
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
/* What has no halves dies before it where it should be torn. */
#define GUARD(kind, concerned, call)           \
    int said = verdict(concerned, kind);       \
    if (said == FAIL) return -1;               \
    if (said == TORN) raise(SIGKILL);          \
    __auto_type done = (call);                 \
    leave(said);                               \
    return done
#define GUARD_SIZED(kind, concerned, call)     \
    int said = verdict(concerned, kind);       \
    if (said == FAIL) return -1;               \
    if (said == TORN) size /= 2;               \
    __auto_type done = (call);                 \
    leave(said);                               \
    return done

#define WRITES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT))
#define OPENER(name)                                                                              \
    int name(const char *path, int flags, ...) {                                                  \
        va_list rest; va_start(rest, flags);                                                      \
        int rights = va_arg(rest, int); va_end(rest);                                             \
        GUARD("open", WRITES(flags) && concerns_path(path), REAL(name)(path, flags, rights));     \
    }
OPENER(open)
OPENER(open64)
#define OPENER_AT(name)                                                                           \
    int name(int at, const char *path, int flags, ...) {                                          \
        va_list rest; va_start(rest, flags);                                                      \
        int rights = va_arg(rest, int); va_end(rest);                                             \
        GUARD("open", WRITES(flags) && concerns_at(at, path), REAL(name)(at, path, flags, rights)); \
    }
OPENER_AT(openat)
OPENER_AT(openat64)

#define CALL(type, name, kind, concerned, parameters, arguments) \
    type name parameters { GUARD(kind, concerned, REAL(name) arguments); }
#define SIZED(name, concerned, parameters, arguments) \
    ssize_t name parameters { GUARD_SIZED("write", concerned, REAL(name) arguments); }
#define OF_FILE concerns_file(file)
SIZED(write, OF_FILE, (int file, const void *data, size_t size), (file, data, size))
SIZED(pwrite, OF_FILE, (int file, const void *data, size_t size, off_t at), (file, data, size, at))
SIZED(pwrite64, OF_FILE, (int file, const void *data, size_t size, off64_t at), (file, data, size, at))
SIZED(sendfile, OF_FILE, (int file, int from, off_t *at, size_t size), (file, from, at, size))
SIZED(sendfile64, OF_FILE, (int file, int from, off64_t *at, size_t size), (file, from, at, size))
SIZED(copy_file_range, OF_FILE,
      (int from, off64_t *start, int file, off64_t *at, size_t size, unsigned flags),
      (from, start, file, at, size, flags))
CALL(ssize_t, writev, "write", OF_FILE, (int file, const struct iovec *parts, int count), (file, parts, count))
CALL(ssize_t, pwritev, "write", OF_FILE,
     (int file, const struct iovec *parts, int count, off_t at), (file, parts, count, at))
CALL(ssize_t, pwritev64, "write", OF_FILE,
     (int file, const struct iovec *parts, int count, off64_t at), (file, parts, count, at))
CALL(int, fsync, "sync", OF_FILE, (int file), (file))
CALL(int, fdatasync, "sync", OF_FILE, (int file), (file))
CALL(int, ftruncate, "truncate", OF_FILE, (int file, off_t size), (file, size))
CALL(int, ftruncate64, "truncate", OF_FILE, (int file, off64_t size), (file, size))
CALL(int, truncate, "truncate", concerns_path(path), (const char *path, off_t size), (path, size))
CALL(int, truncate64, "truncate", concerns_path(path), (const char *path, off64_t size), (path, size))
CALL(int, rename, "rename", concerns_path(to), (const char *from, const char *to), (from, to))
CALL(int, renameat, "rename", concerns_at(b, to), (int a, const char *from, int b, const char *to),
     (a, from, b, to))
CALL(int, renameat2, "rename", concerns_at(b, to),
     (int a, const char *from, int b, const char *to, unsigned flags), (a, from, b, to, flags))
CALL(int, link, "link", concerns_path(to), (const char *from, const char *to), (from, to))
CALL(int, linkat, "link", concerns_at(b, to), (int a, const char *from, int b, const char *to, int flags),
     (a, from, b, to, flags))
CALL(int, symlink, "link", concerns_path(to), (const char *from, const char *to), (from, to))
CALL(int, symlinkat, "link", concerns_at(at, to), (const char *from, int at, const char *to), (from, at, to))
CALL(int, mkdir, "mkdir", concerns_path(path), (const char *path, mode_t rights), (path, rights))
CALL(int, mkdirat, "mkdir", concerns_at(at, path), (int at, const char *path, mode_t rights),
     (at, path, rights))
CALL(int, unlink, "remove", concerns_path(path), (const char *path), (path))
CALL(int, unlinkat, "remove", concerns_at(at, path), (int at, const char *path, int flags), (at, path, flags))
CALL(int, rmdir, "remove", concerns_path(path), (const char *path), (path))
CALL(int, chmod, "chmod", concerns_path(path), (const char *path, mode_t rights), (path, rights))
CALL(int, fchmod, "chmod", OF_FILE, (int file, mode_t rights), (file, rights))
CALL(int, fchmodat, "chmod", concerns_at(at, path), (int at, const char *path, mode_t rights, int flags),
     (at, path, rights, flags))
CALL(int, utimensat, "times", concerns_at(at, path),
     (int at, const char *path, const struct timespec times[2], int flags), (at, path, times, flags))
CALL(int, futimens, "times", OF_FILE, (int file, const struct timespec times[2]), (file, times))
