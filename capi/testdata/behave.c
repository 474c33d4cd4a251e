/* What programs count on besides results of single calls: callbacks, threads and
 * their identities, older versions of functions, large transfers, failover.
 * Usage: behave HOST PORT VOLUME */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <glusterfs/api/glfs-handles.h>
#include <glusterfs/api/glfs.h>

#define MUST(call) do { if (!(call)) { fprintf(stderr, "%s:%d: %s failed: %m\n", __FILE__, __LINE__, #call); exit(1); } } while (0)

static const char *host, *volname;
static int port;

static glfs_t *mount_volume(void)
{
	glfs_t *fs = glfs_new(volname);
	MUST(fs && glfs_set_volfile_server(fs, "tcp", host, port) == 0);
	if (getenv("BEHAVE_LOG"))
		glfs_set_logging(fs, getenv("BEHAVE_LOG"), 8);
	MUST(glfs_init(fs) == 0);
	return fs;
}

/* Callbacks. */

struct result {
	sem_t done;
	ssize_t ret;
	int err, calls;
	unsigned long pre, post;
	long size;
	glfs_t *fs;
};

static void done(glfs_fd_t *fd, ssize_t ret, struct glfs_stat *pre, struct glfs_stat *post, void *data)
{
	struct result *r = data;
	r->err = errno;
	r->ret = ret;
	r->calls++;
	r->pre = pre ? pre->glfs_st_mask : 0;
	r->post = post ? post->glfs_st_mask : 0;
	r->size = post ? (long)post->glfs_st_size : -1;
	if (r->fs) { /* callbacks may use the library */
		struct stat st;
		MUST(glfs_stat(r->fs, "/", &st) == 0 && glfs_fstat(fd, &st) == 0);
	}
	sem_post(&r->done);
}

static void done_old(glfs_fd_t *fd, ssize_t ret, void *data) { done(fd, ret, NULL, NULL, data); }

static void wait_for(struct result *r, ssize_t want)
{
	struct timespec end;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 60;
	MUST(sem_timedwait(&r->done, &end) == 0);
	if (r->ret != want) {
		fprintf(stderr, "callback: %zd, want %zd (errno %d)\n", r->ret, want, r->err);
		exit(1);
	}
}

static void callbacks(glfs_t *fs)
{
	struct result r = {.fs = fs};
	sem_init(&r.done, 0, 0);
	glfs_fd_t *fd = glfs_creat(fs, "/async", O_RDWR, 0644);
	MUST(fd);
	char data[] = "asynchronous", got[32] = "", x[8], y[8];
	MUST(glfs_pwrite_async(fd, data, 12, 0, 0, done, &r) == 0);
	memset(data, 'x', 12); /* it has been copied */
	wait_for(&r, 12);
	MUST(glfs_pread_async(fd, got, sizeof got, 0, 0, done, &r) == 0);
	wait_for(&r, 12);
	MUST(memcmp(got, "asynchronous", 12) == 0 && r.pre == 0 && r.post != 0 && r.size == 12);
	MUST(glfs_lseek(fd, 0, SEEK_CUR) == 12);
	struct iovec v[2] = {{x, 5}, {y, 7}};
	MUST(glfs_preadv_async(fd, v, 2, 0, 0, done, &r) == 0);
	wait_for(&r, 12);
	MUST(memcmp(x, "async", 5) == 0 && memcmp(y, "hronous", 7) == 0);
	MUST(glfs_pwritev_async(fd, v, 2, 100, 0, done, &r) == 0);
	wait_for(&r, 12);
	MUST(glfs_ftruncate_async(fd, 50, done, &r) == 0);
	wait_for(&r, 0);
	MUST(r.size == 50);
	MUST(glfs_fsync_async(fd, done, &r) == 0);
	wait_for(&r, 0);
	MUST(glfs_fdatasync_async(fd, done, &r) == 0);
	wait_for(&r, 0);
	MUST(glfs_discard_async(fd, 0, 10, done, &r) == 0);
	wait_for(&r, 0);
	MUST(glfs_zerofill_async(fd, 40, 30, done, &r) == 0);
	wait_for(&r, 0);
	MUST(r.size == 70);
	MUST(glfs_lseek(fd, 0, SEEK_SET) == 0);
	MUST(glfs_write_async(fd, "123", 3, 0, done, &r) == 0);
	wait_for(&r, 3);
	MUST(glfs_read_async(fd, got, 4, 0, done, &r) == 0);
	wait_for(&r, 4);
	/* Older versions have other arguments, and callbacks of three. */
	int (*fsync_old)(glfs_fd_t *) = (int (*)(glfs_fd_t *))dlvsym(RTLD_DEFAULT, "glfs_fsync", "GFAPI_3.4.0");
	int (*pread_old)(glfs_fd_t *, void *, size_t, off_t, int, void (*)(glfs_fd_t *, ssize_t, void *), void *) =
		(int (*)(glfs_fd_t *, void *, size_t, off_t, int, void (*)(glfs_fd_t *, ssize_t, void *), void *))dlvsym(RTLD_DEFAULT, "glfs_pread_async", "GFAPI_3.4.0");
	char *(*realpath_old)(glfs_t *, const char *, char *) = (char *(*)(glfs_t *, const char *, char *))dlvsym(RTLD_DEFAULT, "glfs_realpath", "GFAPI_3.4.0");
	MUST(fsync_old && pread_old && realpath_old);
	MUST(fsync_old(fd) == 0);
	MUST(pread_old(fd, got, 3, 0, 0, done_old, &r) == 0);
	wait_for(&r, 3);
	MUST(memcmp(got, "123", 3) == 0);
	char *p = realpath_old(fs, "/async", NULL);
	MUST(p && strcmp(p, "/async") == 0);
	free(p);
	/* Many at once. */
	static char big[64][8192], back[64][8192];
	for (int i = 0; i < 64; i++) {
		memset(big[i], i, sizeof big[i]);
		MUST(glfs_pwrite_async(fd, big[i], sizeof big[i], i * 8192, 0, done, &r) == 0);
	}
	for (int i = 0; i < 64; i++)
		wait_for(&r, 8192);
	for (int i = 0; i < 64; i++)
		MUST(glfs_pread_async(fd, back[i], sizeof back[i], i * 8192, 0, done, &r) == 0);
	for (int i = 0; i < 64; i++)
		wait_for(&r, 8192);
	MUST(memcmp(big, back, sizeof big) == 0);
	MUST(glfs_close(fd) == 0);
	int before = r.calls;
	MUST(glfs_pread_async(fd, got, 1, 0, 0, done, &r) == -1 && errno == EBADF);
	MUST(before == r.calls);
}

/* Threads and who they are. */

static glfs_t *shared;

static void *as_user(void *arg)
{
	struct stat st;
	(void)arg;
	MUST(glfs_setfsuid(1000) == 0 && glfs_setfsgid(1001) == 0);
	gid_t groups[] = {1002, 1003};
	MUST(glfs_setfsgroups(2, groups) == 0);
	glfs_fd_t *fd = glfs_creat(shared, "/open/user", O_RDWR, 0600);
	MUST(fd && glfs_fstat(fd, &st) == 0 && st.st_uid == 1000 && st.st_gid == 1001);
	glfs_close(fd);
	MUST(glfs_creat(shared, "/closed/user", O_RDWR, 0600) == NULL && errno == EACCES);
	MUST((fd = glfs_creat(shared, "/group/user", O_RDWR, 0600)));
	glfs_close(fd);
	MUST(glfs_setfsgroups(1, NULL) == -1 && errno == EINVAL);
	return NULL;
}

static void *as_system_user(void *arg)
{
	struct stat st;
	(void)arg;
	/* As smbd does: of this thread alone, the C library does not know. */
	MUST(syscall(SYS_setresgid, -1, 2001, -1) == 0 && syscall(SYS_setresuid, -1, 2000, -1) == 0);
	glfs_fd_t *fd = glfs_creat(shared, "/open/system", O_RDWR, 0600);
	MUST(fd && glfs_fstat(fd, &st) == 0 && st.st_uid == 2000 && st.st_gid == 2001);
	glfs_close(fd);
	MUST(glfs_creat(shared, "/closed/system", O_RDWR, 0600) == NULL && errno == EACCES);
	return NULL;
}

static void identities(glfs_t *fs)
{
	struct stat st;
	pthread_t t[2];
	shared = fs;
	MUST(glfs_chmod(fs, "/", 0755) == 0);
	MUST(glfs_mkdir(fs, "/open", 0777) == 0 && glfs_mkdir(fs, "/closed", 0700) == 0 && glfs_mkdir(fs, "/group", 0770) == 0);
	MUST(glfs_chown(fs, "/group", 0, 1003) == 0);
	MUST(pthread_create(&t[0], NULL, as_user, NULL) == 0);
	MUST(pthread_join(t[0], NULL) == 0);
	MUST(pthread_create(&t[1], NULL, as_system_user, NULL) == 0);
	MUST(pthread_join(t[1], NULL) == 0);
	glfs_fd_t *fd = glfs_creat(fs, "/open/root", O_RDWR, 0600);
	MUST(fd && glfs_fstat(fd, &st) == 0 && st.st_uid == 0 && st.st_gid == 0);
	glfs_close(fd);
	/* Threads of the library have not become somebody else. */
	MUST(glfs_stat(fs, "/closed", &st) == 0);
}

/* Large transfers. */

static void large(glfs_t *fs)
{
	size_t size = 5 << 20;
	unsigned char *a = malloc(size), *b = malloc(size);
	MUST(a && b);
	for (size_t i = 0; i < size; i++)
		a[i] = (unsigned char)(i * 7 + i / 1000);
	glfs_fd_t *fd = glfs_creat(fs, "/large", O_RDWR, 0644);
	MUST(fd);
	MUST(glfs_write(fd, a, size, 0) == (ssize_t)size);
	MUST(glfs_pread(fd, b, size, 0, 0, NULL) == (ssize_t)size && memcmp(a, b, size) == 0);
	struct iovec v[3] = {{b, 1000}, {b + 1000, 3 << 20}, {b + 1000 + (3 << 20), size - 1000 - (3 << 20)}};
	memset(b, 0, size);
	MUST(glfs_preadv(fd, v, 3, 0, 0) == (ssize_t)size && memcmp(a, b, size) == 0);
	v[0].iov_base = a, v[1].iov_base = a + 1000, v[2].iov_base = a + 1000 + (3 << 20);
	MUST(glfs_ftruncate(fd, 0, NULL, NULL) == 0);
	MUST(glfs_pwritev(fd, v, 3, 0, 0) == (ssize_t)size);
	memset(b, 0, size);
	MUST(glfs_pread(fd, b, size + 0, 0, 0, NULL) == (ssize_t)size && memcmp(a, b, size) == 0);
	struct glfs_stat pre, post;
	MUST(glfs_pread(fd, b, 100, 50, 0, &post) == 100 && post.glfs_st_size == (off_t)size);
	MUST(glfs_pwrite(fd, "x", 1, (off_t)size, 0, &pre, &post) == 1);
	MUST(glfs_write(fd, a, (size_t)1 << 31, 0) == -1 && errno == EINVAL);
	MUST(glfs_write(fd, a, (size_t)-1, 0) == -1 && errno == EINVAL);
	MUST(glfs_pread(fd, b, 10, -5, 0, NULL) == -1 && errno == EINVAL);
	MUST(glfs_preadv(fd, v, -1, 0, 0) == -1 && errno == EINVAL);
	MUST(glfs_preadv(fd, v, 100000, 0, 0) == -1 && errno == EINVAL);
	MUST(glfs_ftruncate(fd, -1, NULL, NULL) == -1 && errno == EINVAL);
	MUST(glfs_fallocate(fd, 0, -1, 10) == -1 && errno == EINVAL);
	MUST(glfs_discard(fd, 0, (size_t)-1) == -1 && errno == EINVAL);
	MUST(glfs_close(fd) == 0);
	free(a);
	free(b);
	MUST((fd = glfs_open(fs, "/large", O_RDONLY)));
	MUST(glfs_write(fd, "x", 1, 0) == -1 && errno == EBADF);
	MUST(glfs_close(fd) == 0);
	MUST((fd = glfs_open(fs, "/large", O_WRONLY)));
	char c;
	MUST(glfs_read(fd, &c, 1, 0) == -1 && errno == EBADF);
	MUST(glfs_close(fd) == 0);
}

/* What was found wrong elsewhere, and is right here. */

static void repaired(glfs_t *fs)
{
	struct dirent *e;
	struct stat st;
	int n = 0;
	MUST(glfs_mkdir(fs, "/listed", 0755) == 0 && glfs_mkdir(fs, "/listed/sub", 0755) == 0);
	glfs_fd_t *fd = glfs_open(fs, "/listed", O_RDONLY | O_DIRECTORY);
	MUST(fd);
	while ((e = glfs_readdirplus(fd, &st)))
		n++;
	MUST(n == 3 && errno == 0);
	MUST(glfs_close(fd) == 0);
	struct timespec t[2] = {{0, UTIME_OMIT}, {77, 0}}, now[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
	MUST(glfs_stat(fs, "/listed", &st) == 0);
	time_t atime = st.st_atim.tv_sec;
	MUST(glfs_utimens(fs, "/listed", t) == 0 && glfs_stat(fs, "/listed", &st) == 0);
	MUST(st.st_mtim.tv_sec == 77 && st.st_atim.tv_sec == atime && st.st_blksize > 0);
	MUST(glfs_utimens(fs, "/listed", now) == 0 && glfs_stat(fs, "/listed", &st) == 0);
	MUST(st.st_mtim.tv_sec == 77 && labs(st.st_atim.tv_sec - time(NULL)) < 1000);
	char buf[100000];
	ssize_t len = glfs_get_volfile(fs, buf, sizeof buf);
	MUST(len > 0 && len < (ssize_t)sizeof buf && memmem(buf, (size_t)len, "protocol/client", 15));
	/* The working directory stays when it is renamed. */
	MUST(glfs_mkdir(fs, "/cwd", 0755) == 0 && glfs_chdir(fs, "/cwd") == 0);
	MUST(glfs_rename(fs, "/cwd", "/moved") == 0);
	MUST(glfs_mkdir(fs, "in", 0755) == 0 && glfs_stat(fs, "/moved/in", &st) == 0);
	MUST((fd = glfs_opendir(fs, "/listed")) && glfs_fchdir(fd) == 0 && glfs_stat(fs, "sub", &st) == 0 && glfs_stat(fs, "../moved", &st) == 0);
	MUST(glfs_close(fd) == 0 && glfs_chdir(fs, "/") == 0);
	/* What stands for an object without opening it. */
	MUST((fd = glfs_creat(fs, "/secret", O_RDWR, 0600)) && glfs_fsetxattr(fd, "user.k", "v", 1, 0) == 0 && glfs_close(fd) == 0);
	MUST((fd = glfs_open(fs, "/secret", O_PATH | O_NOFOLLOW | O_NONBLOCK)));
	char c;
	MUST(glfs_fstat(fd, &st) == 0 && glfs_fgetxattr(fd, "user.k", &c, 1) == 1);
	MUST(glfs_read(fd, &c, 1, 0) == -1 && errno == EBADF && glfs_fsync(fd, NULL, NULL) == -1 && errno == EBADF);
	MUST(glfs_close(fd) == 0);
	/* The parent of an object that was found by its handle. */
	glfs_object_t *sub = glfs_h_lookupat(fs, NULL, "/listed/sub", &st, 0), *by, *up;
	unsigned char h[GFAPI_HANDLE_LENGTH];
	MUST(sub && glfs_h_extract_handle(sub, h, sizeof h) == sizeof h && (by = glfs_h_create_from_handle(fs, h, sizeof h, &st)));
	struct stat parent;
	MUST((up = glfs_h_lookupat(fs, by, "..", &st, 0)) && glfs_stat(fs, "/listed", &parent) == 0 && st.st_ino == parent.st_ino);
	MUST(glfs_h_close(sub) == 0 && glfs_h_close(by) == 0 && glfs_h_close(up) == 0);
	MUST(glfs_h_close(up) == -1);
	MUST(glfs_set_statedump_path(fs, "/tmp") == 0);
}

/* Servers. */

static void servers(void)
{
	glfs_t *fs = glfs_new(volname);
	struct stat st;
	MUST(fs);
	MUST(glfs_set_volfile_server(fs, "unix", "/nox/socket", 0) == 0);
	MUST(glfs_set_volfile_server(fs, "tcp", host, 1) == 0);
	MUST(glfs_set_volfile_server(fs, "tcp", host, port) == 0);
	MUST(glfs_set_volfile_server(fs, "tcp", host, 2) == 0);
	MUST(glfs_unset_volfile_server(fs, "tcp", host, 2) == 0);
	MUST(glfs_unset_volfile_server(fs, "tcp", host, 3) == -1);
	MUST(glfs_set_xlator_option(fs, "*-md-cache", "cache-posix-acl", "true") == 0);
	MUST(glfs_init(fs) == 0 && glfs_init(fs) == 0);
	MUST(glfs_set_xlator_option(fs, "*-write-behind", "resync-failed-syncs-after-fsync", "on") == 0);
	MUST(glfs_stat(fs, "/", &st) == 0);
	time_t begin = time(NULL);
	glfs_fd_t *fd = glfs_creat(fs, "/left", O_RDWR, 0644);
	MUST(fd && glfs_from_glfd(fd) == fs && glfs_write(fd, "left open", 9, 0) == 9);
	MUST(glfs_fini(fs) == 0 && time(NULL) - begin < 5);
	MUST(glfs_write(fd, "x", 1, 0) == -1 && errno == EBADF);
	MUST(glfs_stat(fs, "/", &st) == -1 && errno == EINVAL);
	MUST(glfs_fini(fs) == -1 && errno == EINVAL);
	fs = mount_volume();
	MUST(glfs_stat(fs, "/left", &st) == 0 && st.st_size == 9);
	MUST(glfs_fini(fs) == 0);
}

/* Locks of two clients, and leaving the waiting to one of them. */

static void *wait_lock(void *arg)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
	MUST(glfs_posix_lock(arg, F_SETLKW, &l) == 0);
	return NULL;
}

static void locks(glfs_t *fs)
{
	glfs_t *other = mount_volume();
	glfs_fd_t *a = glfs_creat(fs, "/locked", O_RDWR, 0644), *b = glfs_open(other, "/locked", O_RDWR);
	MUST(a && b);
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
	MUST(glfs_posix_lock(a, F_SETLK, &l) == 0);
	l = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 1};
	MUST(glfs_posix_lock(b, F_SETLK, &l) == -1 && errno == EAGAIN);
	MUST(glfs_posix_lock(b, F_GETLK, &l) == 0 && l.l_type == F_WRLCK && l.l_start == 0 && l.l_len == 10);
	MUST(glfs_posix_lock(b, F_SETLK, NULL) == -1 && errno == EINVAL);
	pthread_t t;
	MUST(pthread_create(&t, NULL, wait_lock, b) == 0);
	usleep(100000);
	MUST(pthread_tryjoin_np(t, NULL) == EBUSY);
	l = (struct flock){.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
	MUST(glfs_posix_lock(a, F_SETLK, &l) == 0);
	MUST(pthread_join(t, NULL) == 0);
	MUST(glfs_close(b) == 0); /* which drops its lock */
	l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
	MUST(glfs_posix_lock(a, F_SETLK, &l) == 0);
	MUST(glfs_close(a) == 0);
	MUST(glfs_fini(other) == 0);
}

/* Notices of what others change. */

static sem_t heard;
static volatile int right;

static void hear(glfs_upcall_t *up, void *data)
{
	struct stat *want = data;
	if (glfs_upcall_get_reason(up) == GLFS_UPCALL_INODE_INVALIDATE) {
		glfs_upcall_inode_t *in = glfs_upcall_get_event(up);
		struct stat st;
		glfs_object_t *o = glfs_upcall_inode_get_object(in);
		if (o && glfs_h_stat(glfs_upcall_get_fs(up), o, &st) == 0 && st.st_ino == want->st_ino && glfs_upcall_inode_get_flags(in) != 0)
			right++;
	}
	glfs_free(up);
	sem_post(&heard);
}

static void upcalls(glfs_t *fs)
{
	struct stat st;
	char c;
	struct timespec end;
	sem_init(&heard, 0, 0);
	glfs_t *other = mount_volume();
	glfs_fd_t *fd = glfs_creat(fs, "/watched", O_RDWR, 0644), *there;
	glfs_upcall_t *up = NULL;
	MUST(fd && glfs_fstat(fd, &st) == 0);
	MUST(glfs_upcall_register(fs, GLFS_EVENT_ANY, hear, &st) == 3);
	MUST(glfs_h_poll_upcall(fs, &up) == 0 && up == NULL);
	MUST(glfs_write(fd, "mine", 4, 0) == 4 && glfs_fsync(fd, NULL, NULL) == 0);
	MUST(glfs_pread(fd, &c, 1, 0, 0, NULL) == 1);
	MUST((there = glfs_open(other, "/watched", O_RDWR)));
	MUST(glfs_pwrite(there, "theirs", 6, 0, 0, NULL, NULL) == 6 && glfs_fsync(there, NULL, NULL) == 0);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 30;
	MUST(sem_timedwait(&heard, &end) == 0 && right > 0);
	for (int i = 0; i < 1000 && !up; i++) {
		MUST(glfs_h_poll_upcall(fs, &up) == 0);
		usleep(10000);
	}
	MUST(up && glfs_upcall_get_reason(up) == GLFS_UPCALL_INODE_INVALIDATE);
	glfs_free(up);
	MUST(glfs_upcall_unregister(fs, GLFS_EVENT_ANY) == 3);
	MUST(glfs_close(fd) == 0 && glfs_close(there) == 0);
	MUST(glfs_fini(other) == 0);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	alarm(110);
	host = argv[1], port = atoi(argv[2]), volname = argv[3];
	glfs_t *fs = mount_volume();
	callbacks(fs);
	identities(fs);
	large(fs);
	repaired(fs);
	servers();
	locks(fs);
	upcalls(fs);
	MUST(glfs_fini(fs) == 0);
	printf("ok\n");
	return 0;
}
