/*
 * The distribution's client library, driven by lines on standard input, each of
 * which it answers with "ok", "ok TEXT" or "errno N".
 *
 *     client VOLUME VOLFILE LOGFILE
 *
 *     stat P              size and permissions
 *     cat P               the contents, as they are, up to 4000 bytes without newlines
 *     sum P               size and FNV-1a sum of the contents
 *     list P              names
 *     readlink P
 *     access P
 *     statfs P
 *     open H P FLAGS      H is a number below 16 that names the open file
 *     creat H P           with O_EXCL
 *     close H
 *     puts H OFFSET TEXT
 *     gets H OFFSET SIZE
 *     fill H OFFSET SIZE SEED
 *     ftruncate H SIZE
 *     fstat H
 *     fsync H
 *     fallocate H OFFSET SIZE
 *     discard H OFFSET SIZE
 *     zerofill H OFFSET SIZE
 *     lock H              a posix write lock on all of it, without waiting
 *     truncate P SIZE
 *     chmod P MODE        in octal
 *     setxattr P NAME TEXT
 *     getxattr P NAME
 *     removexattr P NAME
 *     mkdir P | rmdir P | unlink P | mkfifo P
 *     symlink P TARGET
 *     link P Q | rename P Q
 */
#include <errno.h>
#include <fcntl.h>
#include <glusterfs/api/glfs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static char out[1 << 16];
static glfs_fd_t *fds[16];

static void pattern(char *b, uint64_t off, uint64_t n, uint64_t seed)
{
    for (uint64_t i = 0; i < n; i++)
        b[i] = (char)(((off + i) * 2654435761u + seed * 40503u) >> 13);
}

static int do_sum(glfs_t *fs, const char *path)
{
    static char buf[1 << 16];
    glfs_fd_t *fd = glfs_open(fs, path, O_RDONLY);
    uint64_t sum = 14695981039346656037u, size = 0;
    ssize_t n;
    if (!fd)
        return -1;
    while ((n = glfs_pread(fd, buf, sizeof buf, size, 0, NULL)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            sum = (sum ^ (unsigned char)buf[i]) * 1099511628211u;
        size += n;
    }
    int saved = errno;
    if (glfs_close(fd) || n < 0) {
        if (n < 0)
            errno = saved;
        return -1;
    }
    sprintf(out, "%llu %016llx", (unsigned long long)size, (unsigned long long)sum);
    return 0;
}

static int do_cat(glfs_t *fs, const char *path)
{
    glfs_fd_t *fd = glfs_open(fs, path, O_RDONLY);
    if (!fd)
        return -1;
    ssize_t n = glfs_pread(fd, out, 4000, 0, 0, NULL);
    int saved = errno;
    glfs_close(fd);
    errno = saved;
    if (n < 0)
        return -1;
    out[n] = 0;
    return 0;
}

static int do_list(glfs_t *fs, const char *path)
{
    struct dirent buf, *de;
    glfs_fd_t *fd = glfs_opendir(fs, path);
    size_t n = 0;
    if (!fd)
        return -1;
    for (;;) {
        de = NULL;
        if (glfs_readdir_r(fd, &buf, &de)) {
            int saved = errno;
            glfs_closedir(fd);
            errno = saved;
            return -1;
        }
        if (!de)
            break;
        if (strcmp(de->d_name, ".") && strcmp(de->d_name, "..") && n + 300 < sizeof out)
            n += sprintf(out + n, "%s%s", n ? " " : "", de->d_name);
    }
    return glfs_closedir(fd);
}

static int do_open(glfs_t *fs, int h, const char *path, int flags, int create)
{
    glfs_fd_t *fd = create ? glfs_creat(fs, path, O_RDWR | O_EXCL, 0644) : glfs_open(fs, path, flags);
    if (!fd)
        return -1;
    if (fds[h])
        glfs_close(fds[h]);
    fds[h] = fd;
    return 0;
}

static int do_file(const char *cmd, int h, char **arg)
{
    glfs_fd_t *fd = fds[h];
    struct stat st;
    long long a = atoll(arg[1]), b = atoll(arg[2]);
    ssize_t n;
    if (!fd) {
        errno = EBADF;
        return -1;
    }
    if (!strcmp(cmd, "close")) {
        fds[h] = NULL;
        return glfs_close(fd);
    }
    if (!strcmp(cmd, "puts")) {
        n = glfs_pwrite(fd, arg[2], strlen(arg[2]), a, 0, NULL, NULL);
        return n < 0 ? -1 : 0;
    }
    if (!strcmp(cmd, "gets")) {
        n = glfs_pread(fd, out, b < 4000 ? b : 4000, a, 0, NULL);
        out[n < 0 ? 0 : n] = 0;
        return n < 0 ? -1 : 0;
    }
    if (!strcmp(cmd, "fill")) {
        char *buf = malloc(b);
        pattern(buf, a, b, strtoull(arg[3], NULL, 10));
        n = glfs_pwrite(fd, buf, b, a, 0, NULL, NULL);
        free(buf);
        if (n >= 0 && n != b) {
            errno = EIO;
            n = -1;
        }
        return n < 0 ? -1 : 0;
    }
    if (!strcmp(cmd, "ftruncate"))
        return glfs_ftruncate(fd, a, NULL, NULL);
    if (!strcmp(cmd, "fsync"))
        return glfs_fsync(fd, NULL, NULL);
    if (!strcmp(cmd, "fallocate"))
        return glfs_fallocate(fd, 0, a, b);
    if (!strcmp(cmd, "discard"))
        return glfs_discard(fd, a, b);
    if (!strcmp(cmd, "zerofill"))
        return glfs_zerofill(fd, a, b);
    if (!strcmp(cmd, "lock")) {
        struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        return glfs_posix_lock(fd, F_SETLK, &fl);
    }
    if (!strcmp(cmd, "fstat")) {
        if (glfs_fstat(fd, &st))
            return -1;
        sprintf(out, "%lld %o", (long long)st.st_size, st.st_mode & 07777);
        return 0;
    }
    errno = EINVAL;
    return -1;
}

static int do_path(glfs_t *fs, const char *cmd, char **arg)
{
    const char *a = arg[0], *b = arg[1];
    struct stat st;
    struct statvfs vfs;
    ssize_t n;
    if (!strcmp(cmd, "stat")) {
        if (glfs_lstat(fs, a, &st))
            return -1;
        sprintf(out, "%lld %o", (long long)st.st_size, st.st_mode & 07777);
        return 0;
    }
    if (!strcmp(cmd, "cat"))
        return do_cat(fs, a);
    if (!strcmp(cmd, "sum"))
        return do_sum(fs, a);
    if (!strcmp(cmd, "list"))
        return do_list(fs, a);
    if (!strcmp(cmd, "access"))
        return glfs_access(fs, a, R_OK);
    if (!strcmp(cmd, "statfs"))
        return glfs_statvfs(fs, a, &vfs);
    if (!strcmp(cmd, "readlink")) {
        n = glfs_readlink(fs, a, out, 4000);
        out[n < 0 ? 0 : n] = 0;
        return n < 0 ? -1 : 0;
    }
    if (!strcmp(cmd, "truncate"))
        return glfs_truncate(fs, a, atoll(b));
    if (!strcmp(cmd, "chmod"))
        return glfs_chmod(fs, a, strtol(b, NULL, 8));
    if (!strcmp(cmd, "setxattr"))
        return glfs_lsetxattr(fs, a, b, arg[2], strlen(arg[2]), 0);
    if (!strcmp(cmd, "removexattr"))
        return glfs_lremovexattr(fs, a, b);
    if (!strcmp(cmd, "getxattr")) {
        n = glfs_lgetxattr(fs, a, b, out, 4000);
        out[n < 0 ? 0 : n] = 0;
        return n < 0 ? -1 : 0;
    }
    if (!strcmp(cmd, "mkdir"))
        return glfs_mkdir(fs, a, 0755);
    if (!strcmp(cmd, "rmdir"))
        return glfs_rmdir(fs, a);
    if (!strcmp(cmd, "unlink"))
        return glfs_unlink(fs, a);
    if (!strcmp(cmd, "mkfifo"))
        return glfs_mknod(fs, a, S_IFIFO | 0644, 0);
    if (!strcmp(cmd, "symlink"))
        return glfs_symlink(fs, b, a);
    if (!strcmp(cmd, "link"))
        return glfs_link(fs, a, b);
    if (!strcmp(cmd, "rename"))
        return glfs_rename(fs, a, b);
    errno = EINVAL;
    return -1;
}

static int on_file(const char *cmd)
{
    static const char *words[] = {"close", "puts", "gets", "fill", "ftruncate", "fsync", "fallocate",
                                  "discard", "zerofill", "lock", "fstat", NULL};
    for (int i = 0; words[i]; i++)
        if (!strcmp(cmd, words[i]))
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    char line[4096];
    if (argc != 4) {
        fprintf(stderr, "usage: client VOLUME VOLFILE LOGFILE\n");
        return 2;
    }
    glfs_t *fs = glfs_new(argv[1]);
    if (!fs || glfs_set_volfile(fs, argv[2]) || glfs_set_logging(fs, argv[3], 6) || glfs_init(fs)) {
        printf("errno %d\n", errno);
        return 1;
    }
    puts("ok");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        char *save, *cmd = strtok_r(line, " \n", &save), *arg[4];
        int r = -1;
        if (!cmd)
            continue;
        for (int i = 0; i < 4; i++) {
            arg[i] = strtok_r(NULL, " \n", &save);
            if (!arg[i])
                arg[i] = "";
        }
        int h = atoi(arg[0]) & 15;
        out[0] = 0;
        if (!strcmp(cmd, "open") || !strcmp(cmd, "creat"))
            r = do_open(fs, h, arg[1], atoi(arg[2]), cmd[0] == 'c');
        else if (on_file(cmd))
            r = do_file(cmd, h, arg);
        else
            r = do_path(fs, cmd, arg);
        if (r < 0)
            printf("errno %d\n", errno);
        else
            printf("ok %s\n", out);
        fflush(stdout);
    }
    return 0;
}
