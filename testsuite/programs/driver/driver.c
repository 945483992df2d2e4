// Reads commands from standard input, one a line, and lets the scenario answer them. A line with a single dot ends an answer.
// With PREPARED, the scenario sets itself up before. It is its own translation unit and the same in both builds, so that nothing of the scenario stays on the stack between commands.
#include <stdio.h>
#include <string.h>

void command(const char *line);

#ifdef PREPARED
void prepare(void);
#endif

int main(void) {
    char line[512];
#ifdef PREPARED
    prepare();
#endif
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (strcmp(line, "ready") != 0)
            command(line);
        puts(".");
        fflush(stdout);
    }
    return 0;
}
