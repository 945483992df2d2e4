// A host that loads libraries while it runs, in its own namespace and in new ones, from files and from memory, calls their `value` and unloads
// them.
//#Hazard: I5
//#Expect: live
//#Call: call 0
#define _GNU_SOURCE
#include "scenario.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
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

// The descriptor of a memory file with what the file at `path` holds.
static int in_memory(const char *path) {
    int from = open(path, O_RDONLY), to = memfd_create("in-memory", 0);
    while (sendfile(to, from, NULL, 1 << 20) > 0)
        continue;
    close(from);
    return to;
}

static void *load_from_memory(const char *path) {
    char name[64];
    int file = in_memory(path);
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    void *handle = dlopen(name, RTLD_NOW);
    close(file);
    return handle;
}

static void become_from_memory(char *path) {
    extern char **environ;
    char *arguments[] = {path, NULL};
    fexecve(in_memory(path), arguments, environ);
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
    else if (sscanf(line, "memory %399s", path) == 1)
        handle = load_from_memory(path);
    else if (sscanf(line, "become %399s", path) == 1)
        become_from_memory(path);
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
    } else if (!strncmp(line, "load", 4) || !strncmp(line, "memory", 6) || !strncmp(line, "space", 5) || !strncmp(line, "thread", 6))
        printf("%s\n", dlerror());
}
