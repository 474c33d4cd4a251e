/* Signals of the application while its threads are in the library: handlers run
 * on the stacks that they expect, and find what they left. A timer of 10 kHz
 * has a handler without a stack of its own; SIGUSR1 one with a stack of its own
 * that it nearly fills.
 * Usage: signals HOST PORT VOLUME SECONDS */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <glusterfs/api/glfs.h>

#define MUST(call) do { if (!(call)) { fprintf(stderr, "%s:%d: %s failed: %m\n", __FILE__, __LINE__, #call); _exit(1); } } while (0)
#define STACK (128 << 10)

static volatile long ticks, users;
static volatile int stop;
static __thread char *stack;

static void tick(int sig)
{
	char big[3000];
	memset(big, sig, sizeof big);
	__asm__ volatile("" : : "r"(big) : "memory");
	ticks++;
}

static void user(int sig)
{
	char big[96 << 10]; /* more than Go's signal stack has */
	memset(big, sig, sizeof big);
	__asm__ volatile("" : : "r"(big) : "memory");
	char *here = big;
	if (!stack || here < stack || here >= stack + STACK) {
		static const char text[] = "the handler is not on the stack that was set for it\n";
		(void)!write(2, text, sizeof text - 1);
		_exit(1);
	}
	users++;
}

static int same(const sigset_t *a, const sigset_t *b)
{
	for (int s = 1; s <= SIGRTMAX; s++)
		if (sigismember(a, s) != sigismember(b, s))
			return 0;
	return 1;
}

static void unchanged(const sigset_t *mask)
{
	sigset_t now;
	stack_t ss;
	MUST(pthread_sigmask(SIG_SETMASK, NULL, &now) == 0 && same(&now, mask));
	MUST(sigaltstack(NULL, &ss) == 0 && ss.ss_sp == stack && ss.ss_size == STACK);
}

static glfs_t *fs;

static void *work(void *arg)
{
	char name[32], buf[4096], got[4096];
	stack_t ss = {.ss_sp = stack = malloc(STACK), .ss_size = STACK};
	sigset_t mask;
	MUST(stack && sigaltstack(&ss, NULL) == 0);
	MUST(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
	snprintf(name, sizeof name, "/signals.%d", (int)(long)arg);
	for (int i = 0; !stop; i++) {
		struct stat st;
		glfs_fd_t *fd = glfs_creat(fs, name, O_RDWR, 0644);
		MUST(fd);
		memset(buf, i, sizeof buf);
		for (int k = 0; k < 20; k++) {
			MUST(glfs_pwrite(fd, buf, sizeof buf, k * 4096, 0, NULL, NULL) == sizeof buf);
			MUST(glfs_lseek(fd, k * 4096, SEEK_SET) == k * 4096);
			MUST(glfs_read(fd, got, sizeof got, 0) == sizeof got && memcmp(buf, got, sizeof got) == 0);
			MUST(glfs_fstat(fd, &st) == 0 && st.st_size >= 4096);
			pthread_kill(pthread_self(), SIGUSR1);
		}
		unchanged(&mask);
		MUST(glfs_stat(fs, name, &st) == 0);
		MUST(glfs_close(fd) == 0);
		MUST(glfs_unlink(fs, name) == 0);
		unchanged(&mask);
	}
	ss.ss_flags = SS_DISABLE;
	MUST(sigaltstack(&ss, NULL) == 0);
	free(stack);
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	/* One handler is set before the engine is loaded, the other after. */
	struct sigaction sa = {.sa_handler = user, .sa_flags = SA_ONSTACK | SA_RESTART};
	MUST(sigaction(SIGUSR1, &sa, NULL) == 0);
	fs = glfs_new(argv[3]);
	MUST(fs);
	MUST(glfs_set_volfile_server(fs, "tcp", argv[1], atoi(argv[2])) == 0);
	MUST(glfs_init(fs) == 0);
	sa = (struct sigaction){.sa_handler = tick, .sa_flags = SA_RESTART};
	MUST(sigaction(SIGALRM, &sa, NULL) == 0);
	pthread_t threads[3];
	for (long i = 0; i < 3; i++)
		MUST(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
	struct itimerval every = {{0, 100}, {0, 100}};
	MUST(setitimer(ITIMER_REAL, &every, NULL) == 0);
	time_t end = time(NULL) + atoi(argv[4]);
	for (int i = 0; time(NULL) < end; i++) {
		pthread_kill(threads[i % 3], SIGALRM);
		usleep(50);
	}
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	every = (struct itimerval){};
	setitimer(ITIMER_REAL, &every, NULL);
	MUST(setgid(getgid()) == 0); /* which the C library has all threads do */
	MUST(glfs_fini(fs) == 0);
	MUST(ticks > 100 && users > 100);
	printf("ok\n");
	fprintf(stderr, "%ld ticks, %ld others\n", ticks, users);
	return 0;
}
