// A thread is cancelled inside the changed function: its clean-up runs, then that of its caller, which is old.
//#Hazard: C8
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared
//#Flags: -pthread -fexceptions
//#Expect: live
//#Call: cancel 4
#include "scenario.h"
#include <pthread.h>
#include <unistd.h>

static int cleaned, gate[2];

static void clean(void *by) {
    cleaned = cleaned * 100 + *(int *)by;
}

NOINLINE void wait_for_ever(int x) {
    char byte;
#ifdef NEW
    int by = x * 2 + 1;
#else
    int by = x;
#endif
    pthread_cleanup_push(clean, &by);
    while (read(gate[0], &byte, 1) == 1)
        ;
    pthread_cleanup_pop(0);
}

static void *work(void *argument) {
    int by = 77;
    pthread_cleanup_push(clean, &by);
    wait_for_ever(*(int *)argument);
    pthread_cleanup_pop(0);
    return NULL;
}

void command(const char *line) {
    int n;
    pthread_t thread;
    void *result = NULL;
    if (sscanf(line, "cancel %d", &n) != 1)
        return;
    cleaned = 0;
    if (pipe(gate) || pthread_create(&thread, NULL, work, &n))
        abort();
    usleep(20000);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    close(gate[0]);
    close(gate[1]);
    printf("%d %s\n", cleaned, result == PTHREAD_CANCELED ? "cancelled" : "returned");
}
