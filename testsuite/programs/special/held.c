// A thread stands inside the allocator with its only arena locked, another one inside the dynamic linker with its list locked.
//#Hazard: S3
//#Expect: live
//#Call: value
#include "scenario.h"
#include "threads.h"
#include <link.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

static int gate[2], question[2], list[2];
static atomic_int standing, allocated, iterating;
static pthread_t worker;

NOINLINE int value(int x) {
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

// Larger than what each thread keeps for itself, so that the arena's lock is taken.
static void allocate(void) {
    void *volatile block = malloc(3000);
    free(block);
}

static void stand(int signal) {
    (void)signal;
    char byte;
    standing = 1;
    while (read(gate[0], &byte, 1) != 1)
        ;
    standing = 0;
}

static void *work(void *unused) {
    (void)unused;
    for (;;)
        allocate();
    return NULL;
}

static void *ask(void *unused) {
    (void)unused;
    char byte;
    while (read(question[0], &byte, 1) == 1) {
        allocate();
        allocated = 1;
    }
    return NULL;
}

static int visit(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)info, (void)size, (void)unused;
    char byte;
    iterating = 1;
    return read(list[0], &byte, 1) == 1;
}

static void *iterate(void *unused) {
    (void)unused;
    dl_iterate_phdr(visit, NULL);
    return NULL;
}

static void put(int fd) {
    if (write(fd, "x", 1) != 1)
        abort();
}

// Stops the worker by a signal until it is met with the lock in its hands: then nobody else can allocate.
static void hold(void) {
    mallopt(M_ARENA_MAX, 1);
    if (pipe(gate) || pipe(question) || pipe(list))
        abort();
    signal(SIGUSR1, stand);
    worker = start_thread(work, NULL);
    start_thread(ask, NULL);
    start_thread(iterate, NULL);
    while (!iterating)
        usleep(100);
    for (int tries = 0; tries < 2000; tries++) {
        usleep((unsigned)(tries % 97));
        pthread_kill(worker, SIGUSR1);
        while (!standing)
            usleep(20);
        allocated = 0;
        put(question[1]);
        for (int i = 0; i < 100 && !allocated; i++)
            usleep(200);
        if (!allocated) {
            puts("held");
            return;
        }
        put(gate[1]);
        while (standing)
            usleep(20);
    }
    puts("never met");
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (!strcmp(line, "hold"))
        hold();
    if (!strcmp(line, "still"))
        puts(standing && !allocated ? "held" : "free");
    if (!strcmp(line, "release")) {
        put(gate[1]);
        put(list[1]);
        for (int i = 0; i < 5000 && !allocated; i++)
            usleep(1000);
        puts(allocated ? "free" : "held");
    }
}
