// A process that ends, or replaces its program, when a signal comes: in its first thread or in another one, while others sleep or work.
//#Hazard: S10,S13
//#Expect: live
//#Call: value
//#Flags: -pthread
#define _GNU_SOURCE
#include "scenario.h"
#include "threads.h"
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

enum { STATUS = 7, THREADS = 3 };

static char *environment[512];
static const char *what;
static atomic_int ready;

NOINLINE int value(int x) {
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

static void on_signal(int unused) {
    static char *arguments[] = {"leaving", NULL};
    (void)unused;
    if (*what == 'r')
        execve("/proc/self/exe", arguments, environment);
    _exit(STATUS);
}

static void listen_to(int how) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(how, &set, NULL);
}

static void *sleeping(void *listens) {
    if (listens)
        listen_to(SIG_UNBLOCK);
    atomic_fetch_add(&ready, 1);
    for (;;)
        pause();
}

static void *working(void *unused) {
    volatile int sum = 0;
    (void)unused;
    atomic_fetch_add(&ready, 1);
    for (int i = 0;; i++) {
        sum += value(i);
        usleep(100);
    }
}

// `replaced first`, `replaced other`, `ended first`, `ended other`: what happens at the signal, and in which thread.
static void get_ready(const char *order) {
    extern char **environ;
    int n = 0;
    for (; environ[n] && n < 510; n++)
        environment[n] = environ[n];
    environment[n] = "LEAVING=replaced";
    what = order;
    int first = strstr(order, "first") != NULL;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NODEFER | SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    // Threads inherit the mask.
    listen_to(SIG_BLOCK);
    start_thread(sleeping, NULL);
    start_thread(sleeping, first ? NULL : environment);
    start_thread(working, NULL);
    while (atomic_load(&ready) < THREADS)
        usleep(1000);
    if (first)
        listen_to(SIG_UNBLOCK);
}

void command(const char *line) {
    static char order[64];
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (!strcmp(line, "which"))
        puts(getenv("LEAVING") ? "the replaced one" : "the first one");
    if (!strncmp(line, "replaced", 8) || !strncmp(line, "ended", 5)) {
        strncpy(order, line, sizeof order - 1);
        get_ready(order);
    }
}
