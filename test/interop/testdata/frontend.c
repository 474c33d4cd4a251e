/* A front end of the streams of operations: libgfapi. Each line of standard input
 * is an operation, and gets a line: its errno, a number, and bytes.
 *
 *   WHAT SLOT CALLER FLAGS MODE OFFSET LENGTH UID GID PATH TO NAME VALUE
 *   ERRNO NUMBER BYTES
 *
 * Strings and bytes are in hexadecimal behind an x.
 * Usage: frontend HOST PORT VOLUME */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <glusterfs/api/glfs.h>

#define SLOTS 16
#define CHUNK (128 << 10)

static glfs_t *fs;
static glfs_fd_t *slots[SLOTS];

static void answer(int err, long long n, const void *data, size_t size)
{
	const unsigned char *p = data;
	printf("%d %lld x", err, n);
	for (size_t i = 0; i < size; i++)
		printf("%02x", p[i]);
	putchar('\n');
	fflush(stdout);
}

/* done answers what has no result but whether it went well. */
static void done(int failed)
{
	if (failed)
		answer(errno ? errno : 9999, 0, NULL, 0);
	else
		answer(0, 0, NULL, 0);
}

static void count(ssize_t n)
{
	if (n < 0)
		done(1);
	else
		answer(0, n, NULL, 0);
}

static void attributes(int failed, const struct stat *st)
{
	char text[256];
	if (failed) {
		done(1);
		return;
	}
	int n = snprintf(text, sizeof text, "%llu %u %u %u %u %lld %llu %lld %lld %lld %lld", (unsigned long long)st->st_ino, st->st_mode,
		(unsigned)st->st_nlink, st->st_uid, st->st_gid, (long long)st->st_size, (unsigned long long)st->st_rdev,
		(long long)st->st_atim.tv_sec, (long long)st->st_atim.tv_nsec, (long long)st->st_mtim.tv_sec, (long long)st->st_mtim.tv_nsec);
	answer(0, 0, text, (size_t)n);
}

/* contents is all of a file. */
static void contents(const char *path)
{
	glfs_fd_t *fd = glfs_open(fs, path, O_RDONLY);
	if (!fd) {
		done(1);
		return;
	}
	char *all = NULL;
	size_t size = 0;
	for (;;) {
		all = realloc(all, size + CHUNK);
		ssize_t n = glfs_read(fd, all + size, CHUNK, 0);
		if (n < 0) {
			done(1);
			break;
		}
		if (n == 0) {
			answer(0, 0, all, size);
			break;
		}
		size += (size_t)n;
	}
	free(all);
	glfs_close(fd);
}

static char letter(unsigned char type)
{
	switch (type) {
	case DT_DIR: return 'd';
	case DT_LNK: return 'l';
	case DT_FIFO: return 'p';
	case DT_SOCK: return 's';
	case DT_CHR: return 'c';
	case DT_BLK: return 'b';
	}
	return 'f';
}

/* listing is the names in a directory with their types, slashes between them. */
static void listing(const char *path)
{
	glfs_fd_t *fd = glfs_opendir(fs, path);
	if (!fd) {
		done(1);
		return;
	}
	char *all = NULL;
	size_t size = 0;
	struct dirent entry, *next;
	for (;;) {
		if (glfs_readdir_r(fd, &entry, &next) != 0) {
			done(1);
			break;
		}
		if (!next) {
			answer(0, 0, all, size);
			break;
		}
		if (strcmp(entry.d_name, ".") == 0 || strcmp(entry.d_name, "..") == 0)
			continue;
		size_t len = strlen(entry.d_name);
		all = realloc(all, size + len + 3);
		if (size > 0)
			all[size++] = '/';
		all[size++] = letter(entry.d_type);
		all[size++] = ':';
		memcpy(all + size, entry.d_name, len);
		size += len;
	}
	free(all);
	glfs_closedir(fd);
}

static void on_file(const char *what, int slot, int flags, unsigned mode, long long off, long long len, const char *path,
	const unsigned char *value, size_t size)
{
	glfs_fd_t *fd = slots[slot];
	if (strcmp(what, "open") == 0) {
		if (fd)
			glfs_close(fd);
		fd = flags & O_CREAT ? glfs_creat(fs, path, flags, mode) : glfs_open(fs, path, flags);
		done(!(slots[slot] = fd));
		if (fd)
			glfs_fd_set_lkowner(fd, &slot, sizeof slot); /* as if each were another program's */
	} else if (!fd) {
		answer(-1, 0, NULL, 0);
	} else if (strcmp(what, "close") == 0) {
		slots[slot] = NULL;
		done(glfs_close(fd));
	} else if (strcmp(what, "read") == 0) {
		char *buf = malloc((size_t)len);
		ssize_t n = 0, m = 0;
		while (n < len && (m = glfs_pread(fd, buf + n, (size_t)(len - n), off + n, 0, NULL)) > 0)
			n += m;
		if (m < 0)
			done(1);
		else
			answer(0, n, buf, (size_t)n);
		free(buf);
	} else if (strcmp(what, "write") == 0) {
		count(glfs_pwrite(fd, value, size, off, 0, NULL, NULL));
	} else if (strcmp(what, "append") == 0) {
		count(glfs_write(fd, value, size, 0));
	} else if (strcmp(what, "ftruncate") == 0) {
		done(glfs_ftruncate(fd, len, NULL, NULL));
	} else if (strcmp(what, "fallocate") == 0) {
		if (flags & 2) /* FALLOC_FL_PUNCH_HOLE */
			done(glfs_discard(fd, off, (size_t)len));
		else
			done(glfs_fallocate(fd, flags, off, (size_t)len));
	} else if (strcmp(what, "fsync") == 0) {
		done(glfs_fsync(fd, NULL, NULL));
	} else if (strcmp(what, "fstat") == 0) {
		struct stat st;
		attributes(glfs_fstat(fd, &st), &st);
	} else if (strcmp(what, "lock") == 0 || strcmp(what, "getlk") == 0) {
		struct flock l = {.l_type = (short)flags, .l_whence = SEEK_SET, .l_start = off, .l_len = len};
		int get = *what == 'g';
		if (glfs_posix_lock(fd, get ? F_GETLK : F_SETLK, &l) != 0) {
			done(1);
		} else if (get) {
			char text[64];
			int n = snprintf(text, sizeof text, "%d %lld %lld", l.l_type, (long long)l.l_start, (long long)l.l_len);
			answer(0, 0, text, (size_t)n);
		} else {
			done(0);
		}
	} else {
		answer(-2, 0, NULL, 0);
	}
}

static void on_name(const char *what, int flags, unsigned mode, long long off, long long len, unsigned uid, unsigned gid,
	const char *path, const char *to, const char *name, const unsigned char *value, size_t size)
{
	static char buf[1 << 16];
	struct stat st;
	ssize_t n;
	if (strcmp(what, "mkdir") == 0) {
		done(glfs_mkdir(fs, path, mode));
	} else if (strcmp(what, "mknod") == 0) {
		done(glfs_mknod(fs, path, mode, (dev_t)len));
	} else if (strcmp(what, "symlink") == 0) {
		done(glfs_symlink(fs, to, path));
	} else if (strcmp(what, "link") == 0) {
		done(glfs_link(fs, path, to));
	} else if (strcmp(what, "rename") == 0) {
		done(glfs_rename(fs, path, to));
	} else if (strcmp(what, "unlink") == 0) {
		done(glfs_unlink(fs, path));
	} else if (strcmp(what, "rmdir") == 0) {
		done(glfs_rmdir(fs, path));
	} else if (strcmp(what, "chmod") == 0) {
		done(glfs_chmod(fs, path, mode));
	} else if (strcmp(what, "chown") == 0) {
		done(glfs_lchown(fs, path, uid, gid));
	} else if (strcmp(what, "truncate") == 0) {
		done(glfs_truncate(fs, path, len));
	} else if (strcmp(what, "utimes") == 0) {
		const long long second = 1000000000;
		struct timespec t[2] = {{off / second, off % second}, {len / second, len % second}};
		for (int i = 0; i < 2; i++)
			if (t[i].tv_nsec < 0)
				t[i].tv_sec--, t[i].tv_nsec += second;
		done(glfs_utimens(fs, path, t));
	} else if (strcmp(what, "lstat") == 0) {
		attributes(glfs_lstat(fs, path, &st), &st);
	} else if (strcmp(what, "stat") == 0) {
		attributes(glfs_stat(fs, path, &st), &st);
	} else if (strcmp(what, "readlink") == 0) {
		n = glfs_readlink(fs, path, buf, sizeof buf);
		n < 0 ? done(1) : answer(0, 0, buf, (size_t)n);
	} else if (strcmp(what, "readdir") == 0) {
		listing(path);
	} else if (strcmp(what, "readfile") == 0) {
		contents(path);
	} else if (strcmp(what, "setxattr") == 0) {
		done(glfs_lsetxattr(fs, path, name, value, size, flags));
	} else if (strcmp(what, "removexattr") == 0) {
		done(glfs_lremovexattr(fs, path, name));
	} else if (strcmp(what, "getxattr") == 0) {
		n = glfs_lgetxattr(fs, path, name, buf, sizeof buf);
		n < 0 ? done(1) : answer(0, 0, buf, (size_t)n);
	} else if (strcmp(what, "listxattr") == 0) {
		n = glfs_llistxattr(fs, path, buf, sizeof buf);
		n < 0 ? done(1) : answer(0, 0, buf, (size_t)n);
	} else {
		answer(-2, 0, NULL, 0);
	}
}

/* unhex reads bytes in hexadecimal in their place, and puts a NUL behind them. */
static size_t unhex(char *text)
{
	size_t n = 0;
	for (char *p = text + 1; p[0] && p[1]; p += 2) {
		char two[3] = {p[0], p[1], 0};
		text[n++] = (char)strtol(two, NULL, 16);
	}
	text[n] = 0;
	return n;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	fs = glfs_new(argv[3]);
	if (!fs || glfs_set_volfile_server(fs, "tcp", argv[1], atoi(argv[2])) != 0 || glfs_init(fs) != 0) {
		perror("glfs_init");
		return 1;
	}
	char *line = NULL;
	size_t room = 0;
	while (getline(&line, &room, stdin) > 0) {
		char *w[13], *rest = line;
		for (int i = 0; i < 13; i++)
			if (!(w[i] = strtok_r(rest, " \n", &rest)))
				return 2;
		for (int i = 9; i < 12; i++)
			unhex(w[i]);
		size_t size = unhex(w[12]);
		int slot = atoi(w[1]), flags = atoi(w[3]);
		unsigned caller = (unsigned)strtoul(w[2], NULL, 10), mode = (unsigned)strtoul(w[4], NULL, 10);
		long long off = atoll(w[5]), len = atoll(w[6]);
		if (slot < 0 || slot >= SLOTS || glfs_setfsuid(caller) != 0 || glfs_setfsgid(caller) != 0 || glfs_setfsgroups(0, NULL) != 0)
			return 2;
		errno = 0;
		if (slot > 0)
			on_file(w[0], slot, flags, mode, off, len, w[9], (unsigned char *)w[12], size);
		else
			on_name(w[0], flags, mode, off, len, (unsigned)atoll(w[7]), (unsigned)atoll(w[8]), w[9], w[10], w[11], (unsigned char *)w[12], size);
	}
	free(line);
	for (int i = 0; i < SLOTS; i++)
		if (slots[i])
			glfs_close(slots[i]);
	return glfs_fini(fs) != 0;
}
