/* Calls of libgfapi and what they return: a line each, "call = result errno".
 * Usage: golden HOST PORT VOLUME, the volume being empty. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <glusterfs/api/glfs-handles.h>
#include <glusterfs/api/glfs.h>

static const char *name(int e)
{
	const char *s = strerrorname_np(e);
	return s ? s : "?";
}

static void line(const char *call, long r, int failed, int e)
{
	if (failed)
		printf("%s = %ld %s\n", call, r, e == 0 ? "0" : name(e));
	else
		printf("%s = %ld\n", call, r);
	fflush(stdout);
}

/* N is for functions that return numbers, P for those that return pointers, E for
 * those whose errno matters although they succeed. */
#define N(call) do { errno = 0; long r_ = (long)(call); line(#call, r_, r_ == -1, errno); } while (0)
#define E(call) do { errno = 0; long r_ = (long)(call); line(#call, r_, 1, errno); } while (0)
#define P(call) do { errno = 0; void *r_ = (void *)(call); line(#call, r_ != NULL, r_ == NULL, errno); } while (0)
#define MUST(call) do { if (!(call)) { printf("%s failed: %m\n", #call); exit(1); } } while (0)
#define SHOW(format, ...) do { printf(format "\n", __VA_ARGS__); fflush(stdout); } while (0)

static void before_init(const char *host, int port)
{
	struct stat st;
	P(glfs_new(NULL));
	P(glfs_new("/x"));
	P(glfs_new("-x"));
	P(glfs_new("a.b"));
	P(glfs_new("a b"));
	P(glfs_new("/snaps/s1/v"));
	P(glfs_new(""));
	glfs_t *fs = glfs_new("golden");
	MUST(fs);
	N(glfs_set_volfile_server(NULL, "tcp", "h", 0));
	N(glfs_set_volfile_server(fs, "tcp", NULL, 0));
	N(glfs_set_volfile_server(fs, "foo", "h", 0));
	N(glfs_set_volfile_server(fs, "rdma", "localhost", 24007));
	N(glfs_set_volfile(fs, "/nox"));
	N(glfs_set_xlator_option(NULL, "*", "a", "b"));
	N(glfs_set_xlator_option(fs, "*-nobody", "a", "b"));
	N(glfs_set_logging(fs, "/dev/null", 7));
	N(glfs_init(NULL));
	N(glfs_fini(NULL));
	N(glfs_stat(fs, "/", &st));
	P(glfs_open(fs, "/", O_RDONLY));
	N(glfs_mkdir(fs, "/d", 0755));
	N(glfs_read(NULL, &st, 1, 0));
	N(glfs_fstat(NULL, &st));
	N(glfs_close(NULL));
	N(glfs_set_statedump_path(fs, NULL));
	N(glfs_set_statedump_path(fs, "/dev/null"));
	glfs_free(NULL);

	fs = glfs_new("golden");
	E(glfs_init(fs)); /* no server */
	fs = glfs_new("golden");
	glfs_set_volfile(fs, "/nox/volfile");
	N(glfs_init(fs));
	fs = glfs_new("nosuchvolume");
	glfs_set_volfile_server(fs, "tcp", host, port);
	N(glfs_init(fs)); /* no such volume */
	fs = glfs_new("golden");
	glfs_set_volfile_server(fs, "tcp", host, 1);
	N(glfs_init(fs)); /* nobody listens */
}

static void names(glfs_t *fs)
{
	struct stat st;
	char buf[PATH_MAX + 1];
	glfs_fd_t *fd;

	N(glfs_mkdir(fs, "/m", 0755));
	N(glfs_mkdir(fs, "/m", 0755));
	N(glfs_mkdir(fs, "/nox/m", 0755));
	N(glfs_mkdir(fs, "/", 0755));
	MUST(fd = glfs_creat(fs, "/m/f", O_RDWR, 0666));
	N(glfs_fstat(fd, &st));
	SHOW("mode %o size %ld", st.st_mode, (long)st.st_size);
	N(glfs_close(fd));
	N(glfs_close(fd));
	P(glfs_creat(fs, "/m/f", O_RDWR | O_EXCL, 0644));
	P(glfs_creat(fs, "/m", O_RDWR, 0644));
	P(glfs_creat(fs, "/nox/f", O_RDWR, 0644));
	N(glfs_mknod(fs, "/fifo", S_IFIFO | 0644, 0));
	P(glfs_creat(fs, "/fifo", O_RDWR, 0644));
	P(glfs_open(fs, "/fifo", O_RDONLY));
	P(glfs_open(fs, "/", O_RDWR));
	P(glfs_open(fs, "/", O_CREAT));
	P(glfs_open(fs, "/nox", O_RDONLY));
	P(glfs_open(fs, "/m/f", O_RDONLY | O_DIRECTORY));
	P(glfs_opendir(fs, "/m/f"));
	N(glfs_stat(fs, "", &st));
	N(glfs_stat(fs, "/nox", &st));
	N(glfs_stat(fs, "/nox/y", &st));
	N(glfs_stat(fs, "/m/f/x", &st));
	N(glfs_stat(fs, "/m/f", NULL));
	N(glfs_stat(fs, "//m///f", &st));
	N(glfs_stat(fs, "/../m/./f", &st));
	N(glfs_symlink(fs, "loop", "/loop"));
	N(glfs_stat(fs, "/loop", &st));
	N(glfs_lstat(fs, "/loop", &st));
	N(glfs_symlink(fs, "nowhere", "/dangling"));
	N(glfs_stat(fs, "/dangling", &st));
	P(glfs_realpath(fs, "/dangling", NULL));
	N(glfs_symlink(fs, "/m", "/abs"));
	N(glfs_stat(fs, "/abs/f", &st));
	N(glfs_symlink(fs, "x", "/m"));
	MUST(fd = glfs_creat(fs, "/dangling", O_RDWR, 0644));
	N(glfs_close(fd));
	N(glfs_lstat(fs, "/nowhere", &st));
	N(glfs_unlink(fs, "/m"));
	N(glfs_unlink(fs, "/nox"));
	N(glfs_rmdir(fs, "/m/f"));
	N(glfs_rmdir(fs, "/m"));
	N(glfs_rename(fs, "/m", "/nowhere"));
	N(glfs_rename(fs, "/nox", "/y"));
	N(glfs_link(fs, "/m", "/n"));
	N(glfs_link(fs, "/m/f", "/nowhere"));
	N(glfs_link(fs, "/nox", "/n"));
	N(glfs_link(fs, "/m/f", "/n"));
	N(glfs_stat(fs, "/n", &st));
	SHOW("nlink %ld", (long)st.st_nlink);
	N(glfs_readlink(fs, "/m/f", buf, sizeof buf));
	N(glfs_readlink(fs, "/abs", buf, 1));
	N(glfs_readlink(fs, "/abs", buf, sizeof buf));
	memset(buf, 'n', 257);
	buf[0] = '/';
	buf[257] = 0;
	N(glfs_mkdir(fs, buf, 0755));
	N(glfs_access(fs, "/m/f", R_OK));
	N(glfs_chown(fs, "/nox", -1, -1));
	N(glfs_chmod(fs, "/nox", 0600));
	N(glfs_truncate(fs, "/m/f", 10));
	N(glfs_truncate(fs, "/nox", 10));

	N(glfs_chdir(fs, "/m/f"));
	N(glfs_chdir(fs, "/nox"));
	N(glfs_chdir(fs, "/m"));
	P(glfs_getcwd(fs, buf, 1));
	P(glfs_getcwd(fs, NULL, 10));
	P(glfs_getcwd(fs, buf, 2));
	P(glfs_getcwd(fs, buf, sizeof buf));
	SHOW("cwd %s", buf);
	N(glfs_stat(fs, "f", &st));
	P(glfs_realpath(fs, "../m/./f", buf));
	SHOW("realpath %s", buf);
	N(glfs_chdir(fs, ".."));
	P(glfs_getcwd(fs, buf, sizeof buf));
	SHOW("cwd %s", buf);
	char *p = glfs_realpath(fs, "abs/f", NULL);
	SHOW("realpath %s", p ? p : "none");
	glfs_free(p);
}

static void files(glfs_t *fs)
{
	struct stat st;
	struct iovec v[2];
	char buf[64] = "";
	glfs_fd_t *fd = glfs_creat(fs, "/data", O_RDWR, 0644), *dup;
	MUST(fd);
	N(glfs_write(fd, "0123456789", 10, 0));
	N(glfs_lseek(fd, 0, SEEK_CUR));
	N(glfs_read(fd, buf, 10, 0));
	N(glfs_pread(fd, buf, 4, 2, 0, NULL));
	SHOW("read %.4s", buf);
	N(glfs_lseek(fd, 0, SEEK_CUR));
	N(glfs_pwrite(fd, "ab", 2, 3, 0, NULL, NULL));
	N(glfs_lseek(fd, 0, SEEK_CUR));
	N(glfs_lseek(fd, -2, SEEK_END));
	N(glfs_lseek(fd, 0, 99));
	N(glfs_lseek(fd, -5, SEEK_SET));
	N(glfs_lseek(fd, 0, SEEK_SET));
	N(glfs_lseek(fd, 100, SEEK_DATA));
	N(glfs_lseek(fd, 0, SEEK_HOLE));
	N(glfs_write(fd, "x", 0, 0));
	v[0] = (struct iovec){buf, 3};
	v[1] = (struct iovec){buf + 10, 5};
	N(glfs_preadv(fd, v, 2, 0, 0));
	SHOW("readv %.3s %.5s", buf, buf + 10);
	N(glfs_pwritev(fd, v, 2, 10, 0));
	N(glfs_fstat(fd, &st));
	SHOW("size %ld", (long)st.st_size);
	N(glfs_pread(fd, buf, 10, 100, 0, NULL));
	N(glfs_pread(fd, buf, 10, -1, 0, NULL));
	MUST(dup = glfs_dup(fd));
	N(glfs_lseek(dup, 0, SEEK_CUR));
	N(glfs_close(dup));
	N(glfs_fsync(fd, NULL, NULL));
	N(glfs_fdatasync(fd, NULL, NULL));
	N(glfs_fallocate(fd, 1, 0, 4096));
	N(glfs_fstat(fd, &st));
	SHOW("size %ld", (long)st.st_size);
	N(glfs_fallocate(fd, 0, 0, 4096));
	N(glfs_fstat(fd, &st));
	SHOW("size %ld", (long)st.st_size);
	N(glfs_discard(fd, 0, 10));
	N(glfs_zerofill(fd, 4000, 1000));
	N(glfs_fstat(fd, &st));
	SHOW("size %ld", (long)st.st_size);
	struct glfs_stat pre, post;
	N(glfs_ftruncate(fd, 5, &pre, &post));
	SHOW("masks %lx %lx sizes %ld %ld", (long)(pre.glfs_st_mask & 0x7ff), (long)(post.glfs_st_mask & 0x7ff), (long)pre.glfs_st_size,
	     (long)post.glfs_st_size);
	N(glfs_readdir_r(fd, NULL, NULL));
	N(glfs_close(fd));

	MUST(fd = glfs_open(fs, "/data", O_WRONLY | O_APPEND));
	N(glfs_write(fd, "xyz", 3, 0));
	N(glfs_lseek(fd, 0, SEEK_CUR));
	N(glfs_close(fd));
	N(glfs_stat(fs, "/data", &st));
	SHOW("size %ld", (long)st.st_size);
	MUST(fd = glfs_open(fs, "/data", O_RDONLY));
	N(glfs_ftruncate(fd, 0, NULL, NULL));
	N(glfs_close(fd));

	MUST(fd = glfs_open(fs, "/data", O_RDWR));
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
	N(glfs_posix_lock(fd, F_SETLK, &l));
	l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
	N(glfs_posix_lock(fd, F_GETLK, &l));
	SHOW("type %d", l.l_type == F_UNLCK);
	l = (struct flock){.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
	N(glfs_posix_lock(fd, F_SETLK, &l));
	N(glfs_fd_set_lkowner(fd, "owner1", 0));
	N(glfs_fd_set_lkowner(fd, NULL, 6));
	N(glfs_fd_set_lkowner(fd, buf, 256));
	N(glfs_fd_set_lkowner(fd, "owner1", 6));
	glfs_fd_t *other;
	MUST(other = glfs_open(fs, "/data", O_RDWR));
	N(glfs_fd_set_lkowner(other, "owner2", 6));
	l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
	N(glfs_posix_lock(fd, F_SETLK, &l));
	l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 10};
	N(glfs_posix_lock(other, F_SETLK, &l));
	N(glfs_close(other));
	N(glfs_close(fd));
}

static void attributes(glfs_t *fs)
{
	char buf[4096];
	struct stat st;
	struct timespec t[2] = {{100, 5}, {200, 7}};
	glfs_fd_t *fd = glfs_creat(fs, "/x", O_RDWR, 0600);
	MUST(fd);
	N(glfs_fsetxattr(fd, "user.a", "value", 5, 0));
	N(glfs_fsetxattr(fd, "user.a", "value", 5, 1));
	N(glfs_fsetxattr(fd, "user.b", "value", 5, 2));
	N(glfs_fgetxattr(fd, "user.a", buf, sizeof buf));
	N(glfs_fgetxattr(fd, "user.a", NULL, 0));
	N(glfs_fgetxattr(fd, "user.a", buf, 2));
	N(glfs_fgetxattr(fd, "user.nox", buf, sizeof buf));
	N(glfs_fgetxattr(fd, "", buf, sizeof buf));
	N(glfs_getxattr(fs, "/x", "user.a", buf, sizeof buf));
	N(glfs_lgetxattr(fs, "/x", "user.nox", buf, sizeof buf));
	N(glfs_setxattr(fs, "/x", "unprefixed", "v", 1, 0));
	N(glfs_setxattr(fs, "/nox", "user.a", "v", 1, 0));
	N(glfs_removexattr(fs, "/x", "user.nox"));
	N(glfs_fremovexattr(fd, "user.a"));
	N(glfs_fremovexattr(fd, "user.a"));
	N(glfs_futimens(fd, t));
	N(glfs_fstat(fd, &st));
	SHOW("times %ld.%ld %ld.%ld", (long)st.st_atim.tv_sec, (long)st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec, (long)st.st_mtim.tv_nsec);
	N(glfs_fchmod(fd, 04711));
	N(glfs_fchown(fd, 7, 8));
	N(glfs_fstat(fd, &st));
	SHOW("mode %o owner %d %d", st.st_mode, st.st_uid, st.st_gid);
	N(glfs_close(fd));
	struct statvfs vfs;
	N(glfs_statvfs(fs, "/", &vfs));
	SHOW("bsize %ld namemax %ld", (long)vfs.f_bsize, (long)vfs.f_namemax);
	N(glfs_statvfs(fs, "/nox", &vfs));
}

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void directories(glfs_t *fs)
{
	char *found[64], path[32];
	int n = 0;
	struct dirent de, *res;
	struct stat st;
	MUST(glfs_mkdir(fs, "/dir", 0755) == 0);
	for (int i = 0; i < 10; i++) {
		snprintf(path, sizeof path, "/dir/f%d", i);
		glfs_fd_t *f = glfs_creat(fs, path, O_RDWR, 0644);
		MUST(f);
		glfs_close(f);
	}
	glfs_fd_t *fd = glfs_opendir(fs, "/dir");
	MUST(fd);
	long at = -1;
	while (glfs_readdirplus_r(fd, &st, &de, &res) == 0 && res) {
		char text[300];
		snprintf(text, sizeof text, "%s type %d mode %o", de.d_name, de.d_type, de.d_name[0] == '.' ? 0 : st.st_mode);
		found[n++] = strdup(text);
		if (n == 5)
			at = glfs_telldir(fd);
	}
	qsort(found, (size_t)n, sizeof *found, compare);
	for (int i = 0; i < n; i++)
		SHOW("%s", found[i]);
	N(glfs_readdirplus_r(fd, &st, &de, &res));
	SHOW("end %d", res == NULL);
	glfs_seekdir(fd, at);
	for (n = 0; glfs_readdir_r(fd, &de, &res) == 0 && res; n++)
		;
	SHOW("after seekdir %d", n);
	glfs_seekdir(fd, 0);
	errno = 99;
	for (n = 0; glfs_readdir(fd); n++)
		;
	SHOW("readdir %d errno %d", n, errno);
	N(glfs_closedir(fd));
	MUST(fd = glfs_opendir(fs, "/dir"));
	glfs_xreaddirp_stat_t *x = NULL;
	int handles = 0, stats = 0, r;
	while ((r = glfs_xreaddirplus_r(fd, GFAPI_XREADDIRP_STAT | GFAPI_XREADDIRP_HANDLE, &x, &de, &res)) >= 0 && res) {
		stats += glfs_xreaddirplus_get_stat(x) != NULL;
		if (r & GFAPI_XREADDIRP_HANDLE) {
			glfs_object_t *o = glfs_object_copy(glfs_xreaddirplus_get_object(x));
			handles += o && glfs_h_stat(fs, o, &st) == 0;
			glfs_h_close(o);
		}
		glfs_free(x);
		x = NULL;
	}
	SHOW("xreaddirplus %d stats %d handles, last %d", stats, handles, r);
	N(glfs_closedir(fd));
}

static void objects(glfs_t *fs)
{
	unsigned char h[16], zero[16] = "", unknown[16] = "unknownunknown12";
	struct stat st;
	char buf[64];
	glfs_object_t *root = glfs_h_lookupat(fs, NULL, "/", &st, 0), *o, *d, *l;
	MUST(root);
	SHOW("root ino %ld", (long)st.st_ino);
	P(glfs_h_lookupat(fs, root, "", &st, 0));
	P(glfs_h_lookupat(fs, root, "nox", &st, 0));
	MUST(d = glfs_h_mkdir(fs, root, "hd", 0755, &st));
	P(glfs_h_mkdir(fs, root, "hd", 0755, &st));
	MUST(o = glfs_h_creat(fs, d, "f", O_RDWR, 0640, &st));
	SHOW("mode %o", st.st_mode);
	P(glfs_h_creat(fs, d, "f", O_RDWR, 0640, &st));
	MUST(l = glfs_h_symlink(fs, d, "l", "f", &st));
	N(glfs_h_readlink(fs, l, buf, sizeof buf));
	N(glfs_h_extract_handle(o, NULL, 0));
	N(glfs_h_extract_handle(o, h, 8));
	N(glfs_h_extract_handle(o, h, 16));
	glfs_object_t *again = glfs_h_create_from_handle(fs, h, 16, &st);
	SHOW("again %d mode %o", again != NULL, st.st_mode);
	P(glfs_h_create_from_handle(fs, zero, 16, &st));
	P(glfs_h_create_from_handle(fs, unknown, 16, &st));
	P(glfs_h_create_from_handle(fs, h, 15, &st));
	N(glfs_h_anonymous_write(fs, o, "anonymous", 9, 0));
	N(glfs_h_anonymous_read(fs, again, buf, sizeof buf, 0));
	SHOW("read %.9s", buf);
	N(glfs_h_truncate(fs, o, 3));
	N(glfs_h_stat(fs, again, &st));
	SHOW("size %ld", (long)st.st_size);
	N(glfs_h_access(fs, o, R_OK));
	N(glfs_h_setxattrs(fs, o, "user.h", "v", 1, 0));
	N(glfs_h_getxattrs(fs, o, "user.h", buf, sizeof buf));
	N(glfs_h_setxattrs(fs, o, NULL, "v", 1, 0));
	N(glfs_h_removexattrs(fs, o, "user.h"));
	st.st_mode = 0600;
	st.st_uid = 9;
	N(glfs_h_setattrs(fs, o, &st, GFAPI_SET_ATTR_MODE | GFAPI_SET_ATTR_UID));
	N(glfs_h_getattrs(fs, o, &st));
	SHOW("mode %o uid %d", st.st_mode, st.st_uid);
	N(glfs_h_link(fs, o, root, "hl"));
	N(glfs_h_rename(fs, root, "hl", d, "moved"));
	N(glfs_h_rename(fs, root, "nox", d, "moved"));
	glfs_fd_t *fd;
	P(glfs_h_open(fs, d, O_RDONLY));
	MUST(fd = glfs_h_open(fs, o, O_RDWR));
	N(glfs_write(fd, "12345", 5, 0));
	N(glfs_close(fd));
	P(glfs_h_opendir(fs, o));
	MUST(fd = glfs_h_opendir(fs, d));
	N(glfs_closedir(fd));
	struct statvfs vfs;
	N(glfs_h_statfs(fs, o, &vfs));
	glfs_fd_t *opened = NULL;
	glfs_object_t *co = glfs_h_creat_open(fs, d, "co", O_RDWR, 0644, &st, &opened);
	SHOW("creat_open %d %d", co != NULL, opened != NULL);
	N(glfs_write(opened, "x", 1, 0));
	N(glfs_close(opened));
	N(glfs_h_unlink(fs, d, "co"));
	N(glfs_h_unlink(fs, root, "hd"));
	N(glfs_h_unlink(fs, d, "nox"));
	N(glfs_h_close(o));
	N(glfs_h_close(d));

	glfs_upcall_t *up = NULL;
	E(glfs_h_poll_upcall(fs, &up));
	E(glfs_upcall_register(fs, GLFS_EVENT_ANY, NULL, NULL));
	N(glfs_upcall_register(fs, 0x10, (glfs_upcall_cbk)abort, NULL));
	N(glfs_upcall_register(fs, GLFS_EVENT_INODE_INVALIDATE, (glfs_upcall_cbk)abort, NULL));
	N(glfs_upcall_unregister(fs, GLFS_EVENT_ANY));
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	int port = atoi(argv[2]);
	before_init(argv[1], port);
	glfs_t *fs = glfs_new(argv[3]);
	MUST(fs);
	glfs_set_logging(fs, getenv("GOLDEN_LOG") ? getenv("GOLDEN_LOG") : "/dev/null", 7);
	N(glfs_set_volfile_server(fs, "tcp", argv[1], port));
	N(glfs_set_volfile_server(fs, "tcp", argv[1], port));
	N(glfs_init(fs));
	char id[16];
	N(glfs_get_volumeid(fs, NULL, 0));
	N(glfs_get_volumeid(fs, id, 4));
	N(glfs_get_volumeid(fs, id, 16));
	char text[64 << 10];
	SHOW("volfile too small %d", glfs_get_volfile(fs, text, 10) < 0);
	N(glfs_sysrq(fs, 'h'));
	N(glfs_sysrq(fs, 'z'));
	names(fs);
	files(fs);
	attributes(fs);
	directories(fs);
	objects(fs);
	N(glfs_fini(fs));
	return 0;
}
