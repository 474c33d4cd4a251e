/* Processes that fork while others use the library, and use it in the child: old
 * handles are refused there, and a new volume works, with threads, and in the
 * child's child again.
 * Usage: forks HOST PORT VOLUME CHILDREN */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glusterfs/api/glfs.h>

#define MUST(call) do { if (!(call)) { fprintf(stderr, "%d: %s:%d: %s failed: %m\n", getpid(), __FILE__, __LINE__, #call); _exit(1); } } while (0)

static const char *host, *volname;
static int port;
static volatile int stop;

static glfs_t *mount_volume(void)
{
	glfs_t *fs = glfs_new(volname);
	MUST(fs);
	MUST(glfs_set_volfile_server(fs, "tcp", host, port) == 0);
	MUST(glfs_init(fs) == 0);
	return fs;
}

static void use(glfs_t *fs, const char *name, int n)
{
	char buf[32], got[32];
	for (int i = 0; i < n; i++) {
		glfs_fd_t *fd = glfs_creat(fs, name, O_RDWR | O_TRUNC, 0644);
		MUST(fd);
		memset(buf, 'a' + i % 26, sizeof buf);
		MUST(glfs_pwrite(fd, buf, sizeof buf, 0, 0, NULL, NULL) == sizeof buf);
		MUST(glfs_pread(fd, got, sizeof got, 0, 0, NULL) == sizeof got);
		MUST(memcmp(buf, got, sizeof got) == 0);
		MUST(glfs_close(fd) == 0);
	}
	MUST(glfs_unlink(fs, name) == 0);
}

struct job {
	glfs_t *fs;
	char name[64];
};

static void *busy(void *arg)
{
	struct job *j = arg;
	while (!stop)
		use(j->fs, j->name, 5);
	return NULL;
}

static void *some(void *arg)
{
	struct job *j = arg;
	use(j->fs, j->name, 3);
	return NULL;
}

static void __attribute__((noreturn)) child(glfs_t *inherited, glfs_fd_t *fd, int depth)
{
	struct stat st;
	char b[4];
	alarm(100);
	MUST(glfs_stat(inherited, "/", &st) == -1 && errno == EINVAL);
	MUST(glfs_read(fd, b, 1, 0) == -1 && errno == EBADF);
	MUST(glfs_close(fd) == -1 && errno == EBADF);
	glfs_t *fs = mount_volume();
	MUST(fs != inherited);
	MUST(glfs_stat(inherited, "/", &st) == -1 && errno == EINVAL);
	MUST(glfs_read(fd, b, 1, 0) == -1 && errno == EBADF);
	struct job jobs[3];
	pthread_t threads[3];
	for (int i = 0; i < 3; i++) {
		jobs[i].fs = fs;
		snprintf(jobs[i].name, sizeof jobs[i].name, "/child.%d.%d", getpid(), i);
		MUST(pthread_create(&threads[i], NULL, some, &jobs[i]) == 0);
	}
	if (depth > 0) {
		glfs_fd_t *own = glfs_opendir(fs, "/");
		MUST(own);
		pid_t pid = fork();
		MUST(pid >= 0);
		if (pid == 0)
			child(fs, own, depth - 1);
		int status;
		MUST(waitpid(pid, &status, 0) == pid && status == 0);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	MUST(glfs_fini(fs) == 0);
	_exit(0);
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	host = argv[1], port = atoi(argv[2]), volname = argv[3];
	int n = atoi(argv[4]);
	MUST(system("true") == 0);
	glfs_t *fs = mount_volume();
	struct job jobs[4];
	pthread_t threads[4];
	for (int i = 0; i < 4; i++) {
		jobs[i].fs = fs;
		snprintf(jobs[i].name, sizeof jobs[i].name, "/parent.%d", i);
		MUST(pthread_create(&threads[i], NULL, busy, &jobs[i]) == 0);
	}
	glfs_fd_t *fd = glfs_creat(fs, "/shared", O_RDWR, 0644);
	MUST(fd);
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();
		MUST(pid >= 0);
		if (pid == 0)
			child(fs, fd, i % 10 == 0);
		int status;
		MUST(waitpid(pid, &status, 0) == pid);
		MUST(status == 0);
	}
	MUST(system("true") == 0);
	MUST(glfs_write(fd, "still here", 10, 0) == 10);
	stop = 1;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	MUST(glfs_close(fd) == 0);
	MUST(glfs_fini(fs) == 0);
	printf("%d children\n", n);
	return 0;
}
