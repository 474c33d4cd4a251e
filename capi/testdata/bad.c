/* Arguments that are wrong: every one is refused with an errno, none ends the
 * program. Usage: bad HOST PORT VOLUME */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <glusterfs/api/glfs-handles.h>
#include <glusterfs/api/glfs.h>

#define MUST(call) do { if (!(call)) { fprintf(stderr, "%s:%d: %s failed: %m\n", __FILE__, __LINE__, #call); exit(1); } } while (0)

static int refused;

/* NO is for calls that must fail with one of two errnos. */
#define NO2(call, e1, e2) do { errno = 0; long r_ = (long)(call); if ((r_ != -1 && r_ != 0) || (errno != (e1) && errno != (e2))) { \
	fprintf(stderr, "%s:%d: %s = %ld, errno %d\n", __FILE__, __LINE__, #call, r_, errno); exit(1); } refused++; } while (0)
#define NO(call, e) NO2(call, e, e)

static struct stat st;
static struct statvfs vfs;
static struct glfs_stat gst;
static struct dirent de, *res;
static struct flock lock;
static char buf[64];
static struct iovec iov = {buf, sizeof buf};

static void done(glfs_fd_t *fd, ssize_t ret, struct glfs_stat *pre, struct glfs_stat *post, void *data)
{
	(void)fd, (void)ret, (void)pre, (void)post, (void)data;
	abort();
}

static void volume(glfs_t *fs, int e)
{
	NO(glfs_open(fs, "/", O_RDONLY), e);
	NO(glfs_creat(fs, "/f", O_RDWR, 0644), e);
	NO(glfs_opendir(fs, "/"), e);
	NO(glfs_stat(fs, "/", &st), e);
	NO(glfs_lstat(fs, "/", &st), e);
	NO(glfs_access(fs, "/", 0), e);
	NO(glfs_chdir(fs, "/"), e);
	NO(glfs_getcwd(fs, buf, sizeof buf), e);
	NO(glfs_realpath(fs, "/", NULL), e);
	NO(glfs_mkdir(fs, "/d", 0755), e);
	NO(glfs_mknod(fs, "/d", S_IFIFO, 0), e);
	NO(glfs_symlink(fs, "/d", "/e"), e);
	NO(glfs_link(fs, "/d", "/e"), e);
	NO(glfs_unlink(fs, "/d"), e);
	NO(glfs_rmdir(fs, "/d"), e);
	NO(glfs_rename(fs, "/d", "/e"), e);
	NO(glfs_readlink(fs, "/d", buf, sizeof buf), e);
	NO(glfs_chmod(fs, "/d", 0), e);
	NO(glfs_chown(fs, "/d", 0, 0), e);
	NO(glfs_chown(fs, "/d", -1, -1), e);
	NO(glfs_lchown(fs, "/d", 0, 0), e);
	NO(glfs_utimens(fs, "/d", NULL), e);
	NO(glfs_lutimens(fs, "/d", NULL), e);
	NO(glfs_truncate(fs, "/d", 0), e);
	NO(glfs_statvfs(fs, "/", &vfs), e);
	NO(glfs_getxattr(fs, "/", "user.a", buf, 1), e);
	NO(glfs_listxattr(fs, "/", buf, 1), e);
	NO(glfs_setxattr(fs, "/", "user.a", buf, 1, 0), e);
	NO(glfs_removexattr(fs, "/", "user.a"), e);
	gst.glfs_st_mask = GLFS_STAT_MODE;
	NO(glfs_setattr(fs, "/", &gst, 0), e);
	NO(glfs_h_lookupat(fs, NULL, "/", &st, 0), e);
	unsigned char h[16] = "x";
	NO(glfs_h_create_from_handle(fs, h, 16, &st), e);
	glfs_upcall_t *up;
	NO(glfs_h_poll_upcall(fs, &up), e);
}

static void file(glfs_fd_t *fd, int e)
{
	NO(glfs_close(fd), e);
	NO(glfs_closedir(fd), e);
	NO(glfs_from_glfd(fd), e);
	NO(glfs_dup(fd), e);
	NO(glfs_read(fd, buf, 1, 0), e);
	NO(glfs_write(fd, buf, 1, 0), e);
	NO(glfs_pread(fd, buf, 1, 0, 0, NULL), e);
	NO(glfs_pwrite(fd, buf, 1, 0, 0, NULL, NULL), e);
	NO(glfs_readv(fd, &iov, 1, 0), e);
	NO(glfs_writev(fd, &iov, 1, 0), e);
	NO(glfs_preadv(fd, &iov, 1, 0, 0), e);
	NO(glfs_pwritev(fd, &iov, 1, 0, 0), e);
	NO(glfs_read_async(fd, buf, 1, 0, done, NULL), e);
	NO(glfs_write_async(fd, buf, 1, 0, done, NULL), e);
	NO(glfs_pread_async(fd, buf, 1, 0, 0, done, NULL), e);
	NO(glfs_pwrite_async(fd, buf, 1, 0, 0, done, NULL), e);
	NO(glfs_preadv_async(fd, &iov, 1, 0, 0, done, NULL), e);
	NO(glfs_pwritev_async(fd, &iov, 1, 0, 0, done, NULL), e);
	NO(glfs_fsync_async(fd, done, NULL), e);
	NO(glfs_fdatasync_async(fd, done, NULL), e);
	NO(glfs_ftruncate_async(fd, 0, done, NULL), e);
	NO(glfs_discard_async(fd, 0, 1, done, NULL), e);
	NO(glfs_zerofill_async(fd, 0, 1, done, NULL), e);
	NO(glfs_lseek(fd, 0, SEEK_SET), e);
	NO(glfs_lseek(fd, 0, SEEK_END), e);
	NO(glfs_ftruncate(fd, 0, NULL, NULL), e);
	NO(glfs_fsync(fd, NULL, NULL), e);
	NO(glfs_fdatasync(fd, NULL, NULL), e);
	NO(glfs_fallocate(fd, 0, 0, 1), e);
	NO(glfs_discard(fd, 0, 1), e);
	NO(glfs_zerofill(fd, 0, 1), e);
	NO(glfs_fstat(fd, &st), e);
	NO(glfs_fchmod(fd, 0), e);
	NO(glfs_fchown(fd, 0, 0), e);
	NO(glfs_futimens(fd, NULL), e);
	gst.glfs_st_mask = GLFS_STAT_MODE;
	NO(glfs_fsetattr(fd, &gst), e);
	NO(glfs_fgetxattr(fd, "user.a", buf, 1), e);
	NO(glfs_flistxattr(fd, buf, 1), e);
	NO(glfs_fsetxattr(fd, "user.a", buf, 1, 0), e);
	NO(glfs_fremovexattr(fd, "user.a"), e);
	NO(glfs_readdir(fd), e);
	NO(glfs_readdirplus(fd, &st), e);
	NO(glfs_readdir_r(fd, &de, &res), e);
	NO(glfs_readdirplus_r(fd, &st, &de, &res), e);
	glfs_xreaddirp_stat_t *x;
	NO(glfs_xreaddirplus_r(fd, 1, &x, &de, &res), e);
	NO(glfs_telldir(fd), e);
	glfs_seekdir(fd, 0);
	NO(glfs_fchdir(fd), e);
	NO(glfs_posix_lock(fd, F_SETLK, &lock), e);
	NO(glfs_file_lock(fd, F_SETLK, &lock, GLFS_LK_ADVISORY), e);
	NO(glfs_fd_set_lkowner(fd, "x", 1), e);
	NO(glfs_copy_file_range(fd, NULL, fd, NULL, 1, 0, NULL, NULL, NULL), e);
	glfs_lease_t l = {.cmd = GLFS_GET_LEASE};
	NO(glfs_lease(fd, &l, NULL, NULL), e);
}

static void object(glfs_t *fs, glfs_object_t *o)
{
	NO(glfs_h_close(o), EINVAL);
	NO(glfs_object_copy(o), EINVAL);
	NO(glfs_h_extract_handle(o, (unsigned char *)buf, 16), EINVAL);
	NO(glfs_h_stat(fs, o, &st), EINVAL);
	NO(glfs_h_getattrs(fs, o, &st), EINVAL);
	NO(glfs_h_setattrs(fs, o, &st, 1), EINVAL);
	NO(glfs_h_open(fs, o, O_RDONLY), EINVAL);
	NO(glfs_h_opendir(fs, o), EINVAL);
	NO(glfs_h_creat(fs, o, "f", O_RDWR, 0644, &st), EINVAL);
	NO(glfs_h_mkdir(fs, o, "f", 0644, &st), EINVAL);
	NO(glfs_h_mknod(fs, o, "f", S_IFIFO, 0, &st), EINVAL);
	NO(glfs_h_symlink(fs, o, "f", "t", &st), EINVAL);
	NO(glfs_h_unlink(fs, o, "f"), EINVAL);
	NO(glfs_h_link(fs, o, o, "f"), EINVAL);
	NO(glfs_h_rename(fs, o, "f", o, "g"), EINVAL);
	NO(glfs_h_truncate(fs, o, 0), EINVAL);
	NO(glfs_h_readlink(fs, o, buf, 1), EINVAL);
	NO(glfs_h_access(fs, o, 0), EINVAL);
	NO(glfs_h_statfs(fs, o, &vfs), EINVAL);
	NO(glfs_h_getxattrs(fs, o, "user.a", buf, 1), EINVAL);
	NO(glfs_h_setxattrs(fs, o, "user.a", buf, 1, 0), EINVAL);
	NO(glfs_h_removexattrs(fs, o, "user.a"), EINVAL);
	NO(glfs_h_anonymous_read(fs, o, buf, 1, 0), EINVAL);
	NO(glfs_h_anonymous_write(fs, o, buf, 1, 0), EINVAL);
	NO2(glfs_h_acl_get(fs, o, 0x8000), EINVAL, ENOTSUP);
	glfs_lease_t l = {.cmd = GLFS_GET_LEASE};
	NO(glfs_h_lease(fs, o, &l), EINVAL);
	if (o) /* NULL is the root there */
		NO(glfs_h_lookupat(fs, o, "f", &st, 0), EINVAL);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	alarm(100);
	/* Before there is anything. */
	volume(NULL, EINVAL);
	volume((glfs_t *)&st, EINVAL);
	file(NULL, EBADF);
	file((glfs_fd_t *)12345, EBADF);
	object(NULL, NULL);
	glfs_free(NULL);
	MUST(glfs_upcall_get_reason(NULL) == 0 && !glfs_upcall_get_event(NULL) && !glfs_upcall_inode_get_stat(NULL));
	MUST(!glfs_xreaddirplus_get_stat(NULL) && !glfs_xreaddirplus_get_object(NULL));

	glfs_t *fs = glfs_new(argv[3]), *second = glfs_new(argv[3]);
	MUST(fs && second);
	volume(fs, EIO);
	MUST(glfs_set_volfile_server(fs, "tcp", argv[1], atoi(argv[2])) == 0 && glfs_init(fs) == 0);
	MUST(glfs_set_volfile_server(second, "tcp", argv[1], atoi(argv[2])) == 0 && glfs_init(second) == 0);
	glfs_fd_t *fd = glfs_creat(fs, "/bad", O_RDWR, 0644), *closed = glfs_open(fs, "/bad", O_RDWR);
	glfs_object_t *o = glfs_h_lookupat(fs, NULL, "/bad", &st, 0), *gone = glfs_object_copy(o);
	MUST(fd && closed && o && gone && glfs_close(closed) == 0 && glfs_h_close(gone) == 0);
	volume(NULL, EINVAL);
	volume((glfs_t *)fd, EINVAL);
	volume((glfs_t *)o, EINVAL);
	volume((glfs_t *)0x7fffffffffffffff, EINVAL);
	file(NULL, EBADF);
	file(closed, EBADF);
	file((glfs_fd_t *)fs, EBADF);
	file((glfs_fd_t *)o, EBADF);
	file((glfs_fd_t *)-1, EBADF);
	for (unsigned long i = 1; i < 1000; i += 37)
		file((glfs_fd_t *)((unsigned long)fd + i * 1000003), EBADF);
	object(fs, NULL);
	object(fs, gone);
	object(fs, (glfs_object_t *)fd);
	NO(glfs_h_stat(second, o, &st), EINVAL); /* of another volume */
	NO(glfs_copy_file_range(fd, NULL, glfs_open(second, "/bad", O_RDWR), NULL, 1, 0, NULL, NULL, NULL), EXDEV);

	/* NULL where something must be. */
	NO(glfs_stat(fs, NULL, &st), EINVAL);
	NO(glfs_open(fs, NULL, 0), EINVAL);
	NO(glfs_mkdir(fs, NULL, 0), EINVAL);
	NO(glfs_rename(fs, "/bad", NULL), EINVAL);
	NO(glfs_symlink(fs, NULL, "/x"), EINVAL);
	NO(glfs_statvfs(fs, "/", NULL), EINVAL);
	NO(glfs_getxattr(fs, "/bad", NULL, buf, 1), EINVAL);
	NO(glfs_setattr(fs, "/bad", NULL, 0), EINVAL);
	NO(glfs_read(fd, NULL, 10, 0), EINVAL);
	NO(glfs_write(fd, NULL, 10, 0), EINVAL);
	NO(glfs_readv(fd, NULL, 2, 0), EINVAL);
	NO(glfs_fsetattr(fd, NULL), EINVAL);
	NO(glfs_h_setattrs(fs, o, NULL, 1), EINVAL);
	NO(glfs_h_poll_upcall(fs, NULL), EINVAL);
	NO(glfs_h_creat(fs, o, NULL, 0, 0, &st), EINVAL);
	NO(glfs_h_creat(fs, o, "a/b", 0, 0, &st), EINVAL);
	NO(glfs_set_xlator_option(fs, NULL, "a", "b"), EINVAL);
	NO(glfs_set_volfile_server(fs, "tcp", "h", 70000), EINVAL);
	NO(glfs_set_volfile_server(fs, "tcp", "", 0), EINVAL);
	struct iovec bad = {buf, (size_t)-1};
	NO(glfs_readv(fd, &bad, 1, 0), EINVAL);
	lock = (struct flock){.l_type = 77};
	NO(glfs_posix_lock(fd, F_SETLK, &lock), EINVAL);
	lock = (struct flock){.l_type = F_WRLCK, .l_whence = 9};
	NO(glfs_posix_lock(fd, F_SETLK, &lock), EINVAL);
	NO(glfs_posix_lock(fd, 12345, &lock), EINVAL);
	NO(glfs_utimens(fs, "/bad", (struct timespec[2]){{0, -5}, {0, 0}}), EINVAL);
	glfs_free(buf + 32); /* not ours */

	MUST(glfs_fini(second) == 0 && glfs_fini(fs) == 0);
	volume(fs, EINVAL);
	file(fd, EBADF);
	object(fs, o);
	printf("ok\n");
	fprintf(stderr, "%d calls refused\n", refused);
	return 0;
}
