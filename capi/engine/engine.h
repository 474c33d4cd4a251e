/* What the C and the Go of the engine share. */
#ifndef WYTHE_ENGINE_H
#define WYTHE_ENGINE_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include <glusterfs/api/glfs.h>

#include "abi.h"

typedef struct wythe_call wythe_call;
typedef struct wythe_who wythe_who;

/* queue.c */
wythe_call *wythe_take(void);
int wythe_host_abi(struct wythe_host *host);
uint32_t wythe_host_generation(struct wythe_host *host);
void wythe_host_io(struct wythe_host *host, int64_t function, int32_t old, int64_t fd, int64_t ret, int32_t err, void *pre, void *post, int64_t data);
void wythe_host_upcall(struct wythe_host *host, int64_t function, void *arg, int64_t data);
void wythe_host_recall(struct wythe_host *host, int64_t function, const void *lease, int64_t data);

#endif
