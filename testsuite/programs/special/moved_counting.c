// Threads count in a table that the new build makes longer, and note by themselves what they have counted.
//#Hazard: D5,S13
//#ResetData: level
//#Flags: -pthread
//#Expect: live
//#Call: slots
#include "scenario.h"
#include <pthread.h>
#include <unistd.h>

#ifdef NEW
#define SLOTS 6
#else
#define SLOTS 4
#endif
#define THREADS 4

// In pages of their own: whoever changes them needs several writes.
#define APART NOINLINE __attribute__((aligned(8192)))

__attribute__((visibility("hidden"))) long hits[SLOTS];
// Apart from the table, and with something behind each array: the end of a loop over one is to be no other object's address.
static struct {
    pthread_t threads[THREADS], none;
    long known[THREADS];
    volatile int ends;
} own __attribute__((aligned(128)));
#ifdef NEW
static volatile int level = 2;
#else
static volatile int level = 1;
#endif

APART void one(int slot) {
    if (slot >= 0 && slot < SLOTS)
        hits[slot] += 1;
}

APART void two(int slot) {
    if (slot >= 0 && slot < SLOTS)
        hits[slot] += 2;
}

APART long counted(int slot) {
    return slot >= 0 && slot < SLOTS ? hits[slot] : -1;
}

static void *count(void *argument) {
    int slot = (int)(long)argument;
    while (!own.ends) {
        one(slot);
        two(slot);
        own.known[slot] += 3;
    }
    return NULL;
}

void command(const char *line) {
    int number;
    if (!strcmp(line, "start")) {
        own.ends = 0;
        for (long i = 0; i < THREADS; i++)
            if (pthread_create(&own.threads[i], NULL, count, (void *)i))
                abort();
        puts("ok");
    } else if (!strcmp(line, "stop")) {
        own.ends = 1;
        for (int i = 0; i < THREADS; i++)
            pthread_join(own.threads[i], NULL);
        long wrong = 0, all = 0;
        for (int i = 0; i < THREADS; i++) {
            wrong += own.known[i] != counted(i);
            all += own.known[i];
        }
        printf("wrong %ld, %s\n", wrong, all > 0 ? "counted" : "idle");
    } else if (!strcmp(line, "slots")) {
        printf("%d\n", counted(5) < 0 ? 4 : 6);
    } else if (sscanf(line, "level %d", &number) == 1) {
        level = number;
        puts("ok");
    } else if (!strcmp(line, "level")) {
        printf("%d\n", level);
    }
}
