// A host that loads libraries while it runs, in its own namespace and in new ones, calls their `value` and unloads them.
//#Hazard: I5
//#Expect: live
//#Call: call 0
#define _GNU_SOURCE
#include "scenario.h"
#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static void *handles[8];
static int count;

NOINLINE int own(int x) {
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

static int call(int i) {
    int (*value)(int) = (int (*)(int))dlsym(handles[i], "value");
    return value ? value(1) : -1;
}

static void *other_thread(void *path) {
    return dlopen(path, RTLD_NOW);
}

void command(const char *line) {
    char path[400];
    int i;
    void *handle = NULL;
    if (sscanf(line, "load %399s", path) == 1)
        handle = dlopen(path, RTLD_NOW);
    else if (sscanf(line, "thread %399s", path) == 1) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, other_thread, path) || pthread_join(thread, &handle))
            abort();
    } else if (sscanf(line, "space %399s", path) == 1)
        handle = dlmopen(LM_ID_NEWLM, path, RTLD_NOW);
    else if (sscanf(line, "call %d", &i) == 1 && i < count)
        printf("%d\n", call(i));
    else if (sscanf(line, "close %d", &i) == 1 && i < count)
        printf("%d\n", dlclose(handles[i]));
    else if (!strcmp(line, "own"))
        printf("%d\n", own(1));
    else if (sscanf(line, "exec %399s", path) == 1)
        execl(path, path, (char *)NULL);
    else if (!strcmp(line, "daemon")) {
        // A child that leaves the session and answers no more; its parent stays to be asked.
        pid_t child = fork();
        if (child == 0) {
            setsid();
            for (i = 0; i < 3; i++)
                close(i);
            for (;;)
                pause();
        }
        printf("%d\n", child);
    } else if (sscanf(line, "reap %d", &i) == 1) {
        int status = 0;
        printf("%d\n", waitpid(i, &status, 0) == i);
    }
    if (handle) {
        handles[count] = handle;
        printf("%d\n", count++);
    } else if (!strncmp(line, "load", 4) || !strncmp(line, "space", 5) || !strncmp(line, "thread", 6))
        printf("%s\n", dlerror());
}
