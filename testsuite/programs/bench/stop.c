// The bare limit of a stop: every thread of a process interrupted, its registers read, and let go; nothing else.
// Usage: stop PID REPETITIONS. Prints the microseconds of each from the first interruption to the last release.
#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    int repetitions = atoi(argv[2]);
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/task", argv[1]);
    static pid_t threads[4096];
    for (int round = 0; round < repetitions; round++) {
        int count = 0;
        DIR *folder = opendir(path);
        if (!folder)
            return 1;
        for (struct dirent *entry; (entry = readdir(folder)) && count < 4096;)
            if (entry->d_name[0] != '.')
                threads[count++] = atoi(entry->d_name);
        closedir(folder);
        for (int i = 0; i < count; i++)
            if (ptrace(PTRACE_SEIZE, threads[i], 0, 0))
                return 1;
        double start = now();
        for (int i = 0; i < count; i++)
            ptrace(PTRACE_INTERRUPT, threads[i], 0, 0);
        for (int i = 0; i < count; i++) {
            int status;
            waitpid(threads[i], &status, __WALL);
        }
        for (int i = 0; i < count; i++) {
            struct user_regs_struct registers;
            struct iovec vector = {&registers, sizeof registers};
            ptrace(PTRACE_GETREGSET, threads[i], NT_PRSTATUS, &vector);
        }
        for (int i = 0; i < count; i++)
            ptrace(PTRACE_DETACH, threads[i], 0, 0);
        printf("%.1f\n", now() - start);
        usleep(2000);
    }
    return 0;
}
