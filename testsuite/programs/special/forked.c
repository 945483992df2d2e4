// A parent with children that count in tables of their own, which the new build makes longer. A child that waits inside a closed function
// doesn't answer.
//#Hazard: S10,S13
//#Flags: -pthread
//#Expect: live
//#Call: slots
#include "scenario.h"
#include <poll.h>
#include <unistd.h>

#ifdef NEW
#define SLOTS 6
#else
#define SLOTS 4
#endif

__attribute__((visibility("hidden"))) int hits[SLOTS];
static struct {
    int to, from;
} children[16] __attribute__((aligned(128)));
static int count;

NOINLINE int hit(int slot) {
    if (slot < 0 || slot >= SLOTS)
        return -1;
    hits[slot] += 1;
    return SLOTS * 100 + hits[slot];
}

static void serve(int from, int to) {
    char slot;
    while (read(from, &slot, 1) == 1) {
        int answer = hit(slot);
        if (write(to, &answer, sizeof answer) != sizeof answer)
            break;
    }
    _exit(0);
}

static void answer(int i) {
    struct pollfd from = {.fd = children[i].from, .events = POLLIN};
    int got;
    if (poll(&from, 1, 200) != 1)
        puts("waits");
    else if (read(from.fd, &got, sizeof got) == sizeof got)
        printf("%d\n", got);
    else
        puts("ended");
}

void command(const char *line) {
    int i, slot;
    if (sscanf(line, "hit %d", &slot) == 1)
        printf("%d\n", hit(slot));
    if (!strcmp(line, "slots"))
        printf("%d\n", hit(5) < 0 ? 4 : 6);
    if (!strcmp(line, "fork") && count < 16) {
        int down[2], up[2];
        if (pipe(down) || pipe(up))
            abort();
        pid_t pid = fork();
        if (pid == 0) {
            close(down[1]);
            close(up[0]);
            serve(down[0], up[1]);
        }
        close(down[0]);
        close(up[1]);
        children[count].to = down[1];
        children[count].from = up[0];
        count++;
        printf("%d\n", pid);
    }
    if (sscanf(line, "child %d %d", &i, &slot) == 2 && i < count) {
        char byte = (char)slot;
        if (write(children[i].to, &byte, 1) == 1)
            answer(i);
    }
    if (sscanf(line, "answer %d", &i) == 1 && i < count)
        answer(i);
}
