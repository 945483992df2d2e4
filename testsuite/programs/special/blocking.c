// Threads that sleep in system calls and report every interruption that they see; a timer whose signal must not get lost.
//#Hazard: S5,S6
//#Expect: live
//#Call: value
#include "scenario.h"
#include "threads.h"
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static atomic_int interrupted, sleepers;
static atomic_int alarms, open_to_signals;

NOINLINE int value(int x) {
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

static void on_alarm(int unused) {
    (void)unused;
    atomic_fetch_add(&alarms, value(0) == 1 || value(0) == 100);
}

static void *sleeper(void *argument) {
    int pair[2], watch = epoll_create1(0);
    char byte;
    sem_t semaphore;
    sigset_t all;
    sigfillset(&all);
    if (!atomic_load(&open_to_signals))
        pthread_sigmask(SIG_BLOCK, &all, NULL);
    sem_init(&semaphore, 0, 0);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        abort();
    struct timeval limit = {600, 0};
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    struct pollfd entry = {pair[0], POLLIN, 0};
    struct epoll_event event = {EPOLLIN, {0}};
    epoll_ctl(watch, EPOLL_CTL_ADD, pair[0], &event);
    struct timespec when;
    clock_gettime(CLOCK_REALTIME, &when);
    when.tv_sec += 600;
    atomic_fetch_add(&sleepers, 1);
    for (;;) {
        long result = 0;
        switch ((long)argument) {
        case 0: result = poll(&entry, 1, 600000); break;
        case 1: result = epoll_wait(watch, &event, 1, 600000); break;
        case 2: result = nanosleep(&(struct timespec){600, 0}, NULL); break;
        case 3: result = sem_timedwait(&semaphore, &when); break;
        case 4: result = recv(pair[0], &byte, 1, 0); break;
        case 5: result = read(pair[0], &byte, 1); break;
        case 6: result = select(0, NULL, NULL, NULL, &(struct timeval){600, 0}); break;
        default: result = pause(); break;
        }
        if (result == -1 && errno == EINTR)
            atomic_fetch_add(&interrupted, 1);
    }
    return NULL;
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    atomic_store(&open_to_signals, !strcmp(line, "sleep open"));
    if (!strncmp(line, "sleep", 5)) {
        for (long i = 0; i < 8; i++)
            start_thread(sleeper, (void *)i);
        while (atomic_load(&sleepers) < 8)
            usleep(1000);
        usleep(50000);
    }
    if (!strcmp(line, "interrupted"))
        printf("%d\n", atomic_load(&interrupted));
    if (!strcmp(line, "timer") || !strcmp(line, "handler")) {
        struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
        struct itimerval often = {{0, 500}, {0, 500}};
        sigaction(SIGALRM, &action, NULL);
        if (!strcmp(line, "timer"))
            setitimer(ITIMER_REAL, &often, NULL);
    }
    if (!strcmp(line, "alarms"))
        printf("%s\n", atomic_exchange(&alarms, 0) > 0 ? "some" : "none");
}
