// Plants a uprobe, as perf and bpftrace do, in a function of another process.
//#Hazard: S14
//#Expect: live
//#Call: remove
#include "scenario.h"
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

static int probe = -1;

// The number of the kernel's event source for probes.
static int source(void) {
    int type = -1;
    FILE *file = fopen("/sys/bus/event_source/devices/uprobe/type", "r");
    if (file && fscanf(file, "%d", &type) != 1)
        type = -1;
    if (file)
        fclose(file);
    return type;
}

void command(const char *line) {
    char path[4096];
    int pid;
    long offset;
    if (sscanf(line, "probe %d %ld %4095s", &pid, &offset, path) == 3) {
        struct perf_event_attr attr = {0};
        attr.type = (unsigned)source();
        attr.size = sizeof attr;
        attr.config1 = (unsigned long)path;
        attr.config2 = (unsigned long)offset;
        probe = (int)syscall(SYS_perf_event_open, &attr, pid, -1, -1, 0);
        puts(probe >= 0 ? "done" : "none");
    }
    if (!strcmp(line, "remove"))
        puts(close(probe) ? "none" : "done");
}
