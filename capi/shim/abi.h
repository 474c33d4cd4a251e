/* What the shim and the engine tell each other. Both are built from one source
 * tree and of one version: WYTHE_ABI is checked when the engine is loaded. */
#ifndef WYTHE_ABI_H
#define WYTHE_ABI_H

#include <dirent.h>
#include <stdint.h>
#include <sys/stat.h>

#define WYTHE_ABI 3

/* On whose behalf a call is made. It belongs to the calling thread. */
struct wythe_who {
	uint32_t uid, gid;
	int32_t pid;
	uint32_t ngroups;
	const uint32_t *groups;
	uint8_t has_lease;
	uint8_t owner_len; /* the engine sets it, too: see glfs_fd_set_lkowner */
	uint8_t lease[16];
	uint8_t owner[255];
};

/* The life of wythe_call.state. */
enum { WYTHE_PENDING = 0, WYTHE_WAITED_FOR = 1, WYTHE_DONE = 2 };

/* A call of a function. It lives on the stack of the caller until it is done. */
struct wythe_call {
	int32_t state;
	int32_t op;           /* enum wythe_op */
	int32_t old;          /* called through the older version of the function */
	int32_t err;          /* the errno to leave behind; 0 if all went well */
	int64_t ret;
	int64_t arg[9];
	struct wythe_who *who;
	struct wythe_call *next; /* in the queue */
};

/* What the library has allocated for the user stands behind this. */
struct wythe_record {
	uint64_t magic; /* WYTHE_RECORD */
	uint32_t kind;
	uint32_t unused;
};
#define WYTHE_RECORD 0x5779746865526563u
enum { WYTHE_TEXT = 1, WYTHE_UPCALL, WYTHE_UPCALL_INODE, WYTHE_UPCALL_LEASE, WYTHE_XSTAT };

/* A glfs_upcall_t, and what its event is. Handles are 0 if there are none. */
struct wythe_upcall_inode {
	struct wythe_record head;
	int64_t object, pobject, oldpobject;
	uint64_t flags, expire;
	struct stat stat, pstat, oldpstat;
};
struct wythe_upcall_lease {
	struct wythe_record head;
	int64_t object;
	uint32_t type;
};
struct wythe_upcall {
	struct wythe_record head;
	int64_t fs;
	int32_t reason;
	union {
		struct wythe_upcall_inode inode;
		struct wythe_upcall_lease lease;
	};
};

/* A glfs_xreaddirp_stat_t. */
struct wythe_xstat {
	struct wythe_record head;
	uint32_t flags;
	int64_t object;
	struct stat stat;
};

/* WYTHE_READDIR_R fills a buffer with entries of a directory, as many as are at
 * hand, one at least, and returns the bytes; 0 at the end. Its arguments are the
 * directory, whether attributes are wanted, the buffer and its size; the engine
 * leaves the volume as a fifth. */
struct wythe_entry {
	uint32_t size;     /* of all of it, a multiple of 8 */
	uint16_t name_len;
	uint8_t type;
	uint8_t plus;      /* a struct stat follows, then the name and a NUL */
	uint64_t ino, off;
};

struct glfs_stat;

/* What the engine calls in the shim, on threads of its own. */
struct wythe_host {
	uint32_t abi;
	/* Tells the engine from those of the processes before a fork. */
	uint32_t generation;
	/* Calls the callback of an _async function. */
	void (*io)(int64_t function, int32_t old, int64_t fd, int64_t ret, int32_t err, void *pre, void *post, int64_t data);
	/* Calls a glfs_upcall_cbk. */
	void (*upcall)(int64_t function, void *arg, int64_t data);
	/* Calls a glfs_recall_cbk. */
	void (*recall)(int64_t function, const void *lease, int64_t data);
};

/* The symbols of the engine. */
typedef int wythe_start_fn(struct wythe_host *host); /* 0, or the ABI that it has */
typedef int wythe_enter_fn(struct wythe_call *call); /* into Go; 1 if it is done */
typedef void wythe_submit_fn(struct wythe_call *call); /* not into Go */

#endif
