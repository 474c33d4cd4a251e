/* The way of a call, and what each thread keeps. */

#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "shim.h"

static __thread struct wythe_thread *self;
static pthread_key_t key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static void forget(void *t)
{
	self = NULL;
	free(((struct wythe_thread *)t)->groups);
	free(t);
}

static void make_key(void) { pthread_key_create(&key, forget); }

struct wythe_thread *wythe_thread(void)
{
	if (self)
		return self;
	pthread_once(&key_once, make_key);
	struct wythe_thread *t = calloc(1, sizeof *t);
	if (t && pthread_setspecific(key, t) != 0) {
		free(t);
		t = NULL;
	}
	if (!t)
		errno = ENOMEM;
	return self = t;
}

/* room makes room for n groups. */
static int room(struct wythe_thread *t, size_t n)
{
	if (n <= t->room)
		return 1;
	uint32_t *more = realloc(t->groups, n * sizeof *more);
	if (!more)
		return 0;
	t->groups = more;
	t->room = (uint32_t)n;
	return 1;
}

/* identify fills in who calls: what was set for this thread, else its effective
 * ids. The system calls are made directly, because the C library's would tell
 * those of the process, and smbd changes those of threads. */
static int identify(struct wythe_thread *t)
{
	struct wythe_who *w = &t->who;
	if (!t->has_uid)
		w->uid = (uint32_t)syscall(SYS_geteuid);
	if (!t->has_gid)
		w->gid = (uint32_t)syscall(SYS_getegid);
	if (!t->has_pid)
		w->pid = (int32_t)getpid();
	if (!t->has_groups) {
		long n;
		while ((n = syscall(SYS_getgroups, (int)t->room, t->groups)) < 0 || (t->room == 0 && n > 0)) {
			if (n < 0 && errno != EINVAL)
				return 0;
			if ((n = syscall(SYS_getgroups, 0, NULL)) < 0 || !room(t, (size_t)n + 8))
				return 0;
		}
		w->ngroups = (uint32_t)n;
	}
	w->groups = t->groups;
	return 1;
}

/* enter goes into Go. No handler of the application may run there, and Go may
 * leave nothing behind: not even its signal stack, which it keeps for this thread
 * from the first time on. */
static int enter(struct wythe_engine *e, struct wythe_thread *t, struct wythe_call *c)
{
	if (t->inside) /* a thread of the engine, which has all that already */
		return e->enter(c);
	uint64_t all = ~(uint64_t)0, mask;
	if (t->generation != e->generation) {
		t->generation = e->generation;
		memset(&t->go_stack, 0, sizeof t->go_stack);
		t->go_stack.ss_flags = SS_DISABLE;
	}
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &mask, sizeof all);
	stack_t own;
	int done;
	if (sigaltstack(&t->go_stack, &own) != 0) {
		/* We are in a handler on a signal stack. */
		e->submit(c);
		done = 0;
	} else {
		done = e->enter(c);
		sigaltstack(&own, &t->go_stack);
	}
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof all);
	return done;
}

static void wait_for(struct wythe_call *c)
{
	int32_t state = WYTHE_PENDING;
	if (!__atomic_compare_exchange_n(&c->state, &state, WYTHE_WAITED_FOR, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return;
	while (__atomic_load_n(&c->state, __ATOMIC_ACQUIRE) != WYTHE_DONE)
		syscall(SYS_futex, &c->state, FUTEX_WAIT_PRIVATE, WYTHE_WAITED_FOR, NULL, NULL, 0);
}

int64_t wythe_invoke(struct wythe_engine *e, struct wythe_call *c)
{
	struct wythe_thread *t = wythe_thread();
	if (!t || !identify(t)) {
		errno = ENOMEM;
		return -1;
	}
	c->who = &t->who;
	if (e->queue && !t->inside) {
		e->submit(c);
		wait_for(c);
	} else if (!enter(e, t, c)) {
		wait_for(c);
	}
	errno = c->err;
	return c->ret;
}

int64_t wythe_call(struct wythe_call *c, int refusal)
{
	struct wythe_engine *e = wythe_engine_now();
	if (!e) {
		errno = refusal;
		return -1;
	}
	return wythe_invoke(e, c);
}

void *wythe_call_pointer(struct wythe_call *c, int refusal)
{
	int64_t ret = wythe_call(c, refusal);
	return ret == -1 ? NULL : (void *)ret;
}

/* Callbacks, on threads of the engine. What they call in turn needs no guard. */

static void io(int64_t function, int32_t old, int64_t fd, int64_t ret, int32_t err, void *pre, void *post, int64_t data)
{
	struct wythe_thread *t = wythe_thread();
	if (t)
		t->inside++;
	errno = err;
	if (old)
		((glfs_io_cbk34)function)((glfs_fd_t *)fd, (ssize_t)ret, (void *)data);
	else
		((glfs_io_cbk)function)((glfs_fd_t *)fd, (ssize_t)ret, pre, post, (void *)data);
	if (t)
		t->inside--;
}

static void upcall(int64_t function, void *arg, int64_t data)
{
	struct wythe_thread *t = wythe_thread();
	if (t)
		t->inside++;
	((glfs_upcall_cbk)function)(arg, (void *)data);
	if (t)
		t->inside--;
}

static void recall(int64_t function, const void *lease, int64_t data)
{
	struct wythe_thread *t = wythe_thread();
	if (t)
		t->inside++;
	((glfs_recall_cbk)function)(*(const glfs_lease_t *)lease, (void *)data);
	if (t)
		t->inside--;
}

struct wythe_host wythe_host = {WYTHE_ABI, 0, io, upcall, recall};

/* What threads set for themselves. */

int glfs_setfsuid(uid_t uid)
{
	struct wythe_thread *t = wythe_thread();
	if (!t)
		return -1;
	t->who.uid = uid;
	t->has_uid = 1;
	return 0;
}

int glfs_setfsgid(gid_t gid)
{
	struct wythe_thread *t = wythe_thread();
	if (!t)
		return -1;
	t->who.gid = gid;
	t->has_gid = 1;
	return 0;
}

int glfs_setfsgroups(size_t size, const gid_t *list)
{
	if (size > 0 && !list) {
		errno = EINVAL;
		return -1;
	}
	struct wythe_thread *t = wythe_thread();
	if (!t)
		return -1;
	if (size > 65536) {
		errno = EINVAL;
		return -1;
	}
	if (!room(t, size)) {
		errno = ENOMEM;
		return -1;
	}
	if (size > 0)
		memcpy(t->groups, list, size * sizeof *list);
	t->who.ngroups = (uint32_t)size;
	t->has_groups = 1;
	return 0;
}

int glfs_setfspid(glfs_t *fs, pid_t pid);
int glfs_setfspid(glfs_t *fs, pid_t pid)
{
	if (!fs) {
		errno = EINVAL;
		return -1;
	}
	struct wythe_thread *t = wythe_thread();
	if (!t)
		return -1;
	t->who.pid = pid;
	t->has_pid = 1;
	return 0;
}

int glfs_setfsleaseid(glfs_leaseid_t id)
{
	struct wythe_thread *t = wythe_thread();
	if (!t)
		return -1;
	if (id)
		memcpy(t->who.lease, id, sizeof t->who.lease);
	else
		memset(t->who.lease, 0, sizeof t->who.lease);
	t->who.has_lease = 1;
	return 0;
}

glfs_t *glfs_new(const char *volname)
{
	if (!volname) {
		errno = EINVAL;
		return NULL;
	}
	struct wythe_engine *e = wythe_engine_load();
	if (!e)
		return NULL;
	struct wythe_call c = {.op = WYTHE_NEW, .arg = {(int64_t)volname}};
	int64_t ret = wythe_invoke(e, &c);
	return ret == -1 ? NULL : (glfs_t *)ret;
}
