/* An engine without Go, for tests of the shim alone: it checks how it is entered,
 * leaves a signal stack behind as Go does, answers half of the calls later from
 * threads of its own, and knows nothing of volumes. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/futex.h>

#include "../shim/abi.h"
#include "../shim/calls_gen.h"

#define MUST(call) do { if (!(call)) { fprintf(stderr, "fakeengine: %s:%d: %s failed\n", __FILE__, __LINE__, #call); _exit(7); } } while (0)

static struct wythe_host *host;
static __thread char go_stack[32 << 10];
static __thread int ours; /* a thread of the engine, which needs no guard */

static void *xalloc(size_t size, uint32_t kind)
{
	struct wythe_record *r = calloc(1, size);
	MUST(r);
	r->magic = WYTHE_RECORD, r->kind = kind;
	return r;
}

static void answer(struct wythe_call *c)
{
	c->err = 0;
	c->ret = 0;
	switch (c->op) {
	case WYTHE_NEW:
		c->ret = 1000;
		break;
	case WYTHE_CREAT:
		c->ret = 2000;
		break;
	case WYTHE_STAT:
		c->ret = -1, c->err = ENOENT;
		break;
	case WYTHE_ACCESS: /* tells who asks */
		c->ret = c->who->uid;
		MUST(c->who->ngroups <= 65536 && (c->who->ngroups == 0 || c->who->groups));
		break;
	case WYTHE_REALPATH: {
		struct wythe_record *r = xalloc(sizeof *r + 16, WYTHE_TEXT);
		strcpy((char *)(r + 1), "/real/path");
		c->ret = (int64_t)(r + 1);
		break;
	}
	case WYTHE_H_POLL_UPCALL: {
		struct wythe_upcall *u = xalloc(sizeof *u, WYTHE_UPCALL);
		u->reason = 1;
		u->inode.head = (struct wythe_record){WYTHE_RECORD, WYTHE_UPCALL_INODE, 0};
		u->inode.object = 5, u->inode.flags = 1, u->inode.stat.st_ino = 77;
		*(void **)c->arg[1] = u;
		c->ret = 0;
		break;
	}
	case WYTHE_READDIR_R: /* gives two entries, again and again */
		for (int i = 0; i < 2; i++) {
			size_t stat = c->arg[1] ? sizeof(struct stat) : 0;
			struct wythe_entry *e = (struct wythe_entry *)(c->arg[2] + c->ret * i);
			*e = (struct wythe_entry){.size = (uint32_t)(sizeof *e + stat + 8), .name_len = 2, .plus = stat != 0, .ino = 50, .off = (uint64_t)i + 1};
			if (stat)
				*(struct stat *)(e + 1) = (struct stat){.st_ino = 50};
			strcpy((char *)(e + 1) + stat, i ? "e2" : "e1");
			c->ret = e->size;
		}
		c->ret *= 2;
		c->arg[4] = 1000;
		break;
	case WYTHE_XREADDIRPLUS_R: {
		struct wythe_xstat *x = xalloc(sizeof *x, WYTHE_XSTAT);
		x->flags = 1;
		*(void **)c->arg[2] = x;
		*(void **)c->arg[4] = NULL;
		c->ret = 1;
		break;
	}
	case WYTHE_PREAD_ASYNC:
		c->ret = 0;
		host->io(c->arg[5], c->old, c->arg[0], 42, ENOENT, NULL, NULL, c->arg[6]);
		break;
	default:
		c->ret = c->op;
	}
}

static void finish(struct wythe_call *c)
{
	answer(c);
	if (__atomic_exchange_n(&c->state, WYTHE_DONE, __ATOMIC_ACQ_REL) == WYTHE_WAITED_FOR)
		syscall(SYS_futex, &c->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *work(void *call)
{
	ours = 1;
	finish(call);
	return NULL;
}

void wythe_submit(struct wythe_call *c)
{
	pthread_t t;
	MUST(pthread_create(&t, NULL, work, c) == 0 && pthread_detach(t) == 0);
}

int wythe_enter(struct wythe_call *c)
{
	static int count;
	sigset_t mask;
	stack_t ss, mine = {.ss_sp = go_stack, .ss_size = sizeof go_stack};
	MUST(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
	for (int s = 1; s < 32 && !ours; s++)
		MUST(s == SIGKILL || s == SIGSTOP || sigismember(&mask, s));
	if (!ours) { /* at the first time there is no signal stack, later it is ours */
		MUST(sigaltstack(NULL, &ss) == 0);
		MUST((ss.ss_flags & SS_DISABLE) || ss.ss_sp == go_stack);
		MUST(sigaltstack(&mine, NULL) == 0);
	}
	if (__atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) % 2) {
		answer(c);
		return 1;
	}
	wythe_submit(c);
	return 0;
}

int wythe_start(struct wythe_host *h)
{
	if (h->abi != WYTHE_ABI)
		return WYTHE_ABI;
	host = h;
	return 0;
}
