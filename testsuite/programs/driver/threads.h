// Threads of scenario programs.
#ifndef THREADS_H
#define THREADS_H
#include <pthread.h>
#include <stdlib.h>
// Nobody waits for its end.
static inline pthread_t start_thread(void *(*run)(void *), void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, argument) || pthread_detach(thread))
        abort();
    return thread;
}
#endif
