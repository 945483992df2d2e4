// A thread sits in the function that the patch replaces until it is told to leave.
//#Hazard: S1
//#Expect: live
//#Call: value
#include "asleep.h"
#include "scenario.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

static int gate[2];
static volatile int left = 1;

NOINLINE int wait_for_work(int x) {
    char byte;
    if (x && read(gate[0], &byte, 1) != 1)
        return -1;
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

static void *worker(void *unused) {
    (void)unused;
    wait_for_work(1);
    left = 1;
    return NULL;
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", wait_for_work(0));
    // Threads that are made later inherit it.
    if (!strcmp(line, "rename"))
        puts(prctl(PR_SET_NAME, "\033[1m\r\nx\233") ? "failed" : "done");
    if (!strcmp(line, "enter")) {
        pthread_t thread;
        left = 0;
        if (pipe(gate) || pthread_create(&thread, NULL, worker, NULL))
            abort();
        pthread_detach(thread);
        until_others_sleep();
    }
    if (!strcmp(line, "leave")) {
        if (write(gate[1], "x", 1) != 1)
            abort();
        for (int i = 0; i < 2000 && !left; i++)
            usleep(1000);
        puts(left ? "left" : "still inside");
    }
}
