/* The life of the engine: it is loaded when it is first needed, and once more in
 * a process that was forked after that. */

#include <dlfcn.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

#include "shim.h"

/* The page that a fork empties: in a child there is no engine, nobody holds the
 * locks, and no directory is listed. */
struct page {
	int32_t alive;
	int32_t lock; /* 0 free, 1 held, 2 held and waited for */
	struct wythe_bucket buckets[WYTHE_BUCKETS];
};
_Static_assert(sizeof(struct page) <= 4096, "a page");

static struct page *page;
static struct wythe_engine engine;

static struct page *the_page(void)
{
	struct page *p = __atomic_load_n(&page, __ATOMIC_ACQUIRE);
	if (p)
		return p;
	p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (madvise(p, sizeof *p, MADV_WIPEONFORK) != 0) {
		munmap(p, sizeof *p);
		errno = ENOSYS;
		return NULL;
	}
	struct page *none = NULL;
	if (!__atomic_compare_exchange_n(&page, &none, p, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		munmap(p, sizeof *p);
		p = none;
	}
	return p;
}

void wythe_lock(int32_t *l)
{
	int32_t free = 0;
	if (__atomic_compare_exchange_n(l, &free, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	while (__atomic_exchange_n(l, 2, __ATOMIC_ACQUIRE) != 0)
		syscall(SYS_futex, l, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

void wythe_unlock(int32_t *l)
{
	if (__atomic_exchange_n(l, 0, __ATOMIC_RELEASE) == 2)
		syscall(SYS_futex, l, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

struct wythe_bucket *wythe_bucket(int64_t handle)
{
	struct page *p = __atomic_load_n(&page, __ATOMIC_ACQUIRE);
	return p ? &p->buckets[(uint64_t)handle % WYTHE_BUCKETS] : NULL;
}

struct wythe_engine *wythe_engine_now(void)
{
	struct page *p = __atomic_load_n(&page, __ATOMIC_ACQUIRE);
	return p && __atomic_load_n(&p->alive, __ATOMIC_ACQUIRE) ? &engine : NULL;
}

/* engine_path is where the engine is: as WYTHE_GFAPI_ENGINE says, or beside this
 * library. */
static int engine_path(char *path, size_t size)
{
	const char *given = secure_getenv("WYTHE_GFAPI_ENGINE");
	if (given && *given)
		return snprintf(path, size, "%s", given) < (int)size;
	Dl_info info;
	if (!dladdr((void *)engine_path, &info) || !info.dli_fname)
		return 0;
	char real[PATH_MAX];
	if (!realpath(info.dli_fname, real))
		return 0;
	char *slash = strrchr(real, '/');
	return slash && snprintf(path, size, "%.*s/libwythe-gfapi.so", (int)(slash - real), real) < (int)size;
}

/* copied_path copies the engine, for what has been loaded from one file is not
 * loaded from it again, and leaves the path of the copy. The result is a
 * descriptor to close after it is loaded. */
static int copied_path(char *path, size_t size)
{
	int from = open(path, O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return -1;
	struct stat st;
	int to = memfd_create("libwythe-gfapi.so", MFD_CLOEXEC);
	if (to < 0 || fstat(from, &st) != 0)
		goto fail;
	for (off_t off = 0; off < st.st_size;) {
		ssize_t n = sendfile(to, from, &off, (size_t)(st.st_size - off));
		if (n <= 0)
			goto fail;
	}
	close(from);
	snprintf(path, size, "/proc/self/fd/%d", to);
	return to;
fail:
	close(from);
	if (to >= 0)
		close(to);
	return -1;
}

static int load(void)
{
	char path[PATH_MAX + 32];
	if (!engine_path(path, sizeof path)) {
		fprintf(stderr, "libgfapi: the engine libwythe-gfapi.so is not found; set WYTHE_GFAPI_ENGINE to its path\n");
		return ELIBACC;
	}
	int fd = -1;
	if (engine.generation > 0 && (fd = copied_path(path, sizeof path)) < 0) {
		fprintf(stderr, "libgfapi: cannot copy the engine %s, which a forked process needs: %m\n", path);
		return ELIBACC;
	}
	void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (fd >= 0)
		close(fd);
	if (!so) {
		fprintf(stderr, "libgfapi: cannot load the engine: %s; it belongs beside libgfapi.so.0, or where WYTHE_GFAPI_ENGINE says\n", dlerror());
		return ELIBACC;
	}
	wythe_start_fn *start = (wythe_start_fn *)dlsym(so, "wythe_start");
	engine.enter = (wythe_enter_fn *)dlsym(so, "wythe_enter");
	engine.submit = (wythe_submit_fn *)dlsym(so, "wythe_submit");
	if (!start || !engine.enter || !engine.submit) {
		fprintf(stderr, "libgfapi: %s is not the engine of this library\n", path);
		return ELIBBAD;
	}
	const char *mode = secure_getenv("WYTHE_GFAPI_MODE");
	engine.queue = mode && strcmp(mode, "queue") == 0;
	if (mode && *mode && !engine.queue && strcmp(mode, "enter") != 0)
		fprintf(stderr, "libgfapi: WYTHE_GFAPI_MODE is \"%s\"; it is \"enter\" (the default) or \"queue\"\n", mode);
	wythe_host.generation = (uint32_t)++engine.generation;
	int abi = start(&wythe_host);
	if (abi != 0) {
		fprintf(stderr, "libgfapi: %s is of another version (%d, want %d)\n", path, abi, WYTHE_ABI);
		return ELIBBAD;
	}
	return 0;
}

struct wythe_engine *wythe_engine_load(void)
{
	struct page *p = the_page();
	if (!p)
		return NULL;
	if (__atomic_load_n(&p->alive, __ATOMIC_ACQUIRE))
		return &engine;
	/* Threads that the engine starts begin with the signals of this one
	 * blocked: all of them, so that the application's go to its own threads. */
	uint64_t all = ~(uint64_t)0, before;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
	wythe_lock(&p->lock);
	int err = 0;
	if (!p->alive && (err = load()) == 0)
		__atomic_store_n(&p->alive, 1, __ATOMIC_RELEASE);
	wythe_unlock(&p->lock);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof all);
	if (err) {
		errno = err;
		return NULL;
	}
	return &engine;
}
