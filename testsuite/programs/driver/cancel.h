// A thread that is cancelled inside of the function under test, with something to clean up there and in its caller.
#ifndef CANCEL_H
#define CANCEL_H
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static int cleaned;

static void clean(void *by) {
    cleaned = cleaned * 100 + *(int *)by;
}

// The function under test, which never returns.
void stay(int x);

static void *work(void *argument) {
    int by = 77;
    pthread_cleanup_push(clean, &by);
    stay(*(int *)argument);
    pthread_cleanup_pop(0);
    return NULL;
}

// Cancels the thread of `work` that `begin` has let come to where it stays, and says what was cleaned.
static inline void cancel(int n, void (*begin)(void)) {
    pthread_t thread;
    void *result = NULL;
    cleaned = 0;
    if (pthread_create(&thread, NULL, work, &n))
        abort();
    begin();
    pthread_cancel(thread);
    pthread_join(thread, &result);
    printf("%d %s\n", cleaned, result == PTHREAD_CANCELED ? "cancelled" : "returned");
}
#endif
