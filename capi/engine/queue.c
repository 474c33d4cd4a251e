//go:build linux && cgo

/* The queue of calls from threads that do not enter Go, and the ways back to the
 * shim. */

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine.h"

static wythe_call *calls;  /* the newest first */
static int32_t waiting;    /* a taker sleeps on it while it is 1 */

/* wythe_submit is called by threads of the application. */
void wythe_submit(struct wythe_call *c)
{
	c->next = __atomic_load_n(&calls, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&calls, &c->next, c, 1, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		;
	if (__atomic_exchange_n(&waiting, 0, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, &waiting, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* wythe_take waits for calls and returns them, the oldest first. */
wythe_call *wythe_take(void)
{
	for (;;) {
		wythe_call *c = __atomic_exchange_n(&calls, NULL, __ATOMIC_SEQ_CST), *list = NULL;
		while (c) {
			wythe_call *next = c->next;
			c->next = list;
			list = c;
			c = next;
		}
		if (list)
			return list;
		__atomic_store_n(&waiting, 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&calls, __ATOMIC_SEQ_CST))
			continue;
		syscall(SYS_futex, &waiting, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
	}
}

int wythe_host_abi(struct wythe_host *host) { return (int)host->abi; }

uint32_t wythe_host_generation(struct wythe_host *host) { return host->generation; }

void wythe_host_io(struct wythe_host *host, int64_t function, int32_t old, int64_t fd, int64_t ret, int32_t err, void *pre, void *post, int64_t data)
{
	host->io(function, old, fd, ret, err, pre, post, data);
}

void wythe_host_upcall(struct wythe_host *host, int64_t function, void *arg, int64_t data) { host->upcall(function, arg, data); }

void wythe_host_recall(struct wythe_host *host, int64_t function, const void *lease, int64_t data) { host->recall(function, lease, data); }
