fn main() -> std::process::ExitCode {
    patchgen::cli::main()
}
