/* What the library gives to the application to look at and to free. */

#include <stdlib.h>
#include <string.h>

#include "shim.h"

/* record checks that p is one of ours, of the given kind. */
static void *record(void *p, uint32_t kind)
{
	struct wythe_record *r = p;
	if (!r || r->magic != WYTHE_RECORD || r->kind != kind) {
		errno = EINVAL;
		return NULL;
	}
	return r;
}

static void close_object(int64_t object)
{
	if (object)
		glfs_h_close((glfs_object_t *)object);
}

/* Text is given out with its head in front; the others begin with theirs. */
void glfs_free(void *data)
{
	if (!data)
		return;
	int before = errno;
	struct wythe_record *r = data;
	switch (r->magic == WYTHE_RECORD ? r->kind : 0) {
	case WYTHE_UPCALL: {
		struct wythe_upcall *u = data;
		if (u->inode.head.kind == WYTHE_UPCALL_INODE) {
			close_object(u->inode.object);
			close_object(u->inode.pobject);
			close_object(u->inode.oldpobject);
		} else {
			close_object(u->lease.object);
		}
		break;
	}
	case WYTHE_XSTAT:
		close_object(((struct wythe_xstat *)data)->object);
		break;
	default:
		r--;
		if (r->magic != WYTHE_RECORD || r->kind != WYTHE_TEXT) {
			errno = before;
			return; /* not ours: nothing that could be done is right */
		}
	}
	r->magic = 0;
	free(r);
	errno = before;
}

glfs_t *glfs_upcall_get_fs(glfs_upcall_t *arg)
{
	struct wythe_upcall *u = record(arg, WYTHE_UPCALL);
	return u ? (glfs_t *)u->fs : NULL;
}

glfs_upcall_reason_t glfs_upcall_get_reason(glfs_upcall_t *arg)
{
	struct wythe_upcall *u = record(arg, WYTHE_UPCALL);
	return u ? (glfs_upcall_reason_t)u->reason : GLFS_UPCALL_EVENT_NULL;
}

void *glfs_upcall_get_event(glfs_upcall_t *arg)
{
	struct wythe_upcall *u = record(arg, WYTHE_UPCALL);
	return u ? &u->inode : NULL;
}

static struct wythe_upcall_inode *inode(glfs_upcall_inode_t *arg) { return record(arg, WYTHE_UPCALL_INODE); }
static struct wythe_upcall_lease *lease(glfs_upcall_lease_t *arg) { return record(arg, WYTHE_UPCALL_LEASE); }

glfs_object_t *glfs_upcall_inode_get_object(glfs_upcall_inode_t *arg)
{
	struct wythe_upcall_inode *i = inode(arg);
	return i ? (glfs_object_t *)i->object : NULL;
}

glfs_object_t *glfs_upcall_inode_get_pobject(glfs_upcall_inode_t *arg)
{
	struct wythe_upcall_inode *i = inode(arg);
	return i ? (glfs_object_t *)i->pobject : NULL;
}

glfs_object_t *glfs_upcall_inode_get_oldpobject(glfs_upcall_inode_t *arg)
{
	struct wythe_upcall_inode *i = inode(arg);
	return i ? (glfs_object_t *)i->oldpobject : NULL;
}

uint64_t glfs_upcall_inode_get_flags(glfs_upcall_inode_t *arg)
{
	struct wythe_upcall_inode *i = inode(arg);
	return i ? i->flags : 0;
}

uint64_t glfs_upcall_inode_get_expire(glfs_upcall_inode_t *arg)
{
	struct wythe_upcall_inode *i = inode(arg);
	return i ? i->expire : 0;
}

struct stat *glfs_upcall_inode_get_stat(glfs_upcall_inode_t *arg)
{
	struct wythe_upcall_inode *i = inode(arg);
	return i ? &i->stat : NULL;
}

struct stat *glfs_upcall_inode_get_pstat(glfs_upcall_inode_t *arg)
{
	struct wythe_upcall_inode *i = inode(arg);
	return i ? &i->pstat : NULL;
}

struct stat *glfs_upcall_inode_get_oldpstat(glfs_upcall_inode_t *arg)
{
	struct wythe_upcall_inode *i = inode(arg);
	return i ? &i->oldpstat : NULL;
}

glfs_object_t *glfs_upcall_lease_get_object(glfs_upcall_lease_t *arg)
{
	struct wythe_upcall_lease *l = lease(arg);
	return l ? (glfs_object_t *)l->object : NULL;
}

uint32_t glfs_upcall_lease_get_lease_type(glfs_upcall_lease_t *arg)
{
	struct wythe_upcall_lease *l = lease(arg);
	return l ? l->type : 0;
}

struct stat *glfs_xreaddirplus_get_stat(glfs_xreaddirp_stat_t *xstat)
{
	struct wythe_xstat *x = record(xstat, WYTHE_XSTAT);
	if (x && !(x->flags & GFAPI_XREADDIRP_STAT)) {
		errno = EINVAL;
		return NULL;
	}
	return x ? &x->stat : NULL;
}

glfs_object_t *glfs_xreaddirplus_get_object(glfs_xreaddirp_stat_t *xstat)
{
	struct wythe_xstat *x = record(xstat, WYTHE_XSTAT);
	if (x && !(x->flags & GFAPI_XREADDIRP_HANDLE)) {
		errno = EINVAL;
		return NULL;
	}
	return x ? (glfs_object_t *)x->object : NULL;
}

/* Functions of old whose results had another form. */

char *glfs_realpath_old(glfs_t *fs, const char *path, char *buf);
char *glfs_realpath_old(glfs_t *fs, const char *path, char *buf)
{
	struct wythe_call c = {.op = WYTHE_REALPATH, .arg = {(int64_t)fs, (int64_t)path, (int64_t)buf}};
	char *found = wythe_call_pointer(&c, EINVAL);
	if (!found || buf)
		return found;
	char *copy = strdup(found); /* its callers use free(3) */
	int err = copy ? errno : ENOMEM;
	glfs_free(found);
	errno = err;
	return copy;
}
__asm__(".symver glfs_realpath_old,glfs_realpath@GFAPI_3.4.0");

/* The argument of glfs_h_poll_upcall before 3.7.16, and what it points to, which
 * goes to free(3). */
struct callback_inode_arg {
	glfs_object_t *object;
	int flags;
	struct stat buf;
	unsigned int expire_time_attr;
	glfs_object_t *p_object;
	struct stat p_buf;
	glfs_object_t *oldp_object;
	struct stat oldp_buf;
};
struct callback_arg {
	glfs_t *fs;
	int reason;
	struct callback_inode_arg *event_arg;
};

int glfs_h_poll_upcall_old(glfs_t *fs, void *arg);
int glfs_h_poll_upcall_old(glfs_t *fs, void *arg)
{
	struct callback_arg *out = arg;
	glfs_upcall_t *up = NULL;
	if (!out) {
		errno = EINVAL;
		return -1;
	}
	struct wythe_call c = {.op = WYTHE_H_POLL_UPCALL, .arg = {(int64_t)fs, (int64_t)&up}};
	int ret = (int)wythe_call(&c, EINVAL), err = errno;
	memset(out, 0, sizeof *out);
	out->fs = fs;
	if (ret == 0 && up) {
		struct wythe_upcall *u = (struct wythe_upcall *)up;
		struct callback_inode_arg *in = calloc(1, sizeof *in);
		if (!in) {
			glfs_free(up);
			errno = ENOMEM;
			return -1;
		}
		out->reason = u->reason;
		out->event_arg = in;
		in->object = (glfs_object_t *)u->inode.object;
		in->flags = (int)u->inode.flags;
		in->buf = u->inode.stat;
		in->expire_time_attr = (unsigned int)u->inode.expire;
		in->p_object = (glfs_object_t *)u->inode.pobject;
		in->p_buf = u->inode.pstat;
		in->oldp_object = (glfs_object_t *)u->inode.oldpobject;
		in->oldp_buf = u->inode.oldpstat;
		u->inode.object = u->inode.pobject = u->inode.oldpobject = 0;
		glfs_free(up);
	}
	errno = err;
	return ret;
}
__asm__(".symver glfs_h_poll_upcall_old,glfs_h_poll_upcall@GFAPI_3.7.0");
