// A program with the loader in it. It plays the hpatch command's part: it reads one command a line and drives the control block.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

extern "C" {
volatile int counter = 40;
int depth;
__attribute__((noinline)) int helper(int x) {
    if (x < 0)
        throw x;
    return x + 1;
}
__attribute__((noinline)) int answer(int x) {
    asm volatile("" ::: "memory");
    return helper(x) + counter;
}
__attribute__((noinline)) const char *hello(int x) {
    asm volatile("" ::: "memory");
    return counter ? "old" : "none";
}
__attribute__((noinline)) int relied(int x) { return x * 3 + counter; }
extern const int limit;
const int limit = 7;
__attribute__((noinline)) int get_limit() {
    asm volatile("");
    return *(volatile const int *)&limit;
}
extern char __executable_start, etext;
}

// loader/core/src/abi.rs
struct Control {
    uint64_t magic;
    uint32_t abi, size, state, op;
    uint64_t arg[6];
    uint32_t done, code;
    uint64_t value[4];
    uint32_t detail_len, record_count;
    char detail[512];
    uint64_t first_record, spawn, stack_top;
    uint32_t origin, control_tid, owner, reserved[7];
};
struct Record {
    uint64_t next;
    uint32_t state, scope;
    char id[128];
    uint32_t id_len, unit_count;
    uint8_t sha[32];
    uint64_t units, writes;
    uint32_t write_count, func_count;
    uint64_t funcs, old_ranges;
    uint32_t old_range_count, old_site_count;
    uint64_t old_sites, new_ranges;
    uint32_t new_range_count, new_site_count;
    uint64_t new_sites, live_since, reserved[4];
};
struct Write {
    uint64_t addr;
    uint32_t len, func;
    uint64_t old_bytes, new_bytes;
};

static volatile Control *control;

static uint32_t operation(uint32_t op, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0) {
    control->op = op;
    control->arg[0] = a;
    control->arg[1] = b;
    control->arg[2] = c;
    control->done = 0;
    long ret;
    register uint64_t after asm("r12") = control->spawn + 2; // behind the stub's syscall
    register long r10 asm("r10") = 0;
    register long r8 asm("r8") = 0;
    asm volatile("syscall\n test %%eax, %%eax\n jnz 1f\n jmp *%%r12\n 1:"
                 : "=a"(ret)
                 : "a"(56L), "D"(0x50f00L), "S"(control->stack_top), "d"(0L), "r"(r10), "r"(r8), "r"(after)
                 : "rcx", "r11", "memory");
    for (int i = 0; i < 20000 && !control->done; i++)
        usleep(500);
    if (!control->done) {
        puts("no answer");
        exit(3);
    }
    usleep(200);
    return control->code;
}

static void poke(uint64_t addr, const void *bytes, size_t n) {
    int fd = open("/proc/self/mem", O_RDWR);
    if (pwrite(fd, bytes, n, addr) != (ssize_t)n) {
        puts("write failed");
        exit(4);
    }
    close(fd);
}

static void say(uint32_t code) {
    if (code)
        printf("HP%04u %.*s\n", code, (int)control->detail_len, (const char *)control->detail);
    else
        printf("ok %u\n", control->record_count);
}

static Record *record(const char *id) {
    Record *found = nullptr;
    for (Record *r = (Record *)control->first_record; r; r = (Record *)r->next)
        if (strlen(id) == r->id_len && !memcmp(id, r->id, r->id_len))
            found = r;
    return found;
}

static void write_all(Record *r, bool new_bytes) {
    Write *w = (Write *)r->writes;
    for (uint32_t i = 0; i < r->write_count; i++)
        poke(w[i].addr, (void *)(new_bytes ? w[i].new_bytes : w[i].old_bytes), w[i].len);
    r->state = new_bytes ? 3 : 5;
}

static int (*fn[2])(int);

int main() {
    setvbuf(stdout, nullptr, _IOLBF, 0);
    control = (volatile Control *)dlsym(RTLD_DEFAULT, "hpatch_control");
    char line[512], arg[400];
    while (fgets(line, sizeof line, stdin)) {
        arg[0] = 0;
        char verb[64] = "";
        sscanf(line, "%63s %399s", verb, arg);
        if (!strcmp(verb, "answer")) {
            try {
                printf("%d\n", answer(atoi(arg)));
            } catch (int e) {
                printf("caught %d depth %d\n", e, depth);
            }
        } else if (!strcmp(verb, "hello")) {
            puts(hello(1));
        } else if (!strcmp(verb, "limit")) {
            printf("%d\n", get_limit());
        } else if (!strcmp(verb, "relied")) {
            printf("%d\n", relied(1));
        } else if (!strcmp(verb, "sum")) {
            uint64_t h = 14695981039346656037u;
            for (char *p = &__executable_start; p < &etext; p++)
                h = (h ^ (uint8_t)*p) * 1099511628211u;
            printf("%lx %d\n", h, *(volatile const int *)&limit);
        } else if (!strcmp(verb, "mdwe")) {
            printf("%d\n", prctl(65, 1, 0, 0, 0));
        } else if (!strcmp(verb, "break")) {
            poke((uint64_t)&relied, "\xcc", 1);
            puts("done");
        } else if (!strcmp(verb, "prepare")) {
            int fd = open(arg, O_RDONLY);
            struct stat st;
            fstat(fd, &st);
            if (operation(1, st.st_size))
                return 5;
            uint64_t buffer = control->value[0];
            ssize_t n = read(fd, (void *)buffer, st.st_size);
            close(fd);
            say(operation(2, buffer, n));
        } else if (!strcmp(verb, "commit")) {
            Record *r = record(arg);
            write_all(r, true);
            say(operation(3, (uint64_t)r));
        } else if (!strcmp(verb, "revert")) {
            write_all(record(arg), false);
            say(0);
        } else if (!strcmp(verb, "release")) {
            say(operation(4, (uint64_t)record(arg)));
        } else if (!strcmp(verb, "tables")) {
            Record *r = record(arg);
            printf("writes %u funcs %u old %u %u new %u %u\n", r->write_count, r->func_count, r->old_range_count, r->old_site_count,
                   r->new_range_count, r->new_site_count);
        } else if (!strcmp(verb, "op")) {
            say(operation(atoi(arg), 1, 2, 3));
        } else if (!strcmp(verb, "nobody")) { // as servers do after their start; /proc/self then belongs to root
            printf("%d\n", setuid(65534));
        } else if (!strcmp(verb, "dlopen")) {
            void *loader = dlopen(arg, RTLD_NOW);
            control = loader ? (volatile Control *)dlsym(loader, "hpatch_control") : nullptr;
            puts(loader ? "done" : dlerror());
        } else if (!strcmp(verb, "copy")) { // a namespace of its own, with a copy of the library
            void *copy = dlmopen(LM_ID_NEWLM, arg, RTLD_NOW);
            fn[1] = copy ? (int (*)(int))dlsym(copy, "answer") : nullptr;
            puts(copy ? "done" : dlerror());
        } else if (!strcmp(verb, "library")) {
            void *library = dlopen(arg, RTLD_NOW);
            fn[0] = library ? (int (*)(int))dlsym(library, "answer") : nullptr;
            puts(library ? "done" : dlerror());
        } else if (!strcmp(verb, "both")) {
            printf("%d %d\n", fn[0](1), fn[1](1));
        } else if (!strcmp(verb, "maps")) {
            FILE *f = fopen("/proc/self/maps", "r");
            while (fgets(line, sizeof line, f))
                if (strstr(line, "hpatch:") || strstr(line, "wx"))
                    fputs(line, stdout);
            fclose(f);
            puts(".");
        } else {
            puts("what?");
        }
    }
}
