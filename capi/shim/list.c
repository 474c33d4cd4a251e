/* Listing directories. An entry costs less than the way into the engine, so the
 * engine gives as many at once as it has, and they are handed out here. Where a
 * listing is, is known here then, and not in the engine. */

#include <stdlib.h>
#include <string.h>

#include "shim.h"

#define BATCH (32 << 10)

/* The listing of an open directory. */
struct wythe_list {
	struct wythe_list *next; /* of those in the same bucket */
	int64_t fd, fs;
	int32_t lock;            /* held by who lists; what follows belongs to him */
	int refs;                /* of the bucket and of those who use it */
	uint64_t pos;            /* of the next entry */
	size_t at, end;          /* of what is left in batch */
	int plus;                /* there are attributes in batch */
	struct dirent shared;    /* for those who bring none */
	_Alignas(8) char batch[BATCH];
};

static void leave(struct wythe_list *l)
{
	if (__atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(l);
}

/* find finds the listing of fd, or makes it. It must be left. */
static struct wythe_list *find(glfs_fd_t *fd, int make)
{
	struct wythe_bucket *b = wythe_bucket((int64_t)fd);
	if (!b || (!make && !__atomic_load_n(&b->first, __ATOMIC_ACQUIRE)))
		return NULL;
	wythe_lock(&b->lock);
	struct wythe_list *l = b->first;
	while (l && l->fd != (int64_t)fd)
		l = l->next;
	if (!l && make && (l = malloc(sizeof *l))) {
		memset(l, 0, sizeof *l - sizeof l->batch);
		l->fd = (int64_t)fd;
		l->refs = 1;
		l->next = b->first;
		b->first = l;
	}
	if (l)
		__atomic_add_fetch(&l->refs, 1, __ATOMIC_RELAXED);
	wythe_unlock(&b->lock);
	return l;
}

/* forget ends the listings of fd, or those of fs if that is not 0. */
static void forget(struct wythe_bucket *b, int64_t fd, int64_t fs)
{
	struct wythe_list *gone = NULL;
	if (!b || !__atomic_load_n(&b->first, __ATOMIC_ACQUIRE))
		return;
	wythe_lock(&b->lock);
	for (struct wythe_list **p = &b->first; *p;) {
		struct wythe_list *l = *p;
		if (fs ? l->fs != fs : l->fd != fd) {
			p = &l->next;
			continue;
		}
		*p = l->next;
		l->next = gone;
		gone = l;
	}
	wythe_unlock(&b->lock);
	while (gone) {
		struct wythe_list *l = gone;
		gone = l->next;
		leave(l);
	}
}

/* engine_at has the engine go on where the listing is. */
static void engine_at(struct wythe_list *l)
{
	struct wythe_call c = {.op = WYTHE_SEEKDIR, .arg = {l->fd, (int64_t)l->pos}};
	wythe_call(&c, EBADF);
	l->at = l->end = 0;
}

/* entry is the next entry, NULL at the end (errno 0) and when there is none. */
static struct wythe_entry *entry(struct wythe_list *l, int plus)
{
	if (l->at < l->end && plus && !l->plus)
		engine_at(l);
	if (l->at == l->end) {
		struct wythe_call c = {.op = WYTHE_READDIR_R, .arg = {l->fd, plus, (int64_t)l->batch, sizeof l->batch}};
		int64_t n = wythe_call(&c, EBADF);
		if (n <= 0)
			return NULL;
		l->at = 0, l->end = (size_t)n;
		l->plus = plus;
		l->fs = c.arg[4];
	}
	struct wythe_entry *e = (struct wythe_entry *)(l->batch + l->at);
	l->at += e->size;
	l->pos = e->off;
	errno = 0;
	return e;
}

static const char *name_of(const struct wythe_entry *e) { return (const char *)(e + 1) + (e->plus ? sizeof(struct stat) : 0); }

/* list gives the next entry to own, or to the listing's dirent. */
static int list(glfs_fd_t *fd, int plus, struct stat *stat, struct dirent *own, struct dirent **result)
{
	*result = NULL;
	if (!wythe_engine_now()) {
		errno = EBADF;
		return -1;
	}
	struct wythe_list *l = find(fd, 1);
	if (!l) {
		errno = ENOMEM;
		return -1;
	}
	wythe_lock(&l->lock);
	const struct wythe_entry *e = entry(l, plus);
	int err = errno;
	if (e) {
		struct dirent *d = own ? own : &l->shared;
		d->d_ino = e->ino;
		d->d_off = (off_t)e->off;
		d->d_reclen = sizeof *d;
		d->d_type = e->type;
		memcpy(d->d_name, name_of(e), e->name_len + 1u);
		if (plus)
			memcpy(stat, e + 1, sizeof *stat);
		*result = d;
	}
	wythe_unlock(&l->lock);
	if (err == EBADF)
		forget(wythe_bucket(l->fd), l->fd, 0);
	leave(l);
	errno = err;
	return err ? -1 : 0;
}

int glfs_readdir_r(glfs_fd_t *fd, struct dirent *dirent, struct dirent **result)
{
	return glfs_readdirplus_r(fd, NULL, dirent, result);
}

int glfs_readdirplus_r(glfs_fd_t *fd, struct stat *stat, struct dirent *dirent, struct dirent **result)
{
	if (!result) {
		errno = EINVAL;
		return -1;
	}
	return list(fd, stat != NULL, stat, dirent, result);
}

struct dirent *glfs_readdir(glfs_fd_t *fd) { return glfs_readdirplus(fd, NULL); }

struct dirent *glfs_readdirplus(glfs_fd_t *fd, struct stat *stat)
{
	struct dirent *d;
	list(fd, stat != NULL, stat, NULL, &d);
	return d;
}

long glfs_telldir(glfs_fd_t *fd)
{
	struct wythe_engine *e = wythe_engine_now();
	struct wythe_list *l = e ? find(fd, 0) : NULL;
	if (!l) {
		struct wythe_call c = {.op = WYTHE_TELLDIR, .arg = {(int64_t)fd}};
		return wythe_call(&c, EBADF);
	}
	wythe_lock(&l->lock);
	long pos = (long)l->pos;
	wythe_unlock(&l->lock);
	leave(l);
	errno = 0;
	return pos;
}

void glfs_seekdir(glfs_fd_t *fd, long offset)
{
	struct wythe_list *l = wythe_engine_now() ? find(fd, 0) : NULL;
	if (!l) {
		struct wythe_call c = {.op = WYTHE_SEEKDIR, .arg = {(int64_t)fd, offset}};
		wythe_call(&c, EBADF);
		return;
	}
	wythe_lock(&l->lock);
	errno = 0;
	if (l->pos != (uint64_t)offset) {
		size_t at = 0;
		while (at < l->end) {
			struct wythe_entry *e = (struct wythe_entry *)(l->batch + at);
			at += e->size;
			if (e->off == (uint64_t)offset)
				break;
			if (at == l->end)
				at = SIZE_MAX;
		}
		l->pos = (uint64_t)offset;
		if (l->end > 0 && at != SIZE_MAX)
			l->at = at;
		else
			engine_at(l);
	}
	wythe_unlock(&l->lock);
	leave(l);
}

int glfs_xreaddirplus_r(glfs_fd_t *fd, uint32_t flags, glfs_xreaddirp_stat_t **xstat, struct dirent *dirent, struct dirent **result)
{
	struct wythe_call c = {.op = WYTHE_XREADDIRPLUS_R, .arg = {(int64_t)fd, flags, (int64_t)xstat, (int64_t)dirent, (int64_t)result}};
	struct wythe_list *l = wythe_engine_now() ? find(fd, 1) : NULL;
	if (!l)
		return (int)wythe_call(&c, EBADF);
	wythe_lock(&l->lock);
	if (l->at < l->end)
		engine_at(l);
	if (!dirent)
		c.arg[3] = (int64_t)&l->shared;
	int ret = (int)wythe_call(&c, EBADF), err = errno;
	if (ret >= 0)
		l->fs = c.arg[5];
	if (ret >= 0 && *result)
		l->pos = (uint64_t)(*result)->d_off, l->at = l->end = 0;
	wythe_unlock(&l->lock);
	if (err == EBADF)
		forget(wythe_bucket(l->fd), l->fd, 0);
	leave(l);
	errno = err;
	return ret;
}

/* What ends listings. */

int glfs_close(glfs_fd_t *fd)
{
	struct wythe_call c = {.op = WYTHE_CLOSE, .arg = {(int64_t)fd}};
	if (wythe_engine_now())
		forget(wythe_bucket((int64_t)fd), (int64_t)fd, 0);
	return (int)wythe_call(&c, EBADF);
}

int glfs_closedir(glfs_fd_t *fd) { return glfs_close(fd); }

int glfs_fini(glfs_t *fs)
{
	struct wythe_call c = {.op = WYTHE_FINI, .arg = {(int64_t)fs}};
	int ret = (int)wythe_call(&c, EINVAL), err = errno;
	if (ret == 0)
		for (int64_t i = 0; i < WYTHE_BUCKETS; i++)
			forget(wythe_bucket(i), 0, (int64_t)fs);
	errno = err;
	return ret;
}
