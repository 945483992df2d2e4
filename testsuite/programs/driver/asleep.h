// Waits until all other threads of the process sleep. A busy machine may give them no processor within whatever time one would wait instead.
#ifndef ASLEEP_H
#define ASLEEP_H
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int others_sleep(void) {
    int all = 1;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        long tid = atol(task->d_name);
        if (!tid || tid == syscall(SYS_gettid))
            continue;
        char path[64], text[256];
        snprintf(path, sizeof path, "/proc/self/task/%ld/stat", tid);
        FILE *stat = fopen(path, "r");
        size_t length = stat ? fread(text, 1, sizeof text - 1, stat) : 0;
        if (stat)
            fclose(stat);
        text[length] = 0;
        // `TID (NAME) STATE`; one that has ended has no such file.
        const char *name_end = strrchr(text, ')');
        all &= !name_end || name_end[2] == 'S';
    }
    if (tasks)
        closedir(tasks);
    return all;
}

static void until_others_sleep(void) {
    for (int tries = 0; tries < 15000 && !others_sleep(); tries++)
        usleep(1000);
}
#endif
