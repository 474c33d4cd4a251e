/*
 * The real client's half of the benchmarks: does with libgfapi what the Go
 * program in ../driver does with package gfapi, operation for operation, and
 * prints the same line. Usage:
 *
 *     driver HOST PORT VOLUME DIR PHASE COUNT BYTES DEPTH
 *
 * DIR is the directory to work in, made if need be. COUNT is the number of files or requests, BYTES the size of each, DEPTH how
 * many threads share the work. The line is
 *
 *     seconds cpu_seconds max_rss_kib checksum
 *
 * where seconds and CPU exclude mounting and unmounting.
 */
#include <errno.h>
#include <fcntl.h>
#include <glusterfs/api/glfs.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static glfs_t *fs;
static const char *phase, *dir;
static char file[300]; /* of the phases that work on one file */
static long count, bytes;
static int depth;
static glfs_fd_t *shared; /* of the phases that work on one file */
static volatile uint64_t checksum;

static void die(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", phase, what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

/* The same sequence of offsets as in the Go driver. */
static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static void name(char *buf, size_t n, const char *prefix, long i)
{
    snprintf(buf, n, "%s/%s%06ld", dir, prefix, i);
}

static int is(const char *p) { return strcmp(phase, p) == 0; }

static void *worker(void *arg)
{
    long me = (long)arg;
    long per = count / depth, from = me * per, to = from + per;
    char a[256], b[256];
    char *buf = malloc(bytes ? bytes : 1);
    uint64_t rnd = 88172645463325252ULL + me, sum = 0;
    struct stat st;

    memset(buf, 'x', bytes);
    for (long i = from; i < to; i++) {
        if (is("seqwrite")) {
            if (glfs_pwrite(shared, buf, bytes, (off_t)i * bytes, 0, NULL, NULL) != bytes)
                die("pwrite");
        } else if (is("seqread")) {
            if (glfs_pread(shared, buf, bytes, (off_t)i * bytes, 0, NULL) != bytes)
                die("pread");
            sum += (unsigned char)buf[0];
        } else if (is("randwrite")) {
            off_t off = (off_t)(next_random(&rnd) % count) * bytes;
            if (glfs_pwrite(shared, buf, bytes, off, 0, NULL, NULL) != bytes)
                die("pwrite");
        } else if (is("randread")) {
            off_t off = (off_t)(next_random(&rnd) % count) * bytes;
            if (glfs_pread(shared, buf, bytes, off, 0, NULL) != bytes)
                die("pread");
            sum += (unsigned char)buf[0];
        } else if (is("create")) {
            name(a, sizeof a, "f", i);
            glfs_fd_t *fd = glfs_creat(fs, a, O_WRONLY | O_EXCL, 0644);
            if (!fd)
                die("creat");
            if (glfs_pwrite(fd, buf, bytes, 0, 0, NULL, NULL) != bytes)
                die("pwrite");
            if (glfs_close(fd))
                die("close");
        } else if (is("stat")) {
            name(a, sizeof a, "f", i);
            if (glfs_lstat(fs, a, &st))
                die("lstat");
            sum += st.st_size;
        } else if (is("openread")) {
            name(a, sizeof a, "f", i);
            glfs_fd_t *fd = glfs_open(fs, a, O_RDONLY);
            if (!fd)
                die("open");
            ssize_t n = glfs_pread(fd, buf, bytes, 0, 0, NULL);
            if (n < 0)
                die("pread");
            sum += n;
            if (glfs_close(fd))
                die("close");
        } else if (is("rename")) {
            name(a, sizeof a, "f", i);
            name(b, sizeof b, "r", i);
            if (glfs_rename(fs, a, b))
                die("rename");
        } else if (is("unlink")) {
            name(a, sizeof a, "r", i);
            if (glfs_unlink(fs, a))
                die("unlink");
        }
    }
    free(buf);
    __sync_fetch_and_add(&checksum, sum);
    return NULL;
}

static void list(void)
{
    glfs_fd_t *fd = glfs_opendir(fs, dir);
    struct stat st;
    if (!fd)
        die("opendir");
    for (;;) {
        struct dirent *de = glfs_readdirplus(fd, &st);
        if (!de)
            break;
        if (de->d_name[0] != '.')
            checksum += st.st_size;
    }
    glfs_closedir(fd);
}

int main(int argc, char **argv)
{
    if (argc != 9) {
        fprintf(stderr, "usage: driver HOST PORT VOLUME DIR PHASE COUNT BYTES DEPTH\n");
        return 2;
    }
    dir = argv[4];
    phase = argv[5];
    count = atol(argv[6]);
    bytes = atol(argv[7]);
    depth = atoi(argv[8]);
    snprintf(file, sizeof file, "%s.data", dir);
    fs = glfs_new(argv[3]);
    if (!fs || glfs_set_volfile_server(fs, "tcp", argv[1], atoi(argv[2])) || glfs_set_logging(fs, "/dev/null", 1) || glfs_init(fs))
        die("mount");
    if (glfs_mkdir(fs, dir, 0755) && errno != EEXIST)
        die("mkdir");
    int one_file = strncmp(phase, "seq", 3) == 0 || strncmp(phase, "rand", 4) == 0;
    if (one_file) {
        shared = is("seqwrite") ? glfs_creat(fs, file, O_RDWR | O_TRUNC, 0644) : glfs_open(fs, file, O_RDWR);
        if (!shared)
            die("open");
    }
    double t = now(), c = cpu();
    if (is("list")) {
        list();
    } else {
        pthread_t threads[64];
        for (long i = 1; i < depth; i++)
            pthread_create(&threads[i], NULL, worker, (void *)i);
        worker((void *)0L);
        for (long i = 1; i < depth; i++)
            pthread_join(threads[i], NULL);
    }
    /* What write-behind still holds belongs to the price. */
    if (one_file && glfs_close(shared))
        die("close");
    t = now() - t;
    c = cpu() - c;
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    printf("%.6f %.6f %ld %" PRIu64 "\n", t, c, r.ru_maxrss, (uint64_t)checksum);
    fflush(stdout);
    _exit(0); /* glfs_fini takes about ten seconds */
}
