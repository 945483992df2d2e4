# Two builds of a small library, told apart by the symbol NEW (`as --defsym NEW=1`): what the golden texts of `--dump` are made from.
# Written in assembly, so that no version of a compiler changes them.
        .file   "pair.c"
        .text

# Changes: another string, another constant, a call of a new function.
        .globl  greet
        .type   greet, @function
greet:
        .cfi_startproc
        subq    $8, %rsp
        .cfi_def_cfa_offset 16
.ifdef NEW
        leaq    .Lnew(%rip), %rdi
        call    puts@PLT
        leaq    table(%rip), %rax
        movl    8(%rax), %edi
        call    fresh
.else
        leaq    .Lold(%rip), %rdi
        call    puts@PLT
.endif
        incl    counter(%rip)
        addq    $8, %rsp
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   greet, .-greet

# Stays: its jump table and its call mean the same.
        .globl  choose
        .type   choose, @function
choose:
        .cfi_startproc
        cmpl    $2, %edi
        ja      .Lother
        leaq    .Ljumps(%rip), %rdx
        movl    %edi, %edi
        movslq  (%rdx,%rdi,4), %rax
        addq    %rdx, %rax
        jmp     *%rax
.Lcase0: jmp     greet
.Lcase1: movl    counter(%rip), %eax
        ret
.Lcase2: movl    $7, %eax
        ret
.Lother: xorl    %eax, %eax
        ret
        .cfi_endproc
        .size   choose, .-choose

# An operand changes: edited in place.
        .globl  scale
        .type   scale, @function
scale:
        .cfi_startproc
.ifdef NEW
        imull   $1000, %edi, %eax
.else
        imull   $999, %edi, %eax
.endif
        ret
        .cfi_endproc
        .size   scale, .-scale
        .p2align 4

.ifdef NEW
        .type   fresh, @function
fresh:
        .cfi_startproc
        leal    1(%rdi), %eax
        addl    extra(%rip), %eax
        ret
        .cfi_endproc
        .size   fresh, .-fresh
.endif

        .section .rodata.str1.1, "aMS", @progbits, 1
.ifdef NEW
.Lnew:  .string "good day"
.else
.Lold:  .string "hello"
.endif

        .section .rodata, "a", @progbits
        .p2align 2
.Ljumps:
        .long   .Lcase0-.Ljumps, .Lcase1-.Ljumps, .Lcase2-.Ljumps
        .p2align 2
        .type   table, @object
table:
.ifdef NEW
        .long   1, 2, 4
.else
        .long   1, 2, 3
.endif
        .size   table, 12

        .data
        .p2align 3
        .globl  handlers
        .type   handlers, @object
handlers:
        .quad   greet, choose
        .size   handlers, 16
.ifdef NEW
        .p2align 2
        .type   extra, @object
extra:  .long   40
        .size   extra, 4
.endif

        .bss
        .p2align 2
        .type   counter, @object
counter:
        .zero   4
        .size   counter, 4
        .section .note.GNU-stack, "", @progbits
