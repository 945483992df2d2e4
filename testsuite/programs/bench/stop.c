// The bare limit of a stop: every thread of a process interrupted, its registers read, and let go; nothing else. And that of a write in it: a word
// before and after, five bytes of code written and read back, all of them as they are.
// Usage: stop PID REPETITIONS. Prints the microseconds of each from the first interruption to the last release without the write, and of the write.
#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

// Where the first mapping of the program with these rights begins.
static long mapped(const char *pid, const char *rights) {
    char path[64], line[512], found[8];
    unsigned long start, end;
    snprintf(path, sizeof path, "/proc/%s/maps", pid);
    FILE *maps = fopen(path, "r");
    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %7s", &start, &end, found) == 3 && !strcmp(found, rights)) {
            fclose(maps);
            return (long)start;
        }
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    long code = mapped(argv[1], "r-xp"), data = mapped(argv[1], "rw-p");
    char memory_path[64], bytes[5], word[4], again[5];
    snprintf(memory_path, sizeof memory_path, "/proc/%s/mem", argv[1]);
    int memory = open(memory_path, O_RDWR);
    if (!code || !data || memory < 0 || pread(memory, bytes, 5, code) != 5 || pread(memory, word, 4, data) != 4)
        return 1;
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
        // The pages are the process's own, as they are when a patch is written.
        if (pwrite(memory, bytes, 5, code) != 5 || pwrite(memory, word, 4, data) != 4)
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
        double before = now();
        int wrote = pwrite(memory, word, 4, data) == 4 && pwrite(memory, bytes, 5, code) == 5 && pread(memory, again, 5, code) == 5 &&
                    pwrite(memory, word, 4, data) == 4;
        double written = now() - before;
        for (int i = 0; i < count; i++)
            ptrace(PTRACE_DETACH, threads[i], 0, 0);
        printf("%.1f %.2f\n", now() - start - written, wrote ? written : -1);
        usleep(2000);
    }
    return 0;
}
