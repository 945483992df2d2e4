// The requests of the demo server. With FIXED defined, `ECHO` believes the text, not the client.
#include "server.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t echo(struct session *session, const char *arguments, char *reply, size_t size) {
    char *text;
    size_t length = strtoul(arguments, &text, 10);
    snprintf(session->text, sizeof session->text, "%s", *text == ' ' ? text + 1 : text);
#ifdef FIXED
    if (length > strlen(session->text))
        return (size_t)snprintf(reply, size, "ERR the text has %zu bytes, not %zu", strlen(session->text), length);
#endif
    if (length > size)
        length = size;
    memcpy(reply, session->text, length);
    for (size_t i = 0; i < length; i++)
        if (reply[i] == 0)
            reply[i] = '.';
    return length;
}

size_t answer(struct session *session, const char *line, char *reply, size_t size) {
    session->requests++;
    if (!strncmp(line, "ECHO ", 5))
        return echo(session, line + 5, reply, size);
    if (!strcmp(line, "REQUESTS"))
        return (size_t)snprintf(reply, size, "%ld", session->requests);
    return (size_t)snprintf(reply, size, "ERR unknown request");
}
