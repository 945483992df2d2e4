// The program of `edits`, with the number in a constant table: that is overwritten, and the functions that read it stay as they are.
//#Hazard: D4,S1
//#Flags: -pthread
//#Edits: 0
//#Expect: live
//#Call: value
#define TABLE
#include "edits.c"
