/* Counts the system calls that change files below a folder, and strikes at one of them.

Loaded with LD_PRELOAD. Nothing happens until `arm` is called. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, KILL_BEFORE, KILL_IN_THE_MIDDLE, DISK_FULL };

static char folder[PATH_MAX];
static size_t folder_length;
static int mode;
static long now, strikes_at, full_until;
static int told_to;

/* Strike at the `at`-th call from now on; a full disk is one for `for_calls` calls. Which call it
   was, and of which file, is written to the file descriptor `told_to_`. */
void arm(const char *folder_, int mode_, long at, long for_calls, int told_to_)
{
    snprintf(folder, sizeof folder, "%s", folder_);
    folder_length = strlen(folder);
    mode = mode_;
    now = 0;
    strikes_at = at;
    full_until = at + for_calls;
    told_to = told_to_;
}

/* How many calls there were. */
long counted(void) { return now; }

static int below(const char *path)
{
    char whole[PATH_MAX * 2];
    if (!folder_length || !path)
        return 0;
    if (path[0] != '/') {
        if (!getcwd(whole, PATH_MAX))
            return 0;
        strcat(whole, "/");
        strncat(whole, path, PATH_MAX - 2);
        path = whole;
    }
    return strncmp(path, folder, folder_length) == 0;
}

static const char *path_of(int handle)
{
    static char path[PATH_MAX];
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    return path;
}

enum { GO_ON, DO_HALF_THEN_KILL, FAIL, DO_HALF };

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void tell(const char *call, const char *path)
{
    char line[PATH_MAX + 32];
    int length = snprintf(line, sizeof line, "%s %s\n", call, path);
    (void)!REAL(write)(told_to, line, length);
}

/* What is to become of this call. */
static int meet(const char *call, const char *path, int needs_room)
{
    if (!below(path))
        return GO_ON;
    now++;
    if (mode == COUNT || now < strikes_at)
        return GO_ON;
    if (mode == DISK_FULL) {
        if (!needs_room || now >= full_until)
            return GO_ON;
        if (now == strikes_at)
            tell(call, path);
        return now == strikes_at ? DO_HALF : FAIL;
    }
    tell(call, path);
    if (mode == KILL_BEFORE)
        kill(getpid(), SIGKILL);
    return DO_HALF_THEN_KILL;
}

/* Calls that write: half of it, where the disk is full or the process is killed in the middle. */
#define WRITES(name, parameters, handle, length, whole, half)                                      \
    ssize_t name parameters                                                                        \
    {                                                                                              \
        switch (folder_length ? meet(#name, path_of(handle), 1) : GO_ON) {                         \
        case DO_HALF_THEN_KILL:                                                                    \
            (void)!REAL(name) half;                                                                \
            kill(getpid(), SIGKILL);                                                               \
        case DO_HALF:                                                                              \
            if (length > 1)                                                                        \
                return REAL(name) half;                                                            \
        case FAIL:                                                                                 \
            errno = ENOSPC;                                                                        \
            return -1;                                                                             \
        }                                                                                          \
        return REAL(name) whole;                                                                   \
    }

WRITES(write, (int f, const void *b, size_t n), f, n, (f, b, n), (f, b, n / 2))
WRITES(pwrite, (int f, const void *b, size_t n, off_t o), f, n, (f, b, n, o), (f, b, n / 2, o))
WRITES(pwrite64, (int f, const void *b, size_t n, off64_t o), f, n, (f, b, n, o), (f, b, n / 2, o))
WRITES(writev, (int f, const struct iovec *v, int n), f, n, (f, v, n), (f, v, n / 2))

/* Calls that are done or not: killed in the middle, the process is killed after it. */
#define DOES(name, parameters, path, needs_room, arguments)                                        \
    int name parameters                                                                            \
    {                                                                                              \
        switch (folder_length ? meet(#name, path, needs_room) : GO_ON) {                           \
        case DO_HALF_THEN_KILL:                                                                    \
            (void)REAL(name) arguments;                                                            \
            kill(getpid(), SIGKILL);                                                               \
        case DO_HALF:                                                                              \
        case FAIL:                                                                                 \
            errno = ENOSPC;                                                                        \
            return -1;                                                                             \
        }                                                                                          \
        return REAL(name) arguments;                                                               \
    }

DOES(fsync, (int f), path_of(f), 0, (f))
DOES(fdatasync, (int f), path_of(f), 0, (f))
DOES(ftruncate, (int f, off_t n), path_of(f), 0, (f, n))
DOES(ftruncate64, (int f, off64_t n), path_of(f), 0, (f, n))
DOES(rename, (const char *a, const char *b), b, 0, (a, b))
DOES(renameat, (int d, const char *a, int e, const char *b), b, 0, (d, a, e, b))
DOES(unlink, (const char *p), p, 0, (p))
DOES(unlinkat, (int d, const char *p, int flags), p, 0, (d, p, flags))
DOES(rmdir, (const char *p), p, 0, (p))
DOES(mkdir, (const char *p, mode_t m), p, 1, (p, m))

/* Opening counts where it makes or empties a file. */
#define OPENS(name, parameters, last, arguments)                                                   \
    int name parameters                                                                            \
    {                                                                                              \
        va_list rest;                                                                              \
        va_start(rest, last);                                                                      \
        mode_t m = va_arg(rest, mode_t);                                                           \
        va_end(rest);                                                                              \
        struct stat known;                                                                         \
        int makes = (flags & O_CREAT && stat(p, &known) != 0) || flags & O_TRUNC;                  \
        switch (folder_length && makes ? meet(#name, p, 1) : GO_ON) {                              \
        case DO_HALF_THEN_KILL:                                                                    \
            (void)REAL(name) arguments;                                                            \
            kill(getpid(), SIGKILL);                                                               \
        case DO_HALF:                                                                              \
        case FAIL:                                                                                 \
            errno = ENOSPC;                                                                        \
            return -1;                                                                             \
        }                                                                                          \
        return REAL(name) arguments;                                                               \
    }

OPENS(open, (const char *p, int flags, ...), flags, (p, flags, m))
OPENS(open64, (const char *p, int flags, ...), flags, (p, flags, m))
OPENS(openat, (int d, const char *p, int flags, ...), flags, (d, p, flags, m))
OPENS(openat64, (int d, const char *p, int flags, ...), flags, (d, p, flags, m))
