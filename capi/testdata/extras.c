/* What few programs use: leases, mandatory locks, ACLs, statedumps, and files
 * that are open while the volume gets a new graph.
 * Usage: extras HOST PORT VOLUME leases|mandatory|acls
 *        extras HOST PORT VOLUME dump DIRECTORY
 *        extras HOST PORT VOLUME switch FILE: when the options of the volume are
 *        to be changed FILE0 is made, when that was seen FILE1, and once more FILE2 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <acl/libacl.h>
#include <time.h>
#include <unistd.h>

#define USE_POSIX_ACLS 1
#include <glusterfs/api/glfs-handles.h>
#include <glusterfs/api/glfs.h>

#define MUST(call) do { if (!(call)) { fprintf(stderr, "%s:%d: %s failed: %m\n", __FILE__, __LINE__, #call); exit(1); } } while (0)
#define FAILS(call, want) do { errno = 0; if ((call) || errno != (want)) { \
	fprintf(stderr, "%s:%d: %s: errno %d (%m), want %d\n", __FILE__, __LINE__, #call, errno, want); exit(1); } } while (0)

static const char *host, *volname;
static int port;

static glfs_t *mount_volume(void)
{
	glfs_t *fs = glfs_new(volname);
	MUST(fs && glfs_set_volfile_server(fs, "tcp", host, port) == 0);
	if (getenv("EXTRAS_LOG"))
		MUST(glfs_set_logging(fs, getenv("EXTRAS_LOG"), 7) == 0);
	MUST(glfs_init(fs) == 0);
	return fs;
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* in_thread runs f in a thread, which has an identity and a lease id of its own,
 * and says whether it is done. */
struct thread {
	pthread_t id;
	void (*f)(void *arg);
	void *arg;
	volatile int done;
};

static void *thread_main(void *p)
{
	struct thread *t = p;
	t->f(t->arg);
	t->done = 1;
	return NULL;
}

static void start(struct thread *t, void (*f)(void *), void *arg)
{
	t->f = f, t->arg = arg, t->done = 0;
	MUST(pthread_create(&t->id, NULL, thread_main, t) == 0);
}

static void finish_at(struct thread *t, int line)
{
	struct timespec end;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 40;
	if (pthread_timedjoin_np(t->id, NULL, &end) != 0) {
		fprintf(stderr, "line %d: the thread does not end\n", line);
		exit(1);
	}
}

#define finish(t) finish_at(t, __LINE__)

static void in_thread_at(void (*f)(void *), void *arg, int line)
{
	struct thread t;
	start(&t, f, arg);
	finish_at(&t, line);
}

#define in_thread(f, ...) in_thread_at(f, __VA_ARGS__, __LINE__)

/* Leases: two applications, each with a volume of its own. */

/* Bricks of GlusterFS 10.3 compare ids as if a NUL ended them. */
static char one[16] = "application one", two[16] = "application two";
static glfs_t *first, *second;
static glfs_fd_t *held;
static sem_t recalled;
static char *recalled_by; /* what the callback found */

static void recall(glfs_upcall_t *up, void *data)
{
	struct stat st, *want = data;
	recalled_by = "not of a lease";
	if (glfs_upcall_get_reason(up) == GLFS_UPCALL_RECALL_LEASE) {
		glfs_upcall_lease_t *l = glfs_upcall_get_event(up);
		glfs_object_t *o = glfs_upcall_lease_get_object(l);
		recalled_by = "without the file";
		if (o && glfs_h_stat(glfs_upcall_get_fs(up), o, &st) == 0 && st.st_ino == want->st_ino)
			recalled_by = NULL;
	}
	glfs_free(up);
	sem_post(&recalled);
}

static struct glfs_lease lease(int cmd, int type, const char *id)
{
	struct glfs_lease l = {.cmd = cmd, .lease_type = type};
	memcpy(l.lease_id, id, sizeof l.lease_id);
	return l;
}

static void second_reads(void *arg)
{
	char c;
	(void)arg;
	MUST(glfs_setfsleaseid(two) == 0);
	glfs_fd_t *fd = glfs_open(second, "/leased", O_RDONLY);
	MUST(fd && glfs_pread(fd, &c, 1, 0, 0, NULL) == 1);
	MUST(glfs_close(fd) == 0);
}

static void second_writes(void *arg)
{
	(void)arg;
	MUST(glfs_setfsleaseid(two) == 0);
	glfs_fd_t *fd = glfs_open(second, "/leased", O_RDWR);
	MUST(fd && glfs_pwrite(fd, "W", 1, 0, 0, NULL, NULL) == 1 && glfs_fsync(fd, NULL, NULL) == 0);
	MUST(glfs_close(fd) == 0);
}

static void wait_recall(void)
{
	struct timespec end;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 30;
	MUST(sem_timedwait(&recalled, &end) == 0);
	if (recalled_by) {
		fprintf(stderr, "a recall %s\n", recalled_by);
		exit(1);
	}
}

static void second_shares(void *arg)
{
	struct glfs_lease l = lease(GLFS_SET_LEASE, GLFS_RD_LEASE, two);
	(void)arg;
	MUST(glfs_setfsleaseid(two) == 0);
	glfs_fd_t *fd = glfs_open(second, "/leased", O_RDONLY);
	MUST(fd && glfs_lease(fd, &l, NULL, NULL) == 0);
	l = lease(GLFS_SET_LEASE, GLFS_RW_LEASE, two);
	FAILS(glfs_lease(fd, &l, NULL, NULL) == 0, EINVAL); /* the file is open for reading */
	l = lease(GLFS_UNLK_LEASE, GLFS_RD_LEASE, two);
	MUST(glfs_lease(fd, &l, NULL, NULL) == 0);
	MUST(glfs_close(fd) == 0);
}

static void leases(void)
{
	struct glfs_lease l;
	struct stat st;
	struct thread t;
	sem_init(&recalled, 0, 0);
	first = mount_volume(), second = mount_volume();
	MUST(glfs_setfsleaseid(one) == 0);
	MUST((held = glfs_creat(first, "/leased", O_RDWR, 0644)) && glfs_pwrite(held, "text", 4, 0, 0, NULL, NULL) == 4);
	MUST(glfs_close(held) == 0 && (held = glfs_open(first, "/leased", O_RDWR)) && glfs_fstat(held, &st) == 0);
	MUST(glfs_upcall_register(first, GLFS_EVENT_RECALL_LEASE, recall, &st) == GLFS_EVENT_RECALL_LEASE);

	l = lease(GLFS_SET_LEASE, GLFS_RW_LEASE, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
	FAILS(glfs_lease(held, &l, NULL, NULL) == 0, EINVAL);
	l = lease(GLFS_SET_LEASE, 7, one);
	FAILS(glfs_lease(held, &l, NULL, NULL) == 0, EINVAL);
	FAILS(glfs_lease(held, NULL, NULL, NULL) == 0, EINVAL);

	/* A lease for reading and writing: the other waits until it is given back. */
	l = lease(GLFS_SET_LEASE, GLFS_RW_LEASE, one);
	MUST(glfs_lease(held, &l, NULL, NULL) == 0);
	l = lease(GLFS_GET_LEASE, GLFS_LEASE_NONE, one);
	MUST(glfs_lease(held, &l, NULL, NULL) == 0 && l.lease_type == GLFS_RW_LEASE);
	MUST(glfs_pwrite(held, "mine", 4, 0, 0, NULL, NULL) == 4); /* who has it does not wait */
	start(&t, second_reads, NULL);
	wait_recall();
	usleep(100000);
	MUST(!t.done);
	l = lease(GLFS_UNLK_LEASE, GLFS_RW_LEASE, one);
	MUST(glfs_lease(held, &l, NULL, NULL) == 0);
	finish(&t);
	l = lease(GLFS_GET_LEASE, GLFS_LEASE_NONE, one);
	MUST(glfs_lease(held, &l, NULL, NULL) == 0 && l.lease_type == GLFS_LEASE_NONE);
	MUST(glfs_close(held) == 0);

	/* Leases for reading are shared, and recalled by who writes. */
	MUST((held = glfs_open(first, "/leased", O_RDONLY)));
	l = lease(GLFS_SET_LEASE, GLFS_RD_LEASE, one);
	MUST(glfs_lease(held, &l, NULL, NULL) == 0);
	in_thread(second_shares, NULL);
	in_thread(second_reads, NULL);
	start(&t, second_writes, NULL);
	wait_recall();
	usleep(100000);
	MUST(!t.done);
	l = lease(GLFS_UNLK_LEASE, GLFS_RD_LEASE, one);
	MUST(glfs_lease(held, &l, NULL, NULL) == 0);
	finish(&t);

	/* Of an object. */
	glfs_object_t *o = glfs_h_lookupat(first, NULL, "/leased", &st, 0);
	MUST(o);
	double limit = now() + 30;
	do { /* the brick may hear a moment later that the other has closed it */
		MUST(now() < limit);
		l = lease(GLFS_SET_LEASE, GLFS_RD_LEASE, one);
		usleep(10000);
	} while (glfs_h_lease(first, o, &l) != 0);
	l = lease(GLFS_GET_LEASE, GLFS_LEASE_NONE, one);
	MUST(glfs_h_lease(first, o, &l) == 0 && l.lease_type == GLFS_RD_LEASE);
	l = lease(GLFS_UNLK_LEASE, GLFS_RD_LEASE, one);
	MUST(glfs_h_lease(first, o, &l) == 0);
	MUST(glfs_h_close(o) == 0 && glfs_close(held) == 0);
	in_thread(second_writes, NULL);
	MUST(glfs_unlink(first, "/leased") == 0);
	MUST(glfs_fini(second) == 0 && glfs_fini(first) == 0);
}

/* Mandatory locks, on a volume with locks.mandatory-locking optimal. */

static glfs_fd_t *theirs;

static void writes_blocked(void *arg)
{
	(void)arg;
	MUST(glfs_pwrite(theirs, "B", 1, 5, 0, NULL, NULL) == 1);
}

static void mandatory(void)
{
	char c;
	struct thread t;
	first = mount_volume(), second = mount_volume();
	glfs_fd_t *a = glfs_creat(first, "/mandatory", O_RDWR, 0644), *b;
	MUST(a && glfs_pwrite(a, "0123456789abcdefghij", 20, 0, 0, NULL, NULL) == 20);
	MUST((b = glfs_open(second, "/mandatory", O_RDWR | O_NONBLOCK)) && (theirs = glfs_open(second, "/mandatory", O_RDWR)));
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
	FAILS(glfs_file_lock(a, F_SETLK, &l, 2) == 0, EINVAL);

	/* One that is advisory holds nobody up. */
	MUST(glfs_file_lock(a, F_SETLK, &l, GLFS_LK_ADVISORY) == 0);
	MUST(glfs_pwrite(b, "x", 1, 5, 0, NULL, NULL) == 1);
	l.l_type = F_UNLCK;
	MUST(glfs_file_lock(a, F_SETLK, &l, GLFS_LK_ADVISORY) == 0);

	l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
	MUST(glfs_file_lock(a, F_SETLK, &l, GLFS_LK_MANDATORY) == 0);
	FAILS(glfs_pwrite(b, "x", 1, 5, 0, NULL, NULL) == 1, EAGAIN);
	FAILS(glfs_pread(b, &c, 1, 5, 0, NULL) == 1, EAGAIN);
	FAILS(glfs_ftruncate(b, 3, NULL, NULL) == 0, EAGAIN);
	FAILS(glfs_open(second, "/mandatory", O_RDWR | O_TRUNC) != NULL, EAGAIN);
	MUST(glfs_pwrite(b, "x", 1, 15, 0, NULL, NULL) == 1 && glfs_pread(b, &c, 1, 15, 0, NULL) == 1 && c == 'x');
	MUST(glfs_pwrite(a, "own", 3, 0, 0, NULL, NULL) == 3);
	start(&t, writes_blocked, NULL); /* waits for the lock to go */
	usleep(200000);
	MUST(!t.done);
	l.l_type = F_UNLCK;
	MUST(glfs_file_lock(a, F_SETLK, &l, GLFS_LK_MANDATORY) == 0);
	finish(&t);
	MUST(glfs_pread(a, &c, 1, 5, 0, NULL) == 1 && c == 'B');

	/* Of readers it keeps writers out only. */
	l = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
	MUST(glfs_file_lock(a, F_SETLK, &l, GLFS_LK_MANDATORY) == 0);
	MUST(glfs_pread(b, &c, 1, 5, 0, NULL) == 1);
	FAILS(glfs_pwrite(b, "x", 1, 5, 0, NULL, NULL) == 1, EAGAIN);
	MUST(glfs_close(a) == 0); /* which drops it */
	MUST(glfs_pwrite(b, "y", 1, 5, 0, NULL, NULL) == 1);
	MUST(glfs_close(b) == 0 && glfs_close(theirs) == 0);
	MUST(glfs_unlink(first, "/mandatory") == 0);
	MUST(glfs_fini(second) == 0 && glfs_fini(first) == 0);
}

/* ACLs. */

static int same_acl(acl_t got, const char *want)
{
	char *text = got ? acl_to_any_text(got, NULL, ',', TEXT_ABBREVIATE | TEXT_NUMERIC_IDS) : NULL;
	int same = text && strcmp(text, want) == 0;
	if (!same)
		fprintf(stderr, "acl %s, want %s\n", text ? text : "(none)", want);
	if (text)
		acl_free(text);
	if (got)
		acl_free(got);
	return same;
}

struct reader {
	uid_t uid;
	int may;
};

static void reads_as(void *arg)
{
	struct reader *r = arg;
	MUST(glfs_setfsgroups(0, NULL) == 0 && glfs_setfsgid(r->uid) == 0 && glfs_setfsuid(r->uid) == 0);
	glfs_fd_t *fd = glfs_open(first, "/acls/file", O_RDONLY);
	if (r->may)
		MUST(fd && glfs_close(fd) == 0);
	else if (fd || errno != EACCES) {
		fprintf(stderr, "the file may be read by %d\n", r->uid);
		exit(1);
	}
}

static void acls(void)
{
	struct stat st;
	first = mount_volume();
	MUST(glfs_chmod(first, "/", 0755) == 0 && glfs_mkdir(first, "/acls", 0755) == 0);
	glfs_fd_t *fd = glfs_creat(first, "/acls/file", O_RDWR, 0640);
	MUST(fd && glfs_close(fd) == 0);
	glfs_object_t *dir = glfs_h_lookupat(first, NULL, "/acls", &st, 0), *file = glfs_h_lookupat(first, dir, "file", &st, 0), *o;
	MUST(dir && file);
	MUST(same_acl(glfs_h_acl_get(first, file, ACL_TYPE_ACCESS), "u::rw-,g::r--,o::---"));
	in_thread(reads_as, &(struct reader){1000, 0});

	const char *text = "u::rw-,u:1000:r--,g::---,m::r--,o::---";
	acl_t acl = acl_from_text(text);
	MUST(acl && glfs_h_acl_set(first, file, ACL_TYPE_ACCESS, acl) == 0);
	MUST(same_acl(glfs_h_acl_get(first, file, ACL_TYPE_ACCESS), text));
	MUST(glfs_h_stat(first, file, &st) == 0 && (st.st_mode & 07777) == 0640); /* the mask stands for the group */
	in_thread(reads_as, &(struct reader){1000, 1});
	in_thread(reads_as, &(struct reader){1001, 0});

	/* What a directory leaves to what is made in it. */
	const char *inherit = "u::rwx,u:1001:rwx,g::r-x,m::rwx,o::---";
	acl_t def = acl_from_text(inherit);
	MUST(def && glfs_h_acl_set(first, dir, ACL_TYPE_DEFAULT, def) == 0);
	MUST(same_acl(glfs_h_acl_get(first, dir, ACL_TYPE_DEFAULT), inherit));
	MUST(same_acl(glfs_h_acl_get(first, dir, ACL_TYPE_ACCESS), "u::rwx,g::r-x,o::r-x"));
	MUST((o = glfs_h_creat(first, dir, "heir", O_RDWR, 0666, &st)));
	MUST(same_acl(glfs_h_acl_get(first, o, ACL_TYPE_ACCESS), "u::rw-,u:1001:rwx,g::r-x,m::rw-,o::---"));
	MUST(glfs_h_close(o) == 0);
	MUST((o = glfs_h_mkdir(first, dir, "sub", 0777, &st)));
	MUST(same_acl(glfs_h_acl_get(first, o, ACL_TYPE_DEFAULT), inherit));
	MUST(glfs_h_close(o) == 0);

	/* Of a symbolic link the ACL is that of its target. */
	MUST((o = glfs_h_symlink(first, dir, "link", "/acls/file", &st)));
	MUST(same_acl(glfs_h_acl_get(first, o, ACL_TYPE_ACCESS), text));
	acl_t small = acl_from_text("u::rw-,u:1001:r--,g::---,m::r--,o::---");
	MUST(small && glfs_h_acl_set(first, o, ACL_TYPE_ACCESS, small) == 0);
	MUST(same_acl(glfs_h_acl_get(first, file, ACL_TYPE_ACCESS), "u::rw-,u:1001:r--,g::---,m::r--,o::---"));
	MUST(glfs_h_close(o) == 0);

	FAILS(glfs_h_acl_get(first, file, 1) != NULL, EINVAL);
	FAILS(glfs_h_acl_set(first, file, 1, acl) == 0, EINVAL);
	FAILS(glfs_h_acl_set(first, file, ACL_TYPE_ACCESS, NULL) == 0, EINVAL);
	FAILS(glfs_h_acl_get(first, NULL, ACL_TYPE_ACCESS) != NULL, EINVAL);
	acl_free(acl), acl_free(def), acl_free(small);
	MUST(glfs_h_close(file) == 0 && glfs_h_close(dir) == 0);
	MUST(glfs_fini(first) == 0);
}

/* Statedumps. */

static void dump(const char *dir)
{
	first = mount_volume();
	MUST(glfs_set_statedump_path(first, dir) == 0);
	FAILS(glfs_set_statedump_path(first, NULL) == 0, EINVAL);
	glfs_fd_t *fd = glfs_creat(first, "/dumped", O_RDWR, 0644);
	MUST(fd && glfs_sysrq(first, 'h') == 0);
	MUST(glfs_sysrq(first, 's') == 0);
	FAILS(glfs_sysrq(first, 'z') == 0, ENOTSUP);
	FAILS(glfs_sysrq(NULL, 's') == 0, EINVAL);
	/* Another may be asked for by the server, until there is a file "done". */
	char name[4096];
	snprintf(name, sizeof name, "%s/pid", dir);
	FILE *f = fopen(name, "w");
	MUST(f && fprintf(f, "%d", getpid()) > 0 && fclose(f) == 0);
	snprintf(name, sizeof name, "%s/done", dir);
	for (double limit = now() + 60; access(name, F_OK) != 0; usleep(10000))
		MUST(now() < limit);
	MUST(glfs_close(fd) == 0 && glfs_unlink(first, "/dumped") == 0);
	MUST(glfs_fini(first) == 0);
}

/* A new graph under open files. */

static volatile int stop;

struct writer {
	const char *name;
	int flags;
	glfs_fd_t *fd;
	long lines;
	struct thread t;
};

static void write_lines(void *arg)
{
	struct writer *w = arg;
	char line[32];
	while (!stop) {
		int n = snprintf(line, sizeof line, "%s line %ld\n", w->name + 1, w->lines++);
		MUST(glfs_write(w->fd, line, (size_t)n, 0) == n);
		if (w->lines % 50 == 0)
			usleep(1000);
	}
}

static void check_lines(glfs_t *fs, struct writer *w)
{
	glfs_fd_t *fd = glfs_open(fs, w->name, O_RDONLY);
	MUST(fd);
	struct stat st;
	MUST(glfs_fstat(fd, &st) == 0);
	char *all = malloc((size_t)st.st_size + 1), *p = all, line[32];
	for (ssize_t n, have = 0; have < st.st_size; have += n)
		MUST((n = glfs_pread(fd, all + have, (size_t)(st.st_size - have), have, 0, NULL)) > 0);
	all[st.st_size] = 0;
	for (long i = 0; i < w->lines; i++) {
		int n = snprintf(line, sizeof line, "%s line %ld\n", w->name + 1, i);
		if (strncmp(p, line, (size_t)n) != 0) {
			fprintf(stderr, "%s: line %ld of %ld is wrong\n", w->name, i, w->lines);
			exit(1);
		}
		p += n;
	}
	MUST(*p == 0 && glfs_close(fd) == 0);
	free(all);
}

static void signal_step(const char *flag, int n)
{
	char name[4096];
	snprintf(name, sizeof name, "%s%d", flag, n);
	int fd = open(name, O_CREAT | O_WRONLY, 0644);
	MUST(fd >= 0 && close(fd) == 0);
}

static void new_graphs(const char *flag)
{
	static char before[1 << 17], after[1 << 17];
	struct stat st;
	struct dirent de, *next;
	char name[32], c;
	first = mount_volume();
	MUST(glfs_mkdir(first, "/dir", 0755) == 0 && glfs_mkdir(first, "/cwd", 0755) == 0 && glfs_chdir(first, "/cwd") == 0);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof name, "/dir/%d", i);
		glfs_fd_t *fd = glfs_creat(first, name, O_RDWR, 0644);
		MUST(fd && glfs_close(fd) == 0);
	}
	struct writer w[3] = {{.name = "/plain"}, {.name = "/append", .flags = O_APPEND}, {.name = "/sync", .flags = O_SYNC}};
	for (int i = 0; i < 3; i++) {
		MUST((w[i].fd = glfs_creat(first, w[i].name, O_RDWR | w[i].flags, 0644)));
		start(&w[i].t, write_lines, &w[i]);
	}
	glfs_fd_t *locked = glfs_creat(first, "/locked", O_RDWR, 0644), *reading = glfs_open(first, "/locked", O_RDONLY), *dir = glfs_opendir(first, "/dir");
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 3, .l_len = 4};
	MUST(locked && reading && dir && glfs_pwrite(locked, "x", 1, 0, 0, NULL, NULL) == 1 && glfs_posix_lock(locked, F_SETLK, &l) == 0);
	glfs_object_t *o = glfs_h_lookupat(first, NULL, "/locked", &st, 0);
	int seen = 0;
	for (; seen < 20; seen++)
		MUST(glfs_readdir_r(dir, &de, &next) == 0 && next);
	MUST(glfs_get_volfile(first, before, sizeof before) > 0);
	for (int n = 0; n < 2; n++) {
		signal_step(flag, n);
		double limit = now() + 60;
		do {
			MUST(now() < limit);
			usleep(10000);
			memset(after, 0, sizeof after);
			MUST(glfs_get_volfile(first, after, sizeof after) > 0);
		} while (strcmp(before, after) == 0);
		memcpy(before, after, sizeof before);
		usleep(200000); /* of writing to it */
		MUST(glfs_stat(first, "../cwd", &st) == 0 && glfs_pread(reading, &c, 1, 0, 0, NULL) == 1 && c == 'x');
		MUST(glfs_h_stat(first, o, &st) == 0 && st.st_size == 1);
	}
	signal_step(flag, 2);
	while (glfs_readdir_r(dir, &de, &next) == 0 && next)
		seen++;
	MUST(seen == 52);
	stop = 1;
	for (int i = 0; i < 3; i++) {
		finish(&w[i].t);
		MUST(w[i].lines > 20);
		MUST(glfs_fsync(w[i].fd, NULL, NULL) == 0);
	}
	second = mount_volume();
	for (int i = 0; i < 3; i++)
		check_lines(second, &w[i]);
	glfs_fd_t *other = glfs_open(second, "/locked", O_RDWR);
	l = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
	MUST(other && glfs_posix_lock(other, F_GETLK, &l) == 0 && l.l_type == F_WRLCK && l.l_start == 3 && l.l_len == 4);
	for (int i = 0; i < 3; i++)
		MUST(glfs_close(w[i].fd) == 0);
	MUST(glfs_h_close(o) == 0 && glfs_close(reading) == 0 && glfs_closedir(dir) == 0 && glfs_close(locked) == 0);
	l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
	MUST(glfs_posix_lock(other, F_SETLK, &l) == 0);
	MUST(glfs_close(other) == 0 && glfs_fini(second) == 0 && glfs_fini(first) == 0);
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	alarm(110);
	host = argv[1], port = atoi(argv[2]), volname = argv[3];
	if (strcmp(argv[4], "leases") == 0)
		leases();
	else if (strcmp(argv[4], "mandatory") == 0)
		mandatory();
	else if (strcmp(argv[4], "acls") == 0)
		acls();
	else if (strcmp(argv[4], "dump") == 0 && argc == 6)
		dump(argv[5]);
	else if (strcmp(argv[4], "switch") == 0 && argc == 6)
		new_graphs(argv[5]);
	else
		return 2;
	printf("ok\n");
	return 0;
}
