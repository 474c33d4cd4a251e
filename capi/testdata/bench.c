/* What calls of libgfapi cost: lines of "name: operations-per-second".
 * Usage: bench HOST PORT VOLUME SECONDS-EACH */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <glusterfs/api/glfs.h>

#define MUST(call) do { if (!(call)) { fprintf(stderr, "%s:%d: %s failed: %m\n", __FILE__, __LINE__, #call); exit(1); } } while (0)
#define FILES 1000

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double limit, begun;
static long n;

static void report(const char *name, double count)
{
	printf("%s: %.0f\n", name, count / (now() - begun));
	fflush(stdout);
}

/* AGAIN does something as often as there is time for, ONCE with each file. */
#define AGAIN(name, per, ...) do { \
	begun = now(); \
	for (n = 0; now() - begun < limit; n++) { __VA_ARGS__; } \
	report(name, (double)n * (per)); \
} while (0)
#define ONCE(name, ...) do { \
	begun = now(); \
	for (n = 0; n < FILES; n++) { __VA_ARGS__; } \
	report(name, FILES); \
} while (0)

static char *name(const char *kind, long i)
{
	static char buf[64];
	snprintf(buf, sizeof buf, "/bench/%s%ld", kind, i);
	return buf;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	limit = atof(argv[4]);
	glfs_t *fs = glfs_new(argv[3]);
	MUST(fs && glfs_set_volfile_server(fs, "tcp", argv[1], atoi(argv[2])) == 0);
	MUST(glfs_init(fs) == 0);
	static char data[1 << 20];
	struct stat st;
	struct dirent de, *res;
	glfs_fd_t *fd;
	memset(data, 'd', sizeof data);
	MUST(glfs_mkdir(fs, "/bench", 0755) == 0);

	ONCE("creat, close *", MUST((fd = glfs_creat(fs, name("e", n), O_RDWR, 0644)) && glfs_close(fd) == 0));
	ONCE("creat, write 1 KB, close *", MUST((fd = glfs_creat(fs, name("f", n), O_RDWR, 0644))); MUST(glfs_write(fd, data, 1000, 0) == 1000); MUST(glfs_close(fd) == 0));
	sleep(2); /* which is for how long attributes are believed */
	ONCE("stat, for the first time *", MUST(glfs_stat(fs, name("f", n), &st) == 0));
	AGAIN("stat, again *", 1, MUST(glfs_stat(fs, name("f", n % 100), &st) == 0));
	AGAIN("stat of what is missing *", 1, MUST(glfs_stat(fs, "/bench/none", &st) == -1));
	AGAIN("open, close *", 1, MUST((fd = glfs_open(fs, name("f", n % FILES), O_RDONLY)) && glfs_close(fd) == 0));
	AGAIN("open, read 1 KB, close", 1, MUST((fd = glfs_open(fs, name("f", n % FILES), O_RDONLY))); MUST(glfs_read(fd, data, 2000, 0) == 1000); MUST(glfs_close(fd) == 0));
	AGAIN("readdir, entries *", 2 * FILES, MUST((fd = glfs_opendir(fs, "/bench"))); int k = 0;
		while (glfs_readdir_r(fd, &de, &res) == 0 && res) k++; MUST(k == 2 * FILES + 2 && glfs_closedir(fd) == 0));
	AGAIN("readdirplus, entries *", 2 * FILES, MUST((fd = glfs_opendir(fs, "/bench"))); int k = 0;
		while (glfs_readdirplus_r(fd, &st, &de, &res) == 0 && res) k++; MUST(k == 2 * FILES + 2 && glfs_closedir(fd) == 0));
	AGAIN("setxattr *", 1, MUST(glfs_setxattr(fs, name("f", n % FILES), "user.k", "v", 1, 0) == 0));
	AGAIN("getxattr *", 1, MUST(glfs_getxattr(fs, name("f", 0), "user.k", data, 10) == 1));
	memset(data, 'd', sizeof data);
	MUST((fd = glfs_creat(fs, "/bench/data", O_RDWR, 0644)));
	AGAIN("write 1 MiB, fsync after 64", 1, MUST(glfs_pwrite(fd, data, sizeof data, (off_t)(n % 64) << 20, 0, NULL, NULL) == sizeof data); if (n % 64 == 63) MUST(glfs_fsync(fd, NULL, NULL) == 0));
	for (long i = 0; i < 64; i++)
		MUST(glfs_pwrite(fd, data, sizeof data, (off_t)i << 20, 0, NULL, NULL) == sizeof data);
	MUST(glfs_fsync(fd, NULL, NULL) == 0);
	AGAIN("read 1 MiB", 1, MUST(glfs_pread(fd, data, sizeof data, (off_t)(n % 64) << 20, 0, NULL) == sizeof data));
	AGAIN("write 4 KiB", 1, MUST(glfs_pwrite(fd, data, 4096, (off_t)((n * 7919) % 16384) << 12, 0, NULL, NULL) == 4096));
	MUST(glfs_fsync(fd, NULL, NULL) == 0);
	AGAIN("read 4 KiB", 1, MUST(glfs_pread(fd, data, 4096, (off_t)((n * 7919) % 16384) << 12, 0, NULL) == 4096));
	AGAIN("write 100 bytes in sequence", 1, MUST(glfs_write(fd, data, 100, 0) == 100); if (n % 65536 == 0) glfs_lseek(fd, 0, SEEK_SET));
	AGAIN("fstat *", 1, MUST(glfs_fstat(fd, &st) == 0));
	AGAIN("lseek *", 1, MUST(glfs_lseek(fd, n % 100, SEEK_SET) == n % 100));
	MUST(glfs_close(fd) == 0);
	MUST(glfs_unlink(fs, "/bench/data") == 0);
	ONCE("rename *", char to[64]; strcpy(to, name("r", n)); MUST(glfs_rename(fs, name("e", n), to) == 0));
	ONCE("unlink *", MUST(glfs_unlink(fs, name("r", n)) == 0));
	for (n = 0; n < FILES; n++)
		MUST(glfs_unlink(fs, name("f", n)) == 0);
	MUST(glfs_rmdir(fs, "/bench") == 0);
	MUST(glfs_fini(fs) == 0);
	return 0;
}
