/* The inside of libgfapi.so.0. Read abi.h for what goes to the engine, then
 * engine.c for its life, thread.c for the way of a call, list.c, records.c and
 * acl.c for what is done here. entry_gen.c has the functions. */
#ifndef WYTHE_SHIM_H
#define WYTHE_SHIM_H

#include <glusterfs/api/glfs-handles.h>
#include <glusterfs/api/glfs.h>
#include <signal.h>

#include "abi.h"
#include "calls_gen.h"

/* A callback as it was before version 6.0. */
typedef void (*glfs_io_cbk34)(glfs_fd_t *fd, ssize_t ret, void *data);

/* The engine of this process. */
struct wythe_engine {
	wythe_enter_fn *enter;
	wythe_submit_fn *submit;
	uint64_t generation; /* counts engines in this process and its ancestors */
	int queue;           /* never enter Go from here */
};

/* wythe_engine_now returns the engine, NULL if this process has none yet.
 * wythe_engine_load loads it; if it cannot, it returns NULL and sets errno. */
struct wythe_engine *wythe_engine_now(void);
struct wythe_engine *wythe_engine_load(void);

/* Locks are words that are 0 at first. */
void wythe_lock(int32_t *l);
void wythe_unlock(int32_t *l);

/* Listings are found by their directory's handle; see list.c. A process that was
 * forked has none. */
enum { WYTHE_BUCKETS = 128 };
struct wythe_bucket {
	int32_t lock;
	struct wythe_list *first;
};
struct wythe_bucket *wythe_bucket(int64_t handle);

/* Everything about one thread. */
struct wythe_thread {
	struct wythe_who who;
	uint32_t has_uid : 1, has_gid : 1, has_groups : 1, has_pid : 1;
	uint32_t *groups;       /* of glfs_setfsgroups, or as many as the kernel says */
	uint32_t room;          /* in groups */
	int inside;             /* callbacks that run here, on a thread of the engine */
	uint64_t generation;    /* of the engine that go_stack belongs to */
	stack_t go_stack;       /* Go's signal stack for this thread */
};

/* wythe_thread returns the caller's, NULL if there is no memory. */
struct wythe_thread *wythe_thread(void);

/* wythe_call has the engine carry out a call and waits for it. It returns what
 * the function returns and sets errno. refusal is the errno if there is no
 * engine, for then no handle can be valid. */
int64_t wythe_call(struct wythe_call *c, int refusal);
void *wythe_call_pointer(struct wythe_call *c, int refusal);

/* wythe_invoke is wythe_call on a given engine. */
int64_t wythe_invoke(struct wythe_engine *engine, struct wythe_call *c);

extern struct wythe_host wythe_host;

#endif
