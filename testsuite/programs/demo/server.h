// The demo server: what its two source files share.
#ifndef SERVER_H
#define SERVER_H
#include <stddef.h>

// What the server knows of one client. The token follows the text in memory, which the bug makes visible.
struct session {
    char text[16];
    char token[24];
    long requests;
};

size_t answer(struct session *session, const char *line, char *reply, size_t size);
#endif
