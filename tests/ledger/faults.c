/* Preloaded: lets the n-th write, fsync, truncation, rename or unlink below a folder fail, or kills there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char below[PATH_MAX];
static long left, seen;
static int mode;

/* mode: an errno to fail with, 0 to kill before the call, -1 to write half and kill. */
void fault_arm(const char *folder, long nth, int how) {
    strncpy(below, folder, sizeof below - 1);
    left = nth, mode = how, seen = 0;
}

long fault_left(void) { return left; }

static int hits(const char *path) {
    if (!left || strncmp(path, below, strlen(below))) return 0;
    seen++;
    if (--left) return 0;
    if (mode == 0) kill(getpid(), SIGKILL);
    if (mode > 0) errno = mode;
    return 1;
}

static int hits_fd(int fd) {
    char link[64], path[PATH_MAX];
    if (!left) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return hits(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static ssize_t torn(ssize_t written) {
    (void)written;
    kill(getpid(), SIGKILL);
    return -1;
}

ssize_t write(int fd, const void *data, size_t size) {
    if (hits_fd(fd)) return mode < 0 ? torn(REAL(write)(fd, data, size / 2)) : -1;
    return REAL(write)(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    if (hits_fd(fd)) return mode < 0 ? torn(REAL(pwrite)(fd, data, size / 2, at)) : -1;
    return REAL(pwrite)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    if (hits_fd(fd)) return mode < 0 ? torn(REAL(pwrite64)(fd, data, size / 2, at)) : -1;
    return REAL(pwrite64)(fd, data, size, at);
}
int fsync(int fd) { return hits_fd(fd) ? (mode < 0 ? (int)torn(0) : -1) : REAL(fsync)(fd); }
int fdatasync(int fd) { return hits_fd(fd) ? (mode < 0 ? (int)torn(0) : -1) : REAL(fdatasync)(fd); }
int ftruncate(int fd, off_t size) {
    return hits_fd(fd) ? (mode < 0 ? (int)torn(0) : -1) : REAL(ftruncate)(fd, size);
}
int ftruncate64(int fd, off64_t size) {
    return hits_fd(fd) ? (mode < 0 ? (int)torn(0) : -1) : REAL(ftruncate64)(fd, size);
}
int rename(const char *from, const char *to) {
    return hits(from) ? (mode < 0 ? (int)torn(0) : -1) : REAL(rename)(from, to);
}
int unlink(const char *path) { return hits(path) ? (mode < 0 ? (int)torn(0) : -1) : REAL(unlink)(path); }
