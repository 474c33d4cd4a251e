/*
 * The real client library for the golden traces: does the commands that it gets
 * on standard input, one a line, and answers each with "ok" or "errno N".
 *
 *     trace VOLUME VOLFILE LOGFILE
 *
 * Commands: stat P, read P, write P, mkdir P, rename P Q, unlink P, list P.
 */
#include <errno.h>
#include <fcntl.h>
#include <glusterfs/api/glfs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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
    char line[1024], cmd[16], a[512], b[512];
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
        a[0] = b[0] = 0;
        errno = EINVAL;
        if (sscanf(line, "%15s %511s %511s", cmd, a, b) < 2)
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
        if (r < 0)
            printf("errno %d\n", errno);
        else
            puts("ok");
        fflush(stdout);
    }
    glfs_fini(fs);
    return 0;
}
