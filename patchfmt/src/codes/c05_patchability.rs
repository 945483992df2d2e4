//! 05xx: patchability.

codes! {
    STRUCT_LAYOUT = 501 Start "the layout of a type changed" {
        seen: "A struct, class or union that changed code uses has other members, offsets or size, or is gone where another one came; or a variable of the same size has another type.",
        why: "Objects of the old layout may be alive in data, on the heap or on stacks; new code would read them wrongly. A note where none can be: no changed function knows the type, or only frames of replaced functions hold one.",
        act: "Use the bundle at start, where no object is alive yet; or keep the layout and put the new member elsewhere.",
        example: "struct conn { int fd; };   ->   struct conn { int fd; int tries; };   /* malloc'ed with 4 bytes, used with 8 */",
    }
    ENUM_VALUE = 502 Review "an enumerator has another value" {
        seen: "A constant of an enumeration was renumbered.",
        why: "Values stored before the patch keep the old number and get the new meaning.",
        act: "Append new enumerators at the end; accept only if no such value outlives a call.",
        example: "enum { IDLE, BUSY };   ->   enum { IDLE, WAIT, BUSY };   /* a stored 1 was BUSY and reads as WAIT */",
    }
    EXPORTED_PROTOTYPE = 503 Refuse "the prototype of a function changed" {
        seen: "Parameters or return type differ. Refused when other modules can call a library's function; for one of a program (`-rdynamic`) a person must look; a note when only this image can call it.",
        why: "Calls in other modules were compiled for the old prototype; this image's own callers changed with it and are replaced too.",
        act: "Add a function with a new name and keep the old one. For a program, accept if no module that it loads calls the function.",
        example: "int conn_open(const char *);   ->   int conn_open(const char *, int flags);   /* in .dynsym */",
    }
    EXPORTED_REMOVED = 504 Note "the exported symbols changed" {
        seen: "A symbol of .dynsym is in one build only. Or the new build defines a name that the old one has from another module (severity review).",
        why: "In the patched process a removed one stays, with its old code; a new one can't be found by other modules, whose lookups read the old table. Old code goes on with the other module's: memory from one `operator new` would be given to the other `operator delete`.",
        act: "Nothing, unless another module needs the new symbol: then restart. Review: accept if the two may be mixed.",
        example: "nm -D libx.so.old: conn_close      nm -D libx.so.new: (nothing)",
    }
    INIT_ARRAY = 505 Review "initialisers changed" {
        seen: "A constructor, or a function that only constructors call, changed; or .init_array, .preinit_array or .fini_array has a new entry; or thread-local objects are set up at their first use that weren't before. Or a new variable, which other functions read, is set only by what `main` calls once, outside of all loops.",
        why: "Constructors of the old build have run in a live process. A bundle at start comes before those of its modules, so that changed ones run as they are now (then this is severity start); a new entry is never called. Threads that run have set up their objects, all of a unit's together; and what `main` has left behind isn't called again (severity start). Where such a one sets up a variable that is new, this is severity refuse.",
        act: "Accept if the process doesn't need what the new initialiser does; or set the variable up at its first use, as a static local.",
        example: "static std::map<int, int> limits{{1, 10}};   /* new: who fills it in a process that has started? */",
    }
    NEEDED = 506 Note "the new build needs another library" {
        seen: "DT_NEEDED of the new build names a library that the old one doesn't.",
        why: "The patch loads no library. What it calls is looked up in those that are loaded, before anything is changed; if a symbol isn't found the patch isn't applied.",
        act: "Nothing, if the library is loaded in the target anyhow; otherwise restart.",
        example: "readelf -d new | grep NEEDED    # libz.so.1, which the old one does not have",
    }
    NEW_TLS = 507 Refuse "a new thread-local variable" {
        seen: "A function reaches a thread-local variable that only the new build has, and others, from one base: the start of the module's block.",
        why: "New variables lie in a block of the loader's, at another distance in each process.",
        act: "Give the new variable `__attribute__((tls_model(\"global-dynamic\")))`, or move what uses it into a function of its own.",
        example: "static __thread int calls, depth;   /* depth is new; f(): calls++; depth++;  in a library, at -O2 */",
    }
    TLS_BLOCK = 508 Refuse "the thread-local block changed" {
        seen: "The size or the initial value of a thread-local variable differs, or the old build has no GOT entry for one in the way that new code needs.",
        why: "Each running thread has a block of the old shape.",
        act: "Keep thread-local variables as they are.",
        example: "static __thread int depth = 1;   ->   = 2;   /* threads that run have copied the 1 */",
    }
    TOO_SHORT = 509 Refuse "the function is too short for a detour" {
        seen: "Entry and padding behind it have fewer than five bytes that may be overwritten.",
        why: "A jump would overwrite the neighbour's bytes.",
        act: "Compile the old build with `-falign-functions=16` or `-fpatchable-function-entry`.",
        example: "f: ret        # 1 byte, the next function follows at once",
    }
    ENTRY_BRANCHED = 510 Refuse "the code at the entry is a branch target" {
        seen: "The function, or another one, jumps to an address inside the bytes that the detour would overwrite.",
        why: "That jump would land in the middle of the detour.",
        act: "Compile the old build with `-fpatchable-function-entry=5`, or change the function's callers instead.",
        example: "f:  mov %edi,%eax\n1:  dec %eax\n    jnz 1b        # 1: lies in the 5 bytes of the detour",
    }
    FOLDED = 511 Refuse "the function shares its code with another one" {
        seen: "Identical code folding gave several functions one address, and only some of them changed.",
        why: "A detour there would change all of them.",
        act: "Link without `--icf=all`, or patch all of them alike.",
        example: "int a(void) { return 1; }   int b(void) { return 1; }   /* --icf=all: one address; only b changes */",
    }
    NEVER_RETURNS = 512 Start "the function never leaves the stack" {
        seen: "A function that changes, reads a constant that does, or may hold a value of a changed type, is `main`, or like it: a thread enters it once and stays in it.",
        why: "A patch of it is applied only while no thread is inside it, which is never in a running process.",
        act: "Use the bundle at start; or move the changed part to a function that the loop calls.",
        example: "int main(void) { for (;;) serve_one(); }   /* patch serve_one, not main */",
    }
    IFUNC_RESOLVER = 513 Refuse "the resolver of an indirect function changed" {
        seen: "Code that chose an implementation when the program was loaded differs, or chooses nothing any more; or code that it called (where others call it too, severity review).",
        why: "The choice was made already and isn't made again.",
        act: "Patch the implementations, not the resolver; or restart.",
        example: "void *memcpy(...) __attribute__((ifunc(\"choose\")));   /* choose() changed */",
    }
    FOLDED_SPLIT = 514 Refuse "names of one address part, or join" {
        seen: "Names that are one address in one build are several functions in the other, and one of them changed, or another module or a pointer knows its address.",
        why: "A detour at the shared address would send the callers of all names to one replacement; without one, whoever has a name's old address stays with another function.",
        act: "Keep aliases and versions as they are; link both builds without `--icf=all`, or patch all of them alike.",
        example: "a and b at 0x1000   ->   a at 0x1000, b at 0x1040, changed",
    }
    IDENTITY = 515 Refuse "old and new aren't two builds of one thing" {
        seen: "Soname, interpreter or kind of the images differ.",
        why: "A patch can't turn one program into another.",
        act: "Check that old and new are the files that you meant.",
        example: "patchgen build --old /bin/true --new /bin/false -o x.hpatch",
    }
    NONLOCAL_JUMP = 516 Review "the function calls setjmp or switches contexts" {
        seen: "A changed function calls setjmp, getcontext or the like, or is a coroutine of C++ (then this is severity start).",
        why: "A saved context may return into old code after the patch; the loader can only see those that it knows of. A suspended coroutine has the old code's frame, and its number for the place where it goes on.",
        act: "Accept if no such context outlives a call. A coroutine: use the bundle at start.",
        example: "if (setjmp(env) == 0) run();   /* longjmp after the patch returns into the old code */",
    }
    STORED_PROTOTYPE = 517 Review "the prototype of a function changed whose address is stored" {
        seen: "Parameters or return type differ, and the function's address is in data. Or (severity start) a function whose address is stored gives way to one of another name and prototype, or what changed is called or read by one that only the old build has, and whose address is known.",
        why: "Callers through a stored pointer, and old functions that stay, may have been compiled for the old prototype, or for the registers that the old code took and spared.",
        act: "Accept if every caller is replaced too. Start: use the bundle at start, or keep the function's name.",
        example: "struct ops o = { .open = my_open };   /* my_open(const char *)   ->   my_open(const char *, int) */",
    }
    VTABLE = 518 Start "a vtable grew or was reordered" {
        seen: "Virtual functions were added, removed or moved.",
        why: "Objects that are alive point to the old table; code that isn't replaced uses old slots.",
        act: "Use the bundle at start; or use a non-virtual function in the fix.",
        example: "struct A { virtual void f(); };   ->   struct A { virtual void g(); virtual void f(); };",
    }
    LEFT_OLD = 519 Review "a changed function stays old on request" {
        seen: "`--leave` names a function that differs between the builds.",
        why: "The patched process runs its old code: there it isn't the new program. The signed manifest names it.",
        act: "Nothing, if the fix doesn't need it; a policy may refuse such bundles.",
        example: "patchgen build --old A --new B --leave start_thread -o fix.hpatch",
    }
    LEFT_OPEN = 520 Refuse "a function can't stay old by itself" {
        seen: "A function that `--leave` names calls, or is called by, a function of its unit that changes, or a type or prototype of it changed.",
        why: "Old and new code may have agreed on more than the calling convention.",
        act: "Leave the other function too, or neither.",
        example: "static int check(int); int serve(int n) { return check(n); }   /* --leave serve, and check changed */",
    }
    GOROUTINES = 521 Refuse "Go's runtime is in the module" {
        seen: "One of the builds has the tables of Go's runtime (`.gopclntab`).",
        why: "Goroutines run on stacks of their own, which the runtime moves and which no thread's stack leads to: whether one is inside of a function can't be seen. The runtime also finds its frames by tables that know nothing of a patch.",
        act: "Restart the program with the new build.",
        example: "go build -buildmode=pie server.go",
    }
    LINKER_SET = 522 Refuse "a section that is walked from end to end changed" {
        seen: "A section between `__start_NAME` and `__stop_NAME` has an object more or less, or its objects have other sizes or another order.",
        why: "The link editor has fixed both ends: a patch can't put an object between them.",
        act: "Restart with the new build; or let the fix call what it would have registered.",
        example: "static const struct cmd c __attribute__((used, section(\"cmds\"))) = { 'c', f };   /* new */",
    }
    STATIC_EXCEPTIONS = 523 Refuse "exceptions couldn't pass through new code" {
        seen: "The program is linked statically and throws (C++, Rust), or an old libgcc's unwinder is linked into the image, and a function that would be replaced makes calls.",
        why: "The unwinder in the program asks functions that are linked into it for the tables of a frame. They don't know the patch's, and the first exception through it would end the process.",
        act: "Restart with the new build, or link the program, or libgcc, dynamically.",
        example: "g++ -static server.cc   // a changed function calls one that may throw",
    }
}
