/*
 * The real client library for the golden traces: does the commands that it gets
 * on standard input, one a line, and answers each with "ok" or "errno N".
 *
 *     trace VOLUME VOLFILE LOGFILE
 *
 * Commands: stat P, read P, write P, mkdir P, rename P Q, unlink P, list P,
 * create P, writelarge P, miss P, rmdir P, link P Q, symlink TARGET P, chmod P MODE,
 * setxattr P NAME VALUE, truncate P SIZE; and on one open file: open P,
 * pwrite OFFSET SIZE, fsync, ftruncate SIZE, close.
 */
#include <errno.h>
#include <fcntl.h>
#include <glusterfs/api/glfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char data[2 * 1024 * 1024];
static glfs_fd_t *file;

static int do_read(glfs_t *fs, const char *path)
{
    char buf[4096];
    glfs_fd_t *fd = glfs_open(fs, path, O_RDONLY);
    if (!fd)
        return -1;
    ssize_t n = glfs_pread(fd, buf, sizeof buf, 0, 0, NULL);
    int bad = glfs_close(fd);
    return n < 0 || bad ? -1 : 0;
}

static int do_write(glfs_t *fs, const char *path)
{
    glfs_fd_t *fd = glfs_creat(fs, path, O_WRONLY, 0644);
    if (!fd)
        return -1;
    ssize_t n = glfs_pwrite(fd, "Winter is coming.", 17, 0, 0, NULL, NULL);
    int bad = glfs_close(fd);
    return n != 17 || bad ? -1 : 0;
}

/* Creates a file and writes n bytes at once. */
static int do_create(glfs_t *fs, const char *path, size_t n)
{
    glfs_fd_t *fd = glfs_creat(fs, path, O_WRONLY, 0644);
    int bad = 0;
    if (!fd)
        return -1;
    if (n && glfs_pwrite(fd, data, n, 0, 0, NULL, NULL) != (ssize_t)n)
        bad = 1;
    if (glfs_close(fd))
        bad = 1;
    return bad ? -1 : 0;
}

static int do_miss(glfs_t *fs, const char *path)
{
    struct stat st;
    return glfs_stat(fs, path, &st) && errno == ENOENT ? 0 : -1;
}

static int do_close(void)
{
    int r = glfs_close(file);
    file = NULL;
    return r;
}

static int do_list(glfs_t *fs, const char *path)
{
    struct stat st;
    struct dirent buf, *de;
    glfs_fd_t *fd = glfs_opendir(fs, path);
    if (!fd)
        return -1;
    for (;;) {
        if (glfs_readdirplus_r(fd, &st, &buf, &de)) {
            glfs_closedir(fd);
            return -1;
        }
        if (!de)
            break;
    }
    return glfs_closedir(fd);
}

int main(int argc, char **argv)
{
    char line[2048], cmd[16], a[512], b[512], c[512];
    struct stat st;
    if (argc != 4) {
        fprintf(stderr, "usage: trace VOLUME VOLFILE LOGFILE\n");
        return 2;
    }
    glfs_t *fs = glfs_new(argv[1]);
    if (!fs || glfs_set_volfile(fs, argv[2]) || glfs_set_logging(fs, argv[3], 7) || glfs_init(fs)) {
        fprintf(stderr, "mount: %s\n", strerror(errno));
        return 1;
    }
    puts("ok");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        int r = -1;
        a[0] = b[0] = c[0] = 0;
        errno = EINVAL;
        if (sscanf(line, "%15s %511s %511s %511s", cmd, a, b, c) < 1)
            r = -1;
        else if (!strcmp(cmd, "stat"))
            r = glfs_stat(fs, a, &st);
        else if (!strcmp(cmd, "read"))
            r = do_read(fs, a);
        else if (!strcmp(cmd, "write"))
            r = do_write(fs, a);
        else if (!strcmp(cmd, "mkdir"))
            r = glfs_mkdir(fs, a, 0755);
        else if (!strcmp(cmd, "rename"))
            r = glfs_rename(fs, a, b);
        else if (!strcmp(cmd, "unlink"))
            r = glfs_unlink(fs, a);
        else if (!strcmp(cmd, "list"))
            r = do_list(fs, a);
        else if (!strcmp(cmd, "create"))
            r = do_create(fs, a, 0);
        else if (!strcmp(cmd, "writelarge"))
            r = do_create(fs, a, sizeof data);
        else if (!strcmp(cmd, "miss"))
            r = do_miss(fs, a);
        else if (!strcmp(cmd, "rmdir"))
            r = glfs_rmdir(fs, a);
        else if (!strcmp(cmd, "link"))
            r = glfs_link(fs, a, b);
        else if (!strcmp(cmd, "symlink"))
            r = glfs_symlink(fs, a, b);
        else if (!strcmp(cmd, "chmod"))
            r = glfs_chmod(fs, a, strtol(b, NULL, 8));
        else if (!strcmp(cmd, "setxattr"))
            r = glfs_setxattr(fs, a, b, c, strlen(c), 0);
        else if (!strcmp(cmd, "truncate"))
            r = glfs_truncate(fs, a, atol(b));
        else if (!strcmp(cmd, "open"))
            r = (file = glfs_open(fs, a, O_RDWR)) ? 0 : -1;
        else if (!strcmp(cmd, "pwrite"))
            r = glfs_pwrite(file, data, atol(b), atol(a), 0, NULL, NULL) == atol(b) ? 0 : -1;
        else if (!strcmp(cmd, "fsync"))
            r = glfs_fsync(file, NULL, NULL);
        else if (!strcmp(cmd, "ftruncate"))
            r = glfs_ftruncate(file, atol(a), NULL, NULL);
        else if (!strcmp(cmd, "close"))
            r = do_close();
        if (r < 0)
            printf("errno %d\n", errno);
        else
            puts("ok");
        fflush(stdout);
    }
    glfs_fini(fs);
    return 0;
}
