/* The shim over an engine that does nothing (fakeengine.c): what it does with
 * memory, threads and forks, for tools that look after that. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glusterfs/api/glfs-handles.h>
#include <glusterfs/api/glfs.h>

#define MUST(call) do { if (!(call)) { fprintf(stderr, "%s:%d: %s failed: %m\n", __FILE__, __LINE__, #call); exit(1); } } while (0)

static glfs_t *fs;
static __thread int called;

static void done(glfs_fd_t *fd, ssize_t ret, struct glfs_stat *pre, struct glfs_stat *post, void *data)
{
	MUST(errno == ENOENT && ret == 42 && !pre && !post);
	MUST(glfs_access(fs, "/", 0) >= 0);
	(void)fd;
	++*(int *)data;
}

/* The engine gives the entries e1 and e2, of the offsets 1 and 2, at once and
 * again and again. */
static void list(glfs_fd_t *fd)
{
	struct dirent de, *res = NULL;
	struct stat st;
	MUST(glfs_readdir_r(fd, &de, &res) == 0 && res == &de && strcmp(de.d_name, "e1") == 0 && de.d_off == 1 && glfs_telldir(fd) == 1);
	MUST((res = glfs_readdir(fd)) && strcmp(res->d_name, "e2") == 0 && glfs_telldir(fd) == 2);
	MUST((res = glfs_readdir(fd)) && strcmp(res->d_name, "e1") == 0);
	glfs_seekdir(fd, 2);
	MUST((res = glfs_readdir(fd)) && strcmp(res->d_name, "e1") == 0);
	glfs_seekdir(fd, 1);
	MUST((res = glfs_readdir(fd)) && strcmp(res->d_name, "e2") == 0);
	glfs_seekdir(fd, 1); /* and attributes, which are not there */
	MUST((res = glfs_readdirplus(fd, &st)) && strcmp(res->d_name, "e1") == 0 && st.st_ino == 50);
	MUST(glfs_readdirplus_r(fd, &st, NULL, &res) == 0 && strcmp(res->d_name, "e2") == 0 && st.st_ino == 50);
	MUST(glfs_closedir(fd) >= 0);
}

static void *calls(void *arg)
{
	struct stat st;
	char *stack = malloc(SIGSTKSZ);
	stack_t ss = {.ss_sp = stack, .ss_size = SIGSTKSZ}, now;
	MUST(stack && sigaltstack(&ss, NULL) == 0);
	for (int i = 0; i < 5; i++) {
		MUST(glfs_stat(fs, "/nox", &st) == -1 && errno == ENOENT);
		glfs_fd_t *fd = glfs_creat(fs, "/f", O_RDWR, 0644);
		MUST(fd == (glfs_fd_t *)2000);
		char *p = glfs_realpath(fs, "/", NULL);
		MUST(p && strcmp(p, "/real/path") == 0);
		glfs_free(p);
		int n = 0;
		char c;
		MUST(glfs_pread_async(fd, &c, 1, 0, 0, done, &n) == 0 && n == 1);
		glfs_upcall_t *up = NULL;
		MUST(glfs_h_poll_upcall(fs, &up) == 0 && up);
		glfs_upcall_inode_t *in = glfs_upcall_get_event(up);
		MUST(glfs_upcall_inode_get_flags(in) == 1 && glfs_upcall_inode_get_stat(in)->st_ino == 77 && glfs_upcall_inode_get_object(in));
		MUST(!glfs_upcall_lease_get_object((glfs_upcall_lease_t *)in) && errno == EINVAL);
		glfs_free(up);
		glfs_xreaddirp_stat_t *x;
		struct dirent de, *res;
		MUST(glfs_xreaddirplus_r(fd, 1, &x, &de, &res) == 1 && glfs_xreaddirplus_get_stat(x) && !glfs_xreaddirplus_get_object(x));
		glfs_free(x);
		list((glfs_fd_t *)(3000 + (long)arg));
		MUST(glfs_close(fd) >= 0);
	}
	gid_t groups[100];
	memset(groups, 0, sizeof groups);
	MUST(glfs_setfsuid(77) == 0 && glfs_access(fs, "/", 0) == 77);
	MUST(glfs_setfsgroups(100, groups) == 0 && glfs_setfsgroups(3, groups) == 0 && glfs_setfsgroups(0, NULL) == 0);
	MUST(glfs_access(fs, "/", 0) == 77);
	MUST(sigaltstack(NULL, &now) == 0 && now.ss_sp == stack);
	ss.ss_flags = SS_DISABLE;
	MUST(sigaltstack(&ss, NULL) == 0);
	free(stack);
	called++;
	return NULL;
}

static void use(void)
{
	pthread_t t[3];
	fs = glfs_new("volume");
	MUST(fs);
	for (long i = 0; i < 3; i++)
		MUST(pthread_create(&t[i], NULL, calls, (void *)i) == 0);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	char *(*realpath_old)(glfs_t *, const char *, char *) = (char *(*)(glfs_t *, const char *, char *))dlvsym(RTLD_DEFAULT, "glfs_realpath", "GFAPI_3.4.0");
	char *p = realpath_old(fs, "/", NULL);
	MUST(p && strcmp(p, "/real/path") == 0);
	free(p);
}

int main(void)
{
	use();
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();
		MUST(pid >= 0);
		if (pid == 0) {
			struct stat st;
			MUST(glfs_stat(fs, "/", &st) == -1 && errno == EINVAL);
			use();
			_exit(0); /* LeakSanitizer, which looks at the end, may hang in a child */
		}
		int status;
		MUST(waitpid(pid, &status, 0) == pid && status == 0);
	}
	printf("ok\n");
	return 0;
}
